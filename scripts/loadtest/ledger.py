"""Whether every bot heard every message: once, in order, and as it was sent. Never waits, sends or reads.

A conversation numbers its messages 1, 2, 3 … (``seq``), so what a bot has heard is one number and the holes below it.
What there is to hear is the highest seq that anybody was told of, by an acknowledgement or an event.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias
from uuid import UUID
from zlib import crc32

from echo_ws_protocol.events import Message

from .results import Verdict

MAX_REMEMBERED = 1000
"""Messages of a conversation, the latest, whose identity is compared."""

MAX_EXAMPLES = 20


Source: TypeAlias = Literal["live", "resume", "history"]
"""How a message came: unasked, as an answer that live events continue, or from a page that knows nothing of them."""

Wrong: TypeAlias = Literal["", "doubled", "out_of_order"]


class Reader:
    """What one bot has heard of one conversation.

    Whether it has heard a *message*, its ``seq`` tells; whether an *event* comes late or twice, its ``rev``: every
    change takes the next one, so what is late fills a gap, and what comes twice does not.
    """

    __slots__ = ("_rev", "_skipped", "missing", "seq")

    def __init__(self, seq: int, rev: int) -> None:
        """``seq``, ``rev``: everything up to here is none of the bot's business."""
        self.seq = seq
        self.missing: set[int] = set()
        """What is below ``seq`` and was not heard."""
        self._rev = rev
        self._skipped: set[int] = set()

    def hear(self, seq: int, rev: int, source: Source) -> tuple[bool, Wrong]:
        """Return whether it is a message that was not heard before, and what is wrong about its coming now."""
        is_new = self._take_seq(seq)
        if source == "history":
            return is_new, ""
        is_gap = self._take_rev(rev)
        if source == "resume":
            self._skipped.clear()
        if is_gap is None:
            return is_new, ""
        if not is_new and not is_gap:
            return is_new, "doubled"
        return is_new, "out_of_order" if source == "live" else ""

    def _take_seq(self, seq: int) -> bool:
        """Return whether it is a new one."""
        if seq > self.seq:
            self.missing.update(range(self.seq + 1, seq))
            self.seq = seq
            return True
        return _took(seq, self.missing)

    def _take_rev(self, rev: int) -> bool | None:
        """Return None of a later rev than all before, else whether it fills a gap."""
        if rev <= self._rev:
            return _took(rev, self._skipped)
        self._skipped.update(range(self._rev + 1, rev))
        self._rev = rev
        return None


def _took(number: int, numbers: set[int]) -> bool:
    is_there = number in numbers
    numbers.discard(number)
    return is_there


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

    def heard(self, room: Room, who: str, reader: Reader, event: Message, source: Source, *, is_whole: bool) -> bool:
        """Take note of a message event; return whether it is a message that this bot has not heard before.

        ``is_whole``: its text is what a bot sends, or it is none.
        """
        is_new, wrong = reader.hear(event.seq, event.rev, source)
        if wrong:
            how = "twice" if wrong == "doubled" else "after a later one"
            self.note(wrong, f"{room.conversation}: {who} heard seq {event.seq} in rev {event.rev} {how}")
        if not room.is_as_known(event.seq, event.message) or not is_whole:
            self.note("changed", f"{room.conversation}: {who} heard another message than was sent in place {event.seq}")
        return is_new

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
    return f"{stamp} {_checksum(stamp + padding)} {padding}"


def meant_us(content: str) -> int | None:
    """Return when a bot's message was meant to be sent; None if it is no bot's, or not whole."""
    try:
        stamp, checksum, padding = content.split(" ", 2)
        return int(stamp, 16) if _checksum(stamp + padding) == checksum else None
    except ValueError:
        return None


def _checksum(content: str) -> str:
    return f"{crc32(content.encode(errors='replace')):08x}"


def summed(verdicts: Iterable[Verdict]) -> Verdict:
    total = Verdict()
    for verdict in verdicts:
        for name in Verdict.__struct_fields__:
            setattr(total, name, getattr(total, name) + getattr(verdict, name))
    return total
