"""One short coroutine a command. Importing this package registers them all."""

from . import (
    accounts,
    conversations,
    emails,
    messages,
    oauth,
    passwords,
    phones,
    reactions,
    receipts,
    sessions,
    tokens,
    typing,
)

__all__ = [
    "accounts",
    "conversations",
    "emails",
    "messages",
    "oauth",
    "passwords",
    "phones",
    "reactions",
    "receipts",
    "sessions",
    "tokens",
    "typing",
]
