"""One short coroutine a command. Importing this package registers them all."""

from . import (
    accounts,
    contacts,
    conversations,
    emails,
    messages,
    participants,
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
    "contacts",
    "conversations",
    "emails",
    "messages",
    "participants",
    "passwords",
    "phones",
    "reactions",
    "receipts",
    "sessions",
    "tokens",
    "typing",
]
