"""A change on its way between workers: a short binary head, then the very frame that clients get.

Whatever comes from Redis is input: ``unpack`` and ``checked`` let nothing through that would stop a worker or reach a
client as something else than its head says.
"""

import struct
from collections.abc import Collection
from typing import TypeVar, get_args
from uuid import UUID

from echo_ws_protocol.codec import BROKEN, JSON
from echo_ws_protocol.events import (
    Conversation,
    Event,
    Member,
    Message,
    OwnChange,
    Receipt,
    Session,
    Typing,
)
from echo_ws_protocol.replies import Reply

from .events import Thing, Told
from .frame import Frame, payload_of, wire
from .hub import Apart, Change, Kind

E = TypeVar("E", bound=Event)

MOMENTARY = frozenset({Kind.MOMENTARY, Kind.STATE})
"""Kinds without a rev."""

_HEAD = struct.Struct("!BBQ16s")
"""Version, kind, rev (of what has none: the worker that said it, which does not want to hear it again), and who is not
told, or with a rev who alone is."""

_APART = struct.Struct("!HI")
"""In the second version, after the head: how many users are told something else, and the size of the frame for all the
others. The users follow, that frame, and what those users get in its place: a frame or nothing."""

_VERSION, _VERSION_APART = 1, 2
_NOBODY = bytes(16)
_KNOWN = frozenset(map(int, Kind))
_KINDS: dict[type, Kind] = {
    Message: Kind.MESSAGE,
    Conversation: Kind.CONVERSATION,
    Member: Kind.MEMBER,
    **dict.fromkeys(get_args(OwnChange), Kind.OWN),
    Typing: Kind.MOMENTARY,
    Session: Kind.MOMENTARY,
    Receipt: Kind.STATE,
}


def pack(change: Change) -> bytes:
    """Return a change as workers send it to each other: a short head, then the very frame that clients get."""
    who = change.actor or change.only_to
    actor = who.bytes if who else _NOBODY
    wired = change.frame.json
    if change.apart is None:
        return _HEAD.pack(_VERSION, change.kind, change.rev, actor) + wired
    users, instead = change.apart
    head = _HEAD.pack(_VERSION_APART, change.kind, change.rev, actor) + _APART.pack(len(users), len(wired))
    return b"".join([head, *(user.bytes for user in users), wired, instead.json if instead else b""])


def unpack(payload: bytes) -> Change:
    """Return the change in another worker's payload; a kind that is newer than this worker is a poke.

    Raises:
        ValueError: it is too short to be one.
    """
    if len(payload) < _HEAD.size:
        raise ValueError("a payload without a head")
    version, kind, rev, actor = _HEAD.unpack_from(payload)
    if version not in {_VERSION, _VERSION_APART} or kind not in _KNOWN:
        return Change(rev, Kind.POKE, Frame(b""))
    wired, apart = (payload[_HEAD.size :], None) if version == _VERSION else _parted(payload[_HEAD.size :])
    who = None if actor == _NOBODY else UUID(bytes=actor)
    if kind in MOMENTARY:
        return Change(rev, Kind(kind), Frame(wired), who, apart)
    return Change(rev, Kind(kind), Frame(wired), apart=apart, only_to=who)


def _parted(rest: bytes) -> tuple[bytes, Apart]:
    if len(rest) < _APART.size:
        raise ValueError("a payload without a part")
    count, size = _APART.unpack_from(rest)
    start = _APART.size + 16 * count
    if len(rest) < start + size:
        raise ValueError("a payload that is cut off")
    users = frozenset(UUID(bytes=rest[at : at + 16]) for at in range(_APART.size, start, 16))
    instead = rest[start + size :]
    return rest[start : start + size], Apart(users, Frame(instead) if instead else None)


def checked(change: Change) -> Change:
    """Return another worker's change if its frames hold what the head says: clients get them as they are.

    Raises:
        ValueError: they do not.
    """
    if change.kind is Kind.POKE:
        return change
    apart = change.apart
    if apart and apart.frame:
        apart = apart._replace(frame=_checked(change, apart.frame)[0])
    frame, event = _checked(change, change.frame)
    return change._replace(frame=frame, apart=apart, seq=event.seq if isinstance(event, Message) else 0)


def _checked(change: Change, frame: Frame) -> tuple[Frame, object]:
    wired = frame.json
    try:
        event = JSON.decode_server_frame(payload_of(wired))
        frame = Frame(wired, None if isinstance(event, Reply) else event)
        if event is None or (isinstance(event, Message) and event.metadata):
            frame.msgpack  # noqa: B018  # made now: it may hold numbers that MessagePack does not
    except (IndexError, OverflowError, *BROKEN) as error:
        raise ValueError(str(error)) from None
    if wired != wire(payload_of(wired), text=True) or not _is_as_said(change, event):
        raise ValueError("the frame is not what the head says")
    return frame, event


def _is_as_said(change: Change, event: object) -> bool:
    if change.kind in MOMENTARY:
        return event is None or _KINDS.get(type(event)) in MOMENTARY  # None: from a newer worker
    return _KINDS.get(type(event)) is change.kind and getattr(event, "rev", 0) == change.rev


def change_of(told: Told[Thing]) -> Change:
    event, withheld_from, only_to = told
    apart = Apart(frozenset({withheld_from}), Frame.of(told.to(withheld_from))) if withheld_from else None
    seq = event.seq if isinstance(event, Message) else 0
    return Change(event.rev, _KINDS[type(event)], Frame.of(event), apart=apart, only_to=only_to, seq=seq)


def own_change_of(event: OwnChange) -> Change:
    return Change(event.rev, Kind.OWN, Frame.of(event))


def mention_of(
    event: Receipt | Typing | Session, kept_from: Collection[UUID] = (), instead: Receipt | Typing | None = None
) -> Change:
    actor = None if isinstance(event, Session) else event.user
    apart = Apart(frozenset(kept_from), Frame.of(instead) if instead else None) if kept_from else None
    return Change(0, _KINDS[type(event)], Frame.of(event), actor, apart)


def event_of(change: Change, kind: type[E]) -> E:
    """Return the event of a change whose kind says what it is."""
    event = JSON.decode_server_frame(payload_of(change.frame.json))
    assert isinstance(event, kind)
    return event
