"""What is generated from the code: protocol/*.json, protocol.d.ts and tables in Markdown files."""
