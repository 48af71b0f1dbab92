"""A database in memory that answers the statements of the read and write path as PostgreSQL does.

``test_database.py`` holds it to the real one. Every change takes the next rev of its conversation.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import json

from echo_ws.events import MembershipBody, MessageBody
from echo_ws_db import changes, messages, sessions

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC).replace(tzinfo=None)
Row = tuple[Any, ...]


@dataclass
class Message:
    id: UUID
    sender: UUID
    content: str
    seq: int
    rev: int
    edited: bool = False
    deleted: bool = False


@dataclass
class Member:
    """One time of membership."""

    user: UUID
    joined_rev: int
    rev: int
    user_rev: int
    left_seq: int | None = None
    left_rev: int | None = None


@dataclass
class Conversation:
    id: UUID
    rev: int = 1
    last_rev: int = 1
    last_seq: int = 0
    is_deleted: bool = False
    messages: dict[UUID, Message] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)

    def take_rev(self) -> int:
        self.last_rev += 1
        return self.last_rev

    def membership(self, user: UUID) -> Member | None:
        """The last time that the user was, or is, a member."""
        return next((m for m in reversed(self.members) if m.user == user), None)

    def has(self, user: UUID) -> bool:
        membership = self.membership(user)
        return membership is not None and membership.left_seq is None

    def last_rev_for(self, user: UUID) -> int:
        membership = self.membership(user)
        return membership.left_rev if membership and membership.left_rev else self.last_rev

    def may_read(self, user: UUID, message: Message) -> bool:
        return any(
            m.left_seq is None or (message.seq <= m.left_seq and message.rev <= (m.left_rev or 0))
            for m in self.members
            if m.user == user
        )


class Change(NamedTuple):
    rev: int
    kind: str
    body: str


class Database:
    def __init__(self) -> None:
        self.conversations: dict[UUID, Conversation] = {}
        self.users: dict[UUID, int] = {}
        """Each user's own last rev."""
        self.sessions: dict[str, UUID] = {}
        """Users by the digest of their token."""
        self._statements: dict[str, Callable[..., list[Row]]] = {
            changes.SQL.places: self._places,
            changes.SQL.of_conversation: self._of_conversation,
            changes.SQL.of_user: self._of_user,
            changes.SQL.conversation_heads: self._conversation_heads,
            changes.SQL.user_heads: self._user_heads,
            changes.SQL.standing: self._standing,
            changes.SQL.missed: self._missed,
            changes.SQL.receipts: self._receipts,
            messages.SQL.send: self._send,
            messages.SQL.find: self._find,
            messages.SQL.tell: lambda _: [],
            messages.SQL.edit: self._edit,
            messages.SQL.remove: self._remove,
            sessions.SQL.by_token: self._by_token,
            sessions.SQL.still_good: lambda ids: [(id_,) for id_ in ids],
            sessions.SQL.touch: lambda *_: [],
        }

    def answer(self, sql: str, args: Sequence[Any]) -> list[Row]:
        return self._statements[sql](*args)

    # What any service does

    def create(self, id_: UUID, users: Sequence[UUID]) -> None:
        conversation = self.conversations[id_] = Conversation(id_)
        conversation.members = [Member(user, 1, 1, self._take_user_rev(user)) for user in sorted(users)]

    def post(self, conversation: Conversation, sender: UUID, id_: UUID, content: str) -> Message:
        conversation.last_seq += 1
        message = Message(id_, sender, content, conversation.last_seq, conversation.take_rev())
        conversation.messages[id_] = message
        return message

    def rewrite(self, conversation: Conversation, message: Message, content: str) -> None:
        if message.content != content:
            message.content, message.edited, message.rev = content, True, conversation.take_rev()

    def erase(self, conversation: Conversation, message: Message) -> None:
        if not message.deleted:
            message.content, message.deleted, message.rev = "", True, conversation.take_rev()

    def add(self, conversation: Conversation, user: UUID) -> None:
        if not conversation.has(user):
            rev = conversation.take_rev()
            conversation.members.append(Member(user, rev, rev, self._take_user_rev(user)))

    def remove(self, conversation: Conversation, user: UUID) -> None:
        member = conversation.membership(user)
        if member and member.left_seq is None:
            member.rev = member.left_rev = conversation.take_rev()
            member.left_seq = conversation.last_seq
            member.user_rev = self._take_user_rev(user)

    def close(self, conversation: Conversation) -> None:
        if not conversation.is_deleted:
            conversation.is_deleted, conversation.rev = True, conversation.take_rev()

    def reopen(self, conversation: Conversation) -> None:
        if not conversation.is_deleted:
            return
        conversation.is_deleted, conversation.rev = False, conversation.take_rev()
        for member in sorted(conversation.members, key=lambda member: member.user):
            if member.left_seq is None:
                member.rev, member.user_rev = conversation.rev, self._take_user_rev(member.user)

    def _take_user_rev(self, user: UUID) -> int:
        self.users[user] = self.users.get(user, 0) + 1
        return self.users[user]

    # The statements

    def _places(self, viewer: UUID) -> list[Row]:
        mine = [(c.id, c.last_rev, 0) for c in self.conversations.values() if c.has(viewer) and not c.is_deleted]
        return [(None, self.users.get(viewer, 0), 0), *mine]

    def _of_conversation(self, id_: UUID, above: int, limit: int) -> list[Row]:
        conversation = self.conversations.get(id_)
        if conversation is None:
            return []
        page = _page(_changes(conversation, above), limit)
        return [(conversation.last_rev, *change) for change in page] or [(conversation.last_rev, None, None, None)]

    def _of_user(self, viewer: UUID, above: int, limit: int) -> list[Row]:
        if viewer not in self.users:
            return []
        rows = [
            (m.user_rev, "membership", _membership(c, m))
            for c in self.conversations.values()
            for m in c.members
            if m.user == viewer and m.user_rev > above
        ]
        rows.sort()
        last_rev = self.users[viewer]
        return [(last_rev, *row) for row in rows[:limit]] or [(last_rev, None, None, None)]

    def _conversation_heads(self, ids: Sequence[UUID]) -> list[Row]:
        return [(id_, self.conversations[id_].last_rev) for id_ in ids if id_ in self.conversations]

    def _user_heads(self, ids: Sequence[UUID]) -> list[Row]:
        return [(id_, self.users[id_]) for id_ in ids if id_ in self.users]

    def _standing(self, viewer: UUID, ids: Sequence[UUID]) -> list[Row]:
        known = (self.conversations[id_] for id_ in ids if id_ in self.conversations)
        return [(c.id, c.last_rev_for(viewer)) for c in known if c.membership(viewer) and not c.is_deleted]

    def _missed(self, viewer: UUID, ids: Sequence[UUID], above: Sequence[int], limit: int) -> list[Row]:
        rows: list[Row] = []
        for id_, rev in sorted(zip(ids, above, strict=True)):
            conversation = self.conversations.get(id_)
            if conversation is None or conversation.is_deleted or not conversation.membership(viewer):
                continue
            last_rev = conversation.last_rev_for(viewer)
            changed = (change for change in _changes(conversation, rev, viewer) if change.rev <= last_rev)
            page = _page(changed, limit)
            rows += [(id_, last_rev, *change) for change in page] or [(id_, last_rev, None, None, None)]
        return rows

    def _receipts(self, _: UUID, __: datetime | None) -> list[Row]:
        return [(NOON, None, None, None, None)]

    def _send(self, *columns: Any) -> list[Row]:
        *batch, _, _ = columns
        return [self._send_one(n, *row) for n, row in enumerate(zip(*batch, strict=True), 1)]

    def _send_one(self, n: int, id_: UUID, place: UUID, sender: UUID, content: str, *_: Any) -> Row:
        conversation = self.conversations[place]
        if known := conversation.messages.get(id_):
            return n, "ok", False, known.seq, None, NOON, False, None, None
        if conversation.is_deleted or not conversation.has(sender):
            return n, "not_found", False, None, None, None, False, None, None
        message = self.post(conversation, sender, id_, content)
        return n, "ok", True, message.seq, message.rev, NOON, False, None, None

    def _find(self, ids: Sequence[UUID], places: Sequence[UUID], _: Sequence[UUID]) -> list[Row]:
        return [
            (n, message.seq, NOON)
            for n, (id_, place) in enumerate(zip(ids, places, strict=True), 1)
            if (message := self.conversations[place].messages.get(id_))
        ]

    def _edit(self, place: UUID, id_: UUID, editor: UUID, content: str, _: float) -> list[Row]:
        conversation = self.conversations[place]
        message = conversation.messages.get(id_)
        if conversation.is_deleted or not conversation.has(editor) or not message or message.deleted:
            return [("not_found", None)]
        self.rewrite(conversation, message, content)
        return [("ok", _snapshot(conversation, message))]

    def _remove(self, place: UUID, id_: UUID, remover: UUID) -> list[Row]:
        conversation = self.conversations[place]
        message = conversation.messages.get(id_)
        if conversation.is_deleted or not conversation.has(remover) or not message:
            return [("not_found", None)]
        self.erase(conversation, message)
        return [("ok", _snapshot(conversation, message))]

    def _by_token(self, digest: str) -> list[Row]:
        user = self.sessions.get(digest)
        return [(user, user, NOON + timedelta(days=9999), False)] if user else []


