"""What the terminal shows of a conversation. Pure: events in, lines out, the clock passed in."""

import re
from collections.abc import Iterator
from uuid import UUID

from echo_ws_protocol.events import Message, Receipt, Typing

COLOURS = ("ansicyan", "ansimagenta", "ansiyellow", "ansiblue", "ansired")
DIM = "ansibrightblack"
Line = list[tuple[str, str]]


class Screen:
    """Messages by ``seq``, how far the others have read, and who is typing, as one user sees it."""

    def __init__(self, me: UUID, names: dict[UUID, str]) -> None:
        self.me = me
        self.names = names
        self.messages: dict[int, Message] = {}
        self._read: dict[UUID, int] = {}
        self._delivered: dict[UUID, int] = {}
        self._typing_until: dict[UUID, float] = {}

    def show(self, message: Message) -> Line | None:
        """Take in a message as it now is; return its line unless it stands there already, looking the same."""
        self._typing_until.pop(message.sender, None)
        known = self.messages.get(message.seq)
        if known is not None and (message.rev < known.rev or _looks(message) == _looks(known)):
            return None
        self.messages[message.seq] = message
        return list(self._line(message, changed=known is not None))

    def receipt(self, receipt: Receipt) -> None:
        if receipt.user != self.me:
            self._delivered[receipt.user] = max(receipt.delivered_seq, self._delivered.get(receipt.user, 0))
            self._read[receipt.user] = max(receipt.read_seq, self._read.get(receipt.user, 0))

    def typing(self, typing: Typing, now: float) -> None:
        if typing.user != self.me:
            self._typing_until[typing.user] = now + (typing.expires_ms / 1000 if typing.kind != "stopped" else 0)

    def last(self, *, mine: bool) -> int:
        """Return the ``seq`` of the last message of mine, or of the others: 0 if there is none."""
        return max((seq for seq, one in self.messages.items() if (one.sender == self.me) == mine), default=0)

    def pick(self, text: str, *, mine: bool) -> tuple[Message | None, str]:
        """Return the message that ``#n`` before the text names, else the last one, and the text."""
        if named := re.match(r"#(\d+)\s*", text):
            return self.messages.get(int(named[1])), text[named.end() :]
        return self.messages.get(self.last(mine=mine)), text

    def status(self, now: float) -> str:
        mine = self.last(mine=True)
        typing = [self.name(user) for user, until in self._typing_until.items() if until > now]
        parts = [f"#{mine} {self._mark(mine)}" if mine else "/help"]
        parts += [f"{' and '.join(typing)} typing…"] if typing else []
        return "  ·  ".join(parts)

    def name(self, user: UUID) -> str:
        return self.names.get(user, str(user)[-8:])

    def _line(self, message: Message, *, changed: bool) -> Iterator[tuple[str, str]]:
        mine = message.sender == self.me
        yield DIM, f"{message.created_at.astimezone():%H:%M} #{message.seq} {'✎ ' if changed else ''}"
        yield f"bold {'ansigreen' if mine else COLOURS[message.sender.int % len(COLOURS)]}", self.name(message.sender)
        yield "", "  "
        if message.reply_to is not None:
            yield DIM, f"↳ {self._quote(message.reply_to)} │ "
        if message.deleted:
            yield DIM, "deleted"
            return
        yield "", clean(message.content) or f"({clean(message.type)})"
        yield DIM, " (edited)" if message.edited else ""
        for emoji, times in (message.reactions or {}).items():
            yield "", f"  {clean(emoji)}{times if times > 1 else ''}"
        yield DIM, f"  {self._mark(message.seq)}" if mine else ""

    def _quote(self, message: UUID) -> str:
        quoted = next((one for one in self.messages.values() if one.message == message), None)
        return f"#{quoted.seq} {clean(quoted.content)[:20]}" if quoted else "…"

    def _mark(self, seq: int) -> str:
        """Tell how far a message of mine has come."""
        for word, watermarks in (("read", self._read), ("delivered", self._delivered)):
            if count := sum(reached >= seq for reached in watermarks.values()):
                return f"✓✓ {word}" + (f" by {count} of {len(watermarks)}" if len(watermarks) > 1 else "")
        return "✓ sent"


def clean(text: str) -> str:
    """Take out what could move the cursor or turn the writing round; U+200D joins emoji."""
    return "".join(c if c.isprintable() or c in "\n\u200d" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _looks(message: Message) -> tuple[object, ...]:
    return message.content, message.edited, message.deleted, message.reactions or {}
