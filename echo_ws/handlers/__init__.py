"""One short coroutine a command. Importing this package registers them all."""

from . import conversations, messages, reactions, receipts, sessions, typing

__all__ = ["conversations", "messages", "reactions", "receipts", "sessions", "typing"]
