"""A change on its way between workers: a short binary head, then the very frame that clients get.

Whatever comes from Redis is input: ``unpack`` and ``checked`` let nothing through that would stop a worker or reach a
client as something else than its head says.
"""

import struct
from typing import TypeVar
from uuid import UUID

from echo_ws_protocol.codec import BROKEN, JSON
from echo_ws_protocol.events import Conversation, Event, Member, Membership, Message, Receipt, Session, Typing
from echo_ws_protocol.replies import Reply

from .frame import Frame, payload_of, wire
from .hub import Change, Kind

E = TypeVar("E", bound=Event)

MOMENTARY = frozenset({Kind.MOMENTARY, Kind.STATE})
"""Kinds without a rev."""

_HEAD = struct.Struct("!BBQ16s")
"""Version, kind, rev (of what has none: the worker that said it, which does not want to hear it again), actor."""

_VERSION = 1
_NOBODY = bytes(16)
_KNOWN = frozenset(map(int, Kind))
_KINDS: dict[type, Kind] = {
    Message: Kind.MESSAGE,
    Conversation: Kind.CONVERSATION,
    Member: Kind.MEMBER,
    Membership: Kind.MEMBERSHIP,
    Typing: Kind.MOMENTARY,
    Session: Kind.MOMENTARY,
    Receipt: Kind.STATE,
}


def pack(change: Change) -> bytes:
    """Return a change as workers send it to each other: a short head, then the very frame that clients get."""
    actor = change.actor.bytes if change.actor else _NOBODY
    return _HEAD.pack(_VERSION, change.kind, change.rev, actor) + change.frame.json


def unpack(payload: bytes) -> Change:
    """Return the change in another worker's payload; a kind that is newer than this worker is a poke.

    Raises:
        ValueError: it is too short to be one.
    """
    if len(payload) < _HEAD.size:
        raise ValueError("a payload without a head")
    version, kind, rev, actor = _HEAD.unpack_from(payload)
    is_known = version == _VERSION and kind in _KNOWN
    frame = Frame(payload[_HEAD.size :])
    return Change(rev, Kind(kind) if is_known else Kind.POKE, frame, None if actor == _NOBODY else UUID(bytes=actor))


def checked(change: Change) -> Change:
    """Return another worker's change if its frame holds what the head says: clients get it as it is.

    Raises:
        ValueError: it does not.
    """
    if change.kind is Kind.POKE:
        return change
    wired = change.frame.json
    try:
        event = JSON.decode_server_frame(payload_of(wired))
        frame = Frame(wired, None if isinstance(event, Reply) else event)
        if event is None or (isinstance(event, Message) and event.metadata):
            frame.msgpack  # noqa: B018  # made now: it may hold numbers that MessagePack does not
    except (IndexError, OverflowError, *BROKEN) as error:
        raise ValueError(str(error)) from None
    if wired != wire(payload_of(wired), text=True) or not _is_as_said(change, event):
        raise ValueError("the frame is not what the head says")
    return change._replace(frame=frame)


def _is_as_said(change: Change, event: object) -> bool:
    if change.kind in MOMENTARY:
        return event is None or _KINDS.get(type(event)) in MOMENTARY  # None: from a newer worker
    return _KINDS.get(type(event)) is change.kind and getattr(event, "rev", 0) == change.rev


def change_of(event: Message | Conversation | Member | Membership) -> Change:
    return Change(event.rev, _KINDS[type(event)], Frame.of(event))


def mention_of(event: Receipt | Typing | Session) -> Change:
    actor = None if isinstance(event, Session) else event.user
    return Change(0, _KINDS[type(event)], Frame.of(event), actor)


def event_of(change: Change, kind: type[E]) -> E:
    """Return the event of a change whose kind says what it is."""
    event = JSON.decode_server_frame(payload_of(change.frame.json))
    assert isinstance(event, kind)
    return event