def _changes(conversation: Conversation, above: int, viewer: UUID | None = None) -> Iterator[Change]:
    """Yield what changed, for everybody or as far as ``viewer`` may read it."""
    for message in conversation.messages.values():
        if message.rev > above and (viewer is None or conversation.may_read(viewer, message)):
            yield Change(message.rev, "message", _snapshot(conversation, message))
    for member in conversation.members:
        if member.rev > above:
            yield Change(
                member.rev,
                "member",
                _json(
                    conversation_id=conversation.id,
                    user_id=member.user,
                    rev=member.rev,
                    role="member",
                    silenced=False,
                    left_seq=member.left_seq,
                ),
            )
    if conversation.rev > above:
        deleted_at = NOON if conversation.is_deleted else None
        shown = {"type": "group", "created_at": NOON, "name": None, "created_by": None, "deleted_at": deleted_at}
        yield Change(conversation.rev, "conversation", _json(id=conversation.id, rev=conversation.rev, **shown))


def _page(found: Iterator[Change], limit: int) -> list[Change]:
    """Return the first ones, with all that share the last one's rev."""
    ordered = sorted(found, key=lambda change: change.rev)
    return [change for n, change in enumerate(ordered) if n < limit or change.rev == ordered[limit - 1].rev]


def _snapshot(conversation: Conversation, message: Message) -> str:
    """Return a message as the view ``messages.snapshots`` shows it."""
    return json.encode(
        MessageBody(
            id=message.id,
            conversation_id=conversation.id,
            seq=message.seq,
            rev=message.rev,
            from_user_id=message.sender,
            type="text",
            content=message.content,
            reply_to_id=None,
            edited=message.edited,
            deleted=message.deleted,
            metadata=None,
            reactions=None,
            created_at=NOON,
        )
    ).decode()


def _membership(conversation: Conversation, member: Member) -> str:
    return json.encode(
        MembershipBody(
            user_rev=member.user_rev,
            conversation_id=conversation.id,
            role="member",
            silenced=False,
            left=member.left_seq is not None,
            since_rev=member.rev,
            is_deleted=conversation.is_deleted,
            muted_until=None,
            marked_unread=False,
        )
    ).decode()


def _json(**row: Any) -> str:
    return json.encode(row).decode()
