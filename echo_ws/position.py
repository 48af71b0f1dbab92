"""How far one client is, and which events are news to it.

The server promises: the events of a conversation come in the order of their ``rev``, each once, and after the answer to
``session.resume`` they continue it. So a client needs one number for each conversation, and these rules:

* After ``interrupted`` (a new connection, or ``behind``) send what ``questions`` returns. What a conversation tells
  before it is answered is left out: the answer, which is read later, holds it.
* Give each answer to ``take`` and each event to ``hear``, in the order in which they came. Both return what is news.
* While not ``is_current``, and no question is open, ask again.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import datetime
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from echo_ws_protocol.commands import SessionResume
from echo_ws_protocol.events import Conversation, Event, Member, Membership, Message, OwnChange
from echo_ws_protocol.replies import ConversationChanges, Resumed
from echo_ws_protocol.types import MAX_SAFE_INTEGER

MAX_ASKED = 1000
"""Conversations in one question."""


class Reset(Event, frozen=True, tag="reset"):
    """Read this conversation anew (``conversation.get``, ``message.history``); its events go on above ``rev``.

    Made by the client, not sent by the server: the user came, or came back, or too much was missed. With ``rev`` 0 the
    conversation is over: the user left, or it was deleted.
    """

    conversation: UUID
    rev: int


class Position(Struct):
    """Everything up to here was handed out. Revs mean something within one ``epoch`` of the database only."""

    epoch: str = ""
    rev: int = 0
    """The user's own."""
    time: datetime | None = None
    """The server's, at the last answer."""
    conversations: dict[UUID, int] = field(default_factory=dict)

    def before(self, unread: Iterable[Event]) -> "Position":
        """Return the position of one who has not read these yet. Receipts do not count."""
        rev, conversations = self.rev, dict(self.conversations)
        for event in unread:
            match event:
                case _ if isinstance(event, OwnChange):
                    rev = min(rev, event.rev - 1)
                case Message() | Conversation() | Member():
                    place = conversations.get(event.conversation, MAX_SAFE_INTEGER)
                    conversations[event.conversation] = min(place, event.rev - 1)
                case Reset():
                    conversations[event.conversation] = MAX_SAFE_INTEGER  # so far nothing goes: it is reset again
        return Position(self.epoch, rev, self.time, conversations)


