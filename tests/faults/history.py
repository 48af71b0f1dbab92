"""What clients did and were told, in the order in which they noticed it, and what was true in the end.

A history is written by clients, never by the server, so that it can convict the server. Times are seconds of one
monotonic clock. ``checker`` judges it.
"""

from pathlib import Path
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Struct, field

Outcome: TypeAlias = Literal["ok", "rejected", "retry", "unknown", "lost", "silence"]
"""What became of a command: an answer, the connection lost before it, or silence on a connection that lived on."""


class Asked(Struct, frozen=True, kw_only=True):
    """One attempt at a command. The same message may be asked for many times."""

    device: str
    op: Literal["send", "edit", "delete", "react"]
    conversation: UUID
    message: UUID
    began: float
    ended: float
    outcome: Outcome
    content: str = ""
    """Of a send or an edit; no two of a history are the same, so that a content tells who asked for it."""
    seq: int | None = None
    code: str = ""


class Told(Struct, frozen=True, kw_only=True):
    """Something that a device learned: a thing as it then was."""

    device: str
    """Such as `ann-1`; what came over its second connection, before the client sorted it, is told to `ann-1#2`."""
    user: UUID
    at: float
    channel: UUID
    """The conversation, or the user of what concerns one user alone."""
    rev: int
    thing: str = ""
    """Such as `message:` and its id."""
    state: str = ""
    """All that is to be seen of the thing, as text."""
    content: str | None = None
    """Of a message that is not deleted."""
    seq: int = 0
    how: Literal["event", "read", "reset"] = "event"
    """Events come in order and once; what is read again does not; a reset begins the channel anew."""


class Connection(Struct, kw_only=True):
    """From hello to close. Without ``closed`` it was open in the end, or closed by the client."""

    device: str
    opened: float
    closed: float | None = None
    code: int | None = None


class Moved(Struct, frozen=True, kw_only=True):
    """A user was let into a conversation, or removed from it, in this rev."""

    user: UUID
    conversation: UUID
    is_in: bool
    rev: int
    began: float
    ended: float


class Revoked(Struct, frozen=True, kw_only=True):
    """The session of a device was ended: from ``by`` on it must hear nothing."""

    device: str
    at: float
    by: float


class Trouble(Struct, kw_only=True):
    """A time in which something was broken on purpose, and what that excuses."""

    name: str
    began: float
    ended: float
    may_close: bool = False
    """Connections may end without a code: a process or a wire was cut."""


class Row(Struct, frozen=True, kw_only=True):
    """A message as the database has it in the end."""

    conversation: UUID
    message: UUID
    seq: int
    rev: int
    sender: UUID
    state: str
    content: str | None


class Stay(Struct, frozen=True, kw_only=True):
    """One time of membership, as the database has it in the end."""

    conversation: UUID
    user: UUID
    joined_seq: int
    joined_rev: int
    left_seq: int | None = None
    left_rev: int | None = None

    def may_read(self, seq: int, rev: int) -> bool:
        """Return whether the member reads, now, what stands at ``seq`` and changed last in ``rev``."""
        if self.left_seq is None or self.left_rev is None:
            return seq > self.joined_seq
        return self.joined_seq < seq <= self.left_seq and rev <= self.left_rev


class View(Struct, frozen=True, kw_only=True):
    """What a device shows in the end: for each message the rev and state that it knows."""

    device: str
    user: UUID
    messages: dict[UUID, tuple[int, str]]


class History(Struct, kw_only=True):
    """One run."""

    reach_s: float = 5.0
    """Within so many seconds of ``ok`` everybody who is connected has heard it, while nothing is broken."""
    asked: list[Asked] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    revoked: list[Revoked] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    """Devices that read too slowly to be told in time; in the end they must know everything."""
    troubles: list[Trouble] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    views: list[View] = field(default_factory=list)

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> "History":
        return msgspec.json.decode(path.read_bytes(), type=cls)
