"""What a user must see, from the tables alone: none of the server's statements and views is asked."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from echo_ws_protocol.events import Contact, Conversation, Member, Membership, Message, Settings
from echo_ws_protocol.replies import Mine
from tests.support.other_service import Sql

from .device import Shown

Row = Any


async def truth(db: Sql, user: UUID) -> Shown:
    places = await db.fetch(
        """
        SELECT m.*, c.type, c.name, c.created_by, c.created_at, c.metadata
        FROM messages.members m JOIN messages.conversations c ON c.id = m.conversation_id
        WHERE m.user_id = $1 AND m.left_seq IS NULL AND c.deleted_at IS NULL
        """,
        user,
    )
    mine = {place["conversation_id"]: place for place in places}
    return Shown(
        conversations={id_: _conversation(place) for id_, place in mine.items()},
        memberships={id_: _membership(place) for id_, place in mine.items()},
        members={id_: await _members(db, id_) for id_ in mine},
        messages={id_: await _messages(db, place) for id_, place in mine.items()},
        follows={id_: await _follows(db, user, id_) for id_ in mine},
        contacts=await _contacts(db, user),
        settings=await _settings(db, user),
        unread={id_: await _unread(db, place) for id_, place in mine.items()},
    )


async def own_marks(db: Sql, user: UUID, shown: Shown) -> dict[UUID, Mine]:
    """Return the user's own reactions and votes on messages that are shown, by message."""
    rows = await db.fetch(
        """
        SELECT m.id,
               ARRAY(SELECT r.emoji FROM messages.reactions r WHERE r.message_id = m.id AND r.user_id = $1 ORDER BY 1)
                   AS reactions,
               ARRAY(SELECT v.option FROM messages.votes v WHERE v.message_id = m.id AND v.user_id = $1 ORDER BY 1)
                   AS votes
        FROM messages.messages m
        WHERE m.id = ANY ($2::uuid[]) AND NOT m.deleted
        """,
        user,
        [message.message for messages in shown.messages.values() for message in messages.values()],
    )
    return {row["id"]: Mine(row["reactions"], row["votes"]) for row in rows if row["reactions"] or row["votes"]}


def _conversation(place: Row) -> Conversation:
    setup = json.loads(place["metadata"] or "{}")
    return Conversation(
        conversation=place["conversation_id"],
        rev=0,
        type=place["type"],
        created_at=_utc(place["created_at"]),
        name=place["name"],
        created_by=place["created_by"],
        description=setup.get("description"),
        avatar_url=setup.get("avatar_url"),
        history=setup.get("history", "all"),
        public=setup.get("public", False),
    )


def _membership(place: Row) -> Membership:
    return Membership(
        conversation=place["conversation_id"],
        rev=0,
        role=place["role"],
        silenced=place["silenced"],
        muted_until=_utc(place["muted_until"]) if place["muted_until"] else None,
        marked_unread=place["marked_unread"],
    )


async def _members(db: Sql, conversation: UUID) -> dict[UUID, Member]:
    rows = await db.fetch(
        "SELECT * FROM messages.members WHERE conversation_id = $1 AND left_seq IS NULL AND role <> 'reader'",
        conversation,
    )
    return {
        row["user_id"]: Member(
            conversation=conversation, rev=0, user=row["user_id"], role=row["role"], silenced=row["silenced"]
        )
        for row in rows
    }


async def _messages(db: Sql, place: Row) -> dict[int, Message]:
    rows = await db.fetch(
        """
        SELECT m.*, ARRAY(SELECT emoji FROM messages.reactions WHERE message_id = m.id) AS emoji,
               ARRAY(SELECT option::text FROM messages.votes WHERE message_id = m.id) AS chosen
        FROM messages.messages m
        WHERE m.conversation_id = $1
          AND EXISTS (SELECT FROM messages.members me
                      WHERE me.conversation_id = m.conversation_id AND me.user_id = $2 AND m.seq > me.joined_seq
                        AND (me.left_seq IS NULL OR (m.seq <= me.left_seq AND m.rev <= me.left_rev)))
          AND m.id NOT IN (SELECT message_id FROM messages.hidden WHERE user_id = $2)
        """,
        place["conversation_id"],
        place["user_id"],
    )
    return {row["seq"]: _message(row, place["user_id"]) for row in rows}