class Follower:
    """Moves one user's position along. Never waits, sends or reads."""

    def __init__(self, position: Position | None = None) -> None:
        self.position = position or Position()
        self.is_new = not self.position.epoch
        """Whether it begins now: what was before is not handed out."""
        self._user: UUID | None = None
        self._knows_itself = False
        """Whether the user's own changes are complete."""
        self._missing: set[UUID] = set()
        """Conversations that are not complete."""
        self._complete: dict[UUID, int] = {}
        """Up to where a conversation was complete when it was last answered or reset."""

    @property
    def is_current(self) -> bool:
        """Whether nothing is left to be asked."""
        return self._knows_itself and not self._missing

    def interrupted(self, user: UUID) -> None:
        """Ask for everything: events may have been missed."""
        self._user = user
        self._knows_itself = False
        self._missing = set(self.position.conversations)

    def questions(self) -> Iterator[SessionResume]:
        """Yield what to send now."""
        here = self.position
        missing = sorted(self._missing)
        first = SessionResume(epoch=here.epoch, rev=here.rev, since=here.time)
        for start in range(0, max(len(missing), 1), MAX_ASKED):
            asked = {id_: here.conversations.get(id_, 0) for id_ in missing[start : start + MAX_ASKED]}
            yield replace(first, conversations=asked, since=first.since if start == 0 else None)

    def take(self, question: SessionResume, answer: Resumed) -> list[Event]:
        """Return what an answer brings, as ``hear`` does. A departure comes after what was said before it."""
        here = self.position
        if answer.epoch != here.epoch or question.rev > answer.rev:
            here.rev = 0
        changes = [change for change in answer.changes if change.rev > here.rev]
        own = [change for change in changes if isinstance(change, Membership)]
        has_left = {membership.conversation: membership.left for membership in own}
        stale = question.conversations.keys() - self._missing  # it began anew since it was asked
        here.epoch, here.time, here.rev = answer.epoch, answer.time, max(here.rev, answer.rev)
        self._knows_itself |= not answer.more
        asked = question.conversations.keys() - stale
        news = [event for each in own if not has_left[each.conversation] for event in self._move_oneself(each, asked)]
        news += self._take_conversations(question.conversations, answer.conversations, stale)
        news += [event for each in own if has_left[each.conversation] for event in self._move_oneself(each)]
        news += [change for change in changes if not isinstance(change, Membership)]
        if not self.is_new:
            return [*news, *answer.receipts]
        self.is_new = not self.is_current
        return []

    def hear(self, event: Event) -> list[Event]:
        """Return what an event brings: itself if it is news, and a ``Reset`` where a conversation begins or ends."""
        match event:
            case _ if isinstance(event, OwnChange):
                return self._hear_own(event) if self._knows_itself else []
            case Message() | Conversation() | Member():
                return self._move(event) if self._is_followed(event.conversation) else []
            case _:
                return [event]

    def _hear_own(self, event: OwnChange) -> list[Event]:
        if event.rev <= self.position.rev:
            return []
        self.position.rev = event.rev
        return self._move_oneself(event) if isinstance(event, Membership) else [event]

    def _move_oneself(self, event: Membership, asked: AbstractSet[UUID] = frozenset()) -> list[Event]:
        """Begin or end a conversation. One that was ``asked`` for goes on: its answer says what was between."""
        conversation, place = event.conversation, self.position.conversations.get(event.conversation)
        is_over = event.left or not event.since
        if is_over and place is not None:
            return [event, self._reset(conversation, 0)]
        if not is_over and event.since > (place or 0) and (place is None or conversation not in asked):
            return [event, self._reset(conversation, event.since)]
        return [event]

    def _is_followed(self, conversation: UUID) -> bool:
        """Tell whether what a conversation says now continues what was told. Otherwise an answer is coming."""
        return conversation not in self._missing and conversation in self.position.conversations

    def _take_conversations(
        self, asked: dict[UUID, int], answers: list[ConversationChanges], stale: AbstractSet[UUID]
    ) -> list[Event]:
        for conversation in asked.keys() - {changes.conversation for changes in answers} - stale:
            self._completed(conversation, asked[conversation])
        fresh = (changes for changes in answers if changes.conversation not in stale)
        return [event for changes in fresh for event in self._take_conversation(changes)]

    def _take_conversation(self, changes: ConversationChanges) -> list[Event]:
        conversation = changes.conversation
        if changes.reset:
            return [self._reset(conversation, changes.rev)]
        news: list[Event] = []
        for event in changes.events:
            news += self._move(event)
            if news and isinstance(news[-1], Reset):  # it is over; if it begins again, a membership says so
                return news
        if changes.more:
            self._missing.add(conversation)
            self.position.conversations[conversation] = changes.rev
        else:
            self._completed(conversation, changes.rev)
        return news

    def _move(self, event: Message | Conversation | Member) -> list[Event]:
        """Move on to an event of a conversation, unless it was told before."""
        here, conversation = self.position.conversations, event.conversation
        if event.rev <= self._complete.get(conversation, 0):
            return []
        here[conversation] = max(here.get(conversation, 0), event.rev)
        return [event, self._reset(conversation, 0)] if self._is_end(event) else [event]

    def _is_end(self, event: Message | Conversation | Member) -> bool:
        if isinstance(event, Member):
            return event.left and event.user == self._user
        return isinstance(event, Conversation) and event.deleted

    def _completed(self, conversation: UUID, rev: int) -> None:
        self._missing.discard(conversation)
        self._complete[conversation] = self.position.conversations[conversation] = rev

    def _reset(self, conversation: UUID, rev: int) -> Reset:
        self._missing.discard(conversation)
        if rev:
            self._complete[conversation] = self.position.conversations[conversation] = rev
        else:
            self._complete.pop(conversation, None)
            self.position.conversations.pop(conversation, None)
        return Reset(conversation=conversation, rev=rev)
