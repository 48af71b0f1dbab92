"""What the server tells, in the words of a chat. Pure, and safe to print: nothing steers the terminal."""

from collections.abc import Iterator
from typing import Any

from echo_ws_protocol.events import Contact, Message, Presence

HOLDS = {
    "image": ("file_url",),
    "video": ("duration", "file_url"),
    "audio": ("duration", "file_url"),
    "document": ("file_name", "size", "file_url"),
    "location": ("name", "address", "latitude", "longitude"),
    "contact": ("name", "phones"),
    "sticker": ("emoji", "pack", "file_url"),
}
"""What is shown of a message that is no text: these fields of its metadata."""
UNITS = {"duration": " s", "size": " bytes"}


def clean(text: str) -> str:
    """Take out what could move the cursor or turn the writing round; U+200D joins emoji."""
    return "".join(c if c.isprintable() or c in "\n\u200d" else "\N{REPLACEMENT CHARACTER}" for c in text)


def content(message: Message) -> str:
    """Return what a message says, or what it holds: the server promises no shape of another service's metadata."""
    if message.type == "text":
        return clean(message.content)
    metadata = message.metadata or {}
    about = _poll(message, metadata) if message.type == "poll" else _fields(message.type, metadata)
    return clean(f"[{message.type}] {' · '.join(part for part in (message.content, *about) if part)}")


def _fields(type_: str, metadata: dict[str, Any]) -> Iterator[str]:
    for field in HOLDS.get(type_, ()):
        value = metadata.get(field)
        if isinstance(value, list):
            yield from map(str, value)
        elif value is not None:
            yield f"{value}{UNITS.get(field, '')}"


def _poll(message: Message, metadata: dict[str, Any]) -> Iterator[str]:
    """Name question and options, these counted from 1, and the votes for each."""
    several = " (several answers)" if metadata.get("multiple") else ""
    yield f"{metadata.get('question', '')}{several}"
    options = metadata.get("options")
    for place, option in enumerate(options if isinstance(options, list) else []):
        yield f"{place + 1}) {option}: {(message.votes or {}).get(str(place), 0)}"
    if closes_at := metadata.get("closes_at"):
        yield f"until {closes_at}"


def presence(one: Presence | None) -> str:
    """Tell where somebody is; empty where it is not shown."""
    if one is None:
        return ""
    if one.last_seen and one.status in {None, "offline"}:
        return f"last seen {one.last_seen.astimezone():%d %b %H:%M}"
    return one.status or ""


def standing(contact: Contact, name: str) -> str:
    if contact.blocked:
        return f"you block {name}: what {name} writes to you alone is kept from you"
    return f"{name} is {'a contact of yours' if contact.contact else 'neither blocked nor a contact'}"
