"""One short coroutine a command. Importing this package registers them all."""

from . import (
    accounts,
    contacts,
    conversations,
    emails,
    messages,
    oauth,
    passwords,
    phones,
    polls,
    presences,
    reactions,
    receipts,
    sessions,
    threads,
    tokens,
    typing,
)

__all__ = [
    "accounts",
    "contacts",
    "conversations",
    "emails",
    "messages",
    "oauth",
    "passwords",
    "phones",
    "polls",
    "presences",
    "reactions",
    "receipts",
    "sessions",
    "threads",
    "tokens",
    "typing",
]
