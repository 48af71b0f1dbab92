"""How far one client is, and which events are news to it.

The server promises: the events of a conversation come in the order of their ``rev``, each once, and after the answer to
``session.resume`` they continue it. So a client needs one number for each conversation, and these rules:

* After ``interrupted`` (a new connection, or ``behind``) send what ``questions`` returns. What a conversation tells
  before it is answered is left out: the answer, which is read later, holds it.
* Give each answer to ``take`` and each event to ``hear``, in the order in which they came. Both return what is news.
* While not ``is_current``, and no question is open, ask again.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from echo_ws_protocol.commands import SessionResume
from echo_ws_protocol.events import Conversation, Event, Member, Membership, Message
from echo_ws_protocol.replies import ConversationChanges, Resumed
from echo_ws_protocol.types import MAX_SAFE_INTEGER

MAX_ASKED = 1000
"""Conversations in one question."""


class Reset(Event, frozen=True, tag="reset"):
    """Read this conversation anew (``conversation.get``, ``message.history``); events go on above ``rev``.

    Made by the client, not sent by the server. With ``rev`` 0 it does not exist any more, or not for this user.
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
                case Membership():
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
        """Up to where the others were complete when they were last answered."""
        self._joined: dict[UUID, int] = {}
        """Where the user came back to a conversation of which the departure was not told yet."""

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
        """Return what is news in an answer."""
        here = self.position
        if answer.epoch != here.epoch or question.rev > answer.rev:
            here.rev = 0
        here.epoch, here.time = answer.epoch, answer.time
        news: list[Event] = [event for event in answer.memberships if self._is_own_news(event)]
        here.rev = max(here.rev, answer.rev)
        self._knows_itself |= not answer.more
        mentioned = {changes.conversation for changes in answer.conversations}
        for conversation in question.conversations.keys() - mentioned:
            self._completed(conversation, here.conversations.get(conversation, 0))
        for changes in answer.conversations:
            news += self._take_conversation(changes)
        news += answer.receipts
        if not self.is_new:
            return news
        self.is_new = not self.is_current
        return []

    def hear(self, event: Event) -> list[Event]:
        """Return the event if it is news."""
        match event:
            case Membership():
                return [event] if self._knows_itself and self._is_own_news(event) else []
            case Message() | Conversation() | Member():
                return [event] if self._is_news(event) else []
            case _:
                return [event]

    def _is_own_news(self, event: Membership) -> bool:
        here = self.position
        if event.rev <= here.rev:
            return False
        here.rev = event.rev
        if not event.left and event.since:
            if event.conversation in here.conversations:
                self._joined[event.conversation] = event.since
            else:
                here.conversations[event.conversation] = event.since
        return True

    def _is_news(self, event: Message | Conversation | Member) -> bool:
        conversation = event.conversation
        is_known = conversation in self.position.conversations
        if conversation in self._missing or not (is_known or self._knows_itself):
            return False  # an answer is coming
        if event.rev <= self._complete.get(conversation, 0):
            return False
        self._move(event)
        return True

    def _take_conversation(self, changes: ConversationChanges) -> list[Event]:
        conversation, here = changes.conversation, self.position
        if changes.reset:
            self._completed(conversation, changes.rev)
            return [Reset(conversation=conversation, rev=changes.rev)]
        if changes.more:
            self._missing.add(conversation)
            here.conversations[conversation] = changes.rev
        else:
            self._completed(conversation, changes.rev)
        for event in changes.events:
            self._move(event)
        return list(changes.events)

    def _completed(self, conversation: UUID, rev: int) -> None:
        self._missing.discard(conversation)
        self._complete[conversation] = rev
        if rev:
            self.position.conversations[conversation] = rev
        else:
            self._forget(conversation)

    def _move(self, event: Message | Conversation | Member) -> None:
        """Note how far a conversation was told, and whether it has ended for the user."""
        here = self.position.conversations
        conversation = event.conversation
        here[conversation] = max(here.get(conversation, 0), event.rev)
        if isinstance(event, Conversation) and event.deleted:
            self._forget(conversation)
        elif isinstance(event, Member) and event.user == self._user and event.left:
            came_back_at = self._joined.pop(conversation, 0)
            if came_back_at > event.rev:
                here[conversation] = max(here[conversation], came_back_at)
            elif conversation not in self._missing:
                self._forget(conversation)

    def _forget(self, conversation: UUID) -> None:
        self.position.conversations.pop(conversation, None)
        self._joined.pop(conversation, None)
        self._complete.pop(conversation, None)
