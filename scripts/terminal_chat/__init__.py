"""A chat in the terminal: one conversation, live, with receipts and typing."""
