"""Whether every bot heard every message: once, in order, and as it was sent. Never waits, sends or reads.

A conversation numbers its messages 1, 2, 3 … (``seq``), so what a bot has heard is one number and the holes below it.
What there is to hear is the highest seq that anybody was told of, by an acknowledgement or an event.
"""

from collections.abc import Iterable
from uuid import UUID
from zlib import crc32

from echo_ws_protocol.events import Message

from .results import Verdict

MAX_REMEMBERED = 1000
"""Messages of a conversation, the latest, whose identity is compared."""

MAX_EXAMPLES = 20


class Reader:
    """What one bot has heard of one conversation."""

    __slots__ = ("_missing", "_rev", "seq")

    def __init__(self, seq: int) -> None:
        """``seq``: everything up to here is none of the bot's business."""
        self.seq = seq
        self._rev = 0
        self._missing: set[int] | None = None

    @property
    def missing(self) -> set[int]:
        return self._missing or set()

    def hear(self, seq: int, rev: int) -> str:
        """Return ``new``, ``late`` (a later one came before it), ``again`` or ``changed`` (an edit, a reaction)."""
        rev, self._rev = self._rev, max(rev, self._rev)
        is_news = self._rev > rev
        if seq > self.seq:
            if seq > self.seq + 1:
                self._missing = self.missing | set(range(self.seq + 1, seq))
            self.seq = seq
            return "new"
        if seq in self.missing:
            self._missing = self.missing - {seq} or None
            return "late"
        return "changed" if is_news else "again"


class Room:
    """A conversation of bots."""

    __slots__ = ("_known", "conversation", "readers", "seq")

    def __init__(self, conversation: UUID) -> None:
        self.conversation = conversation
        self.readers: list[tuple[str, Reader]] = []
        """Who is to hear everything, by name."""
        self.seq = 0
        """The highest that anybody was told of."""
        self._known: dict[int, UUID] = {}

    def is_as_known(self, seq: int, message: UUID) -> bool:
        """Tell whether everybody was told of the same message in this place."""
        self.seq = max(self.seq, seq)
        known = self._known.setdefault(seq, message)
        if len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        return known == message


class Ledger:
    """The verdict on all conversations of a process."""

    def __init__(self) -> None:
        self.verdict = Verdict()
        self.examples: list[str] = []
        self._rooms: list[Room] = []

    def room(self, conversation: UUID) -> Room:
        room = Room(conversation)
        self._rooms.append(room)
        return room

    def acked(self, room: Room, seq: int, message: UUID) -> None:
        if not room.is_as_known(seq, message):
            self.note("changed", f"{room.conversation}: {message} was acknowledged in place {seq}, which is another's")

    def heard(self, room: Room, who: str, reader: Reader, event: Message, *, is_whole: bool, is_live: bool) -> bool:
        """Take note of a message event; return whether it is a message that this bot has not heard before.

        ``is_whole``: its text is what a bot sends, or it is none. ``is_live``: it was not asked for.
        """
        kind = reader.hear(event.seq, event.rev)
        if kind == "again":
            self.note("doubled", f"{room.conversation}: {who} heard seq {event.seq} in rev {event.rev} twice")
        elif kind == "late" and is_live:
            self.note("out_of_order", f"{room.conversation}: {who} heard seq {event.seq} after a later one")
        if not room.is_as_known(event.seq, event.message) or not is_whole:
            self.note("changed", f"{room.conversation}: {who} heard another message than was sent in place {event.seq}")
        return kind in {"new", "late"}

    def note(self, kind: str, example: str) -> None:
        setattr(self.verdict, kind, getattr(self.verdict, kind) + 1)
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{kind.replace('_', ' ')}: {example}")

    @property
    def due(self) -> int:
        """How many deliveries have not come yet."""
        return sum(room.seq - reader.seq + len(reader.missing) for room in self._rooms for _, reader in room.readers)

    def close(self) -> None:
        """Call lost what has not come."""
        for room in self._rooms:
            for who, reader in room.readers:
                for seq in sorted((*reader.missing, *range(reader.seq + 1, room.seq + 1))):
                    self.note("lost", f"{room.conversation}: {who} never heard seq {seq}")


def text(meant_us: int, size: int) -> str:
    """Return what a bot sends: when it was meant to, a checksum, and padding up to ``size`` bytes."""
    stamp = f"{meant_us:x}"
    padding = "." * max(0, size - len(stamp) - 10)
    return f"{stamp} {crc32((stamp + padding).encode()):08x} {padding}"


def meant_us(content: str) -> int | None:
    """Return when a bot's message was meant to be sent; None if it is no bot's, or not whole."""
    try:
        stamp, checksum, padding = content.split(" ", 2)
        return int(stamp, 16) if crc32((stamp + padding).encode()) == int(checksum, 16) else None
    except ValueError:
        return None


def summed(verdicts: Iterable[Verdict]) -> Verdict:
    total = Verdict()
    for verdict in verdicts:
        for name in Verdict.__struct_fields__:
            setattr(total, name, getattr(total, name) + getattr(verdict, name))
    return total
