"""What the terminal shows of a conversation. Pure: events in, lines out, the clock passed in."""

import re
from collections.abc import Iterator
from uuid import UUID

from echo_ws_protocol.events import Conversation, Member, Message, Presence, Receipt, Typing
from echo_ws_protocol.replies import ConversationDetails

from .words import clean, content, presence

COLOURS = ("ansicyan", "ansimagenta", "ansiyellow", "ansiblue", "ansired")
DIM = "ansibrightblack"
TYPING = {"voice": "recording…", "upload": "sending a file…"}
Line = list[tuple[str, str]]


class Screen:
    """Messages by ``seq``, and of the others: how far they have read, who is typing and who is there."""

    def __init__(self, me: UUID, names: dict[UUID, str]) -> None:
        self.me = me
        self.names = names
        self.messages: dict[int, Message] = {}
        self._read: dict[UUID, int] = {}
        self._delivered: dict[UUID, int] = {}
        self._typing: dict[UUID, tuple[str, float]] = {}
        self._hidden: set[int] = set()
        self.members: dict[UUID, tuple[str, bool]] = {}
        self._title: str | None = None
        self._peer: UUID | None = None
        self.presences: dict[UUID, Presence] = {}

    def meet(self, details: ConversationDetails) -> None:
        """Learn who takes part, and how far each has read."""
        self._title, self._peer = details.conversation.name, details.conversation.peer
        for one in details.participants:
            self.names.setdefault(one.user, clean(one.name or str(one.user)[-8:]))
            self.members[one.user] = one.role, one.silenced
            self.receipt(
                Receipt(
                    conversation=details.conversation.conversation,
                    user=one.user,
                    delivered_seq=one.delivered_seq,
                    read_seq=one.read_seq,
                )
            )

    def show(self, message: Message) -> Line | None:
        """Take in a message as it now is; return its line unless it stands there already, looking the same."""
        self._typing.pop(message.sender, None)
        known = self.messages.get(message.seq)
        if message.seq in self._hidden or (known and (message.rev < known.rev or _looks(message) == _looks(known))):
            return None
        self.messages[message.seq] = message
        return list(self._line(message, changed=known is not None))

    def hide(self, seq: int) -> None:
        """Show a message no more, whatever becomes of it."""
        self._hidden.add(seq)
        self.messages.pop(seq, None)

    def clear(self, up_to: int) -> None:
        for seq in [seq for seq in self.messages if seq <= up_to]:
            self.hide(seq)

    def member(self, member: Member) -> str:
        """Tell what is new about a participant."""
        name, known = self.name(member.user), self.members.pop(member.user, None)
        if member.left:
            self.presences.pop(member.user, None)
            return f"{name} left"
        self.members[member.user] = member.role, member.silenced
        if known is None:
            return f"{name} joined as {member.role}"
        if known[1] != member.silenced:
            return f"{name} {'was silenced' if member.silenced else 'may write again'}"
        return f"{name} is now {member.role}"

    def conversation(self, conversation: Conversation) -> str:
        """Tell what is new about the conversation."""
        before, self._title = self._title, conversation.name
        if conversation.deleted:
            return "this conversation was deleted"
        if before != conversation.name:
            return f"this conversation is now called {clean(conversation.name or '')}"
        return f"description: {clean(conversation.description or 'none')} · newcomers read: {conversation.history}"

    def receipt(self, receipt: Receipt) -> None:
        if receipt.user != self.me:
            self._delivered[receipt.user] = max(receipt.delivered_seq, self._delivered.get(receipt.user, 0))
            self._read[receipt.user] = max(receipt.read_seq, self._read.get(receipt.user, 0))

    def typing(self, typing: Typing, now: float) -> None:
        if typing.user != self.me:
            until = now + (typing.expires_ms / 1000 if typing.kind != "stopped" else 0)
            self._typing[typing.user] = TYPING.get(typing.kind, "typing…"), until

    def last(self, *, mine: bool) -> int:
        """Return the ``seq`` of the last message of mine, or of the others: 0 if there is none."""
        return max((seq for seq, one in self.messages.items() if (one.sender == self.me) == mine), default=0)

    def pick(self, text: str, *, mine: bool | None = None, type_: str | None = None) -> tuple[Message | None, str]:
        """Return the message that ``#n`` before the text names, else the last one of mine or a type, and the text."""
        if named := re.match(r"#(\d+)\s*", text):
            return self.messages.get(int(named[1])), text[named.end() :]
        seqs = [
            seq
            for seq, one in self.messages.items()
            if mine in {None, one.sender == self.me} and type_ in {None, one.type}
        ]
        return self.messages.get(max(seqs, default=0)), text

    def person(self, text: str) -> UUID | None:
        """Return whom a name or an id means; nothing: the other one of a direct conversation."""
        if not text:
            return self._peer
        named = [user for user, name in self.names.items() if name.casefold() == text.casefold()]
        try:
            return named[0] if len(named) == 1 else UUID(text)
        except ValueError:
            return None

    def status(self, now: float) -> str:
        mine = self.last(mine=True)
        parts = [f"#{mine} {self._mark(mine)}" if mine else "/help"]
        for how in dict.fromkeys(how for how, until in self._typing.values() if until > now):
            busy = [self.name(user) for user, state in self._typing.items() if state[0] == how and state[1] > now]
            parts.append(f"{' and '.join(busy)} {how}")
        return "  ·  ".join(parts + self._there())

    def _there(self) -> list[str]:
        """Say where the other one is or, of several, how many are there."""
        others = {user: presence(one) for user, one in self.presences.items() if user != self.me}
        if len(others) == 1:
            return [f"{self.name(user)} {where}" for user, where in others.items() if where]
        there = sum(self.presences[user].status in {"online", "away", "busy"} for user in others)
        return [f"{there} online"] if there else []

    def name(self, user: UUID) -> str:
        return self.names.get(user, str(user)[-8:])

    def _line(self, message: Message, *, changed: bool) -> Iterator[tuple[str, str]]:
        mine = message.sender == self.me
        yield DIM, f"{message.created_at.astimezone():%H:%M} #{message.seq} {'✎ ' if changed else ''}"
        yield f"bold {'ansigreen' if mine else COLOURS[message.sender.int % len(COLOURS)]}", self.name(message.sender)
        yield "", "  "
        if message.reply_to is not None:
            yield DIM, f"↳ {self._quote(message.reply_to)} │ "
        if message.deleted or message.hidden:
            yield DIM, "deleted" if message.deleted else "not shown, since you blocked the sender"
            return
        if message.forwarded_from is not None:
            yield DIM, "forwarded │ "
        yield "", content(message)
        for user in message.mentions:
            yield "bold" if user == self.me else DIM, f" @{self.name(user)}"
        yield DIM, f"{' (edited)' if message.edited else ''}{' 📌' if message.pinned_at else ''}"
        for emoji, times in (message.reactions or {}).items():
            yield "", f"  {clean(emoji)}{times if times > 1 else ''}"
        yield DIM, f"  {self._mark(message.seq)}" if mine else ""

    def _quote(self, message: UUID) -> str:
        quoted = next((one for one in self.messages.values() if one.message == message), None)
        return f"#{quoted.seq} {'deleted' if quoted.deleted else content(quoted)[:20]}" if quoted else "…"

    def _mark(self, seq: int) -> str:
        """Tell how far a message of mine has come."""
        for word, watermarks in (("read", self._read), ("delivered", self._delivered)):
            if count := sum(reached >= seq for reached in watermarks.values()):
                return f"✓✓ {word}" + (f" by {count} of {len(watermarks)}" if len(watermarks) > 1 else "")
        return "✓ sent"


def _looks(message: Message) -> tuple[object, ...]:
    shown = message.content, message.edited, message.deleted, message.metadata, message.pinned_at is None
    return *shown, message.reactions or {}, message.votes or {}