def _message(row: Row, viewer: UUID) -> Message:
    is_hidden = row["withheld_from"] == viewer
    seen: dict[str, Any] = {"deleted": row["deleted"], "type": row["type"], "content": ""}
    if is_hidden:
        seen |= {"type": "text", "hidden": True}
    elif row["deleted"]:
        seen |= {"edited": row["edited"], "reply_to": row["reply_to_id"]}
    else:
        seen |= {
            "content": row["content"],
            "edited": row["edited"],
            "reply_to": row["reply_to_id"],
            "metadata": json.loads(row["metadata"] or "{}") or None,
            "reactions": dict(Counter(row["emoji"])) or None,
            "votes": dict(Counter(row["chosen"])) or None,
            "forwarded_from": row["forwarded_from_id"],
            "mentions": row["mentions"] or [],
            "pinned_at": _utc(row["pinned_at"]) if row["pinned_at"] else None,
            "pinned_by": row["pinned_by"],
        }
    return Message(
        conversation=row["conversation_id"],
        message=row["id"],
        seq=row["seq"],
        rev=row["rev"],
        sender=row["from_user_id"],
        created_at=_utc(row["created_at"]),
        **seen,
    )


async def _follows(db: Sql, user: UUID, conversation: UUID) -> set[UUID]:
    rows = await db.fetch(
        "SELECT message_id FROM messages.follows WHERE user_id = $1 AND conversation_id = $2 AND followed",
        user,
        conversation,
    )
    return {row["message_id"] for row in rows}


async def _contacts(db: Sql, user: UUID) -> dict[UUID, Contact]:
    rows = await db.fetch(
        """
        SELECT coalesce(c.contact_user_id, b.blocked_user_id) AS other, c.nickname,
               coalesce(c.favorite, FALSE) AS favorite, c.id IS NOT NULL AS is_contact, b.id IS NOT NULL AS is_blocked
        FROM (SELECT * FROM users.contacts WHERE user_id = $1) c
        FULL JOIN (SELECT * FROM users.blocked_users WHERE user_id = $1) b ON b.blocked_user_id = c.contact_user_id
        """,
        user,
    )
    return {
        row["other"]: Contact(
            user=row["other"],
            rev=0,
            contact=row["is_contact"],
            nickname=row["nickname"],
            favorite=row["favorite"],
            blocked=row["is_blocked"],
        )
        for row in rows
    }


async def _settings(db: Sql, user: UUID) -> Settings:
    row = await db.fetchrow(
        """
        SELECT display_name, bio, avatar_url, show_last_seen, show_profile_photo, show_status, show_read_receipts,
               show_typing_indicator, allow_group_invites
        FROM users.profiles LEFT JOIN users.privacy_settings USING (user_id)
        WHERE user_id = $1
        """,
        user,
    )
    assert row
    return Settings(rev=0, **{name: value for name, value in row.items() if value is not None})


async def _unread(db: Sql, place: Row) -> int:
    count: int = await db.fetchval(
        """
        SELECT count(*) FROM messages.messages m
        WHERE m.conversation_id = $1 AND m.seq > greatest($2::bigint, $3::bigint) AND m.from_user_id <> $4
          AND NOT m.deleted AND m.withheld_from IS DISTINCT FROM $4
          AND m.id NOT IN (SELECT message_id FROM messages.hidden WHERE user_id = $4)
        """,
        place["conversation_id"],
        place["joined_seq"],
        place["read_seq"],
        place["user_id"],
    )
    return count


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC)
