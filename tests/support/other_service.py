"""What another service does, which knows the tables of the reference and nothing else."""

from typing import TypeAlias
from uuid import UUID

import asyncpg

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def post(db: Sql, conversation: UUID, sender: UUID, content: str = "from elsewhere") -> UUID:
    message: UUID = await db.fetchval(
        "INSERT INTO messages.messages (conversation_id, from_user_id, content) VALUES ($1, $2, $3) RETURNING id",
        conversation,
        sender,
        content,
    )
    return message


async def rewrite(db: Sql, message: UUID, content: str) -> None:
    await db.execute("UPDATE messages.messages SET content = $2, edited = TRUE WHERE id = $1", message, content)


async def react(db: Sql, message: UUID, user: UUID, emoji: str) -> None:
    await db.execute(
        "INSERT INTO messages.reactions (message_id, user_id, emoji) VALUES ($1, $2, $3)", message, user, emoji
    )


async def erase(db: Sql, message: UUID) -> None:
    await db.execute("DELETE FROM messages.messages WHERE id = $1", message)


async def add(db: Sql, conversation: UUID, user: UUID) -> None:
    await _change(db, conversation, "user_ids", "participants -> 'user_ids' || to_jsonb($2::text)", user)


async def remove(db: Sql, conversation: UUID, user: UUID) -> None:
    await _change(db, conversation, "user_ids", "(participants -> 'user_ids') - $2::text", user)


async def silence(db: Sql, conversation: UUID, user: UUID) -> None:
    await _change(db, conversation, "muted", "participants -> 'muted' || to_jsonb($2::text)", user)


async def promote(db: Sql, conversation: UUID, user: UUID) -> None:
    await _change(db, conversation, "admins", "participants -> 'admins' || to_jsonb($2::text)", user)


async def block(db: Sql, user: UUID, other: UUID) -> None:
    await db.execute("INSERT INTO users.blocked_users (user_id, blocked_user_id) VALUES ($1, $2)", user, other)


async def close(db: Sql, conversation: UUID) -> None:
    await db.execute("UPDATE messages.conversations SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1", conversation)


async def reopen(db: Sql, conversation: UUID) -> None:
    await db.execute("UPDATE messages.conversations SET deleted_at = NULL WHERE id = $1", conversation)


async def add_reader(db: Sql, conversation: UUID, user: UUID) -> None:
    """Let a user read a channel. Readers stand in no list of the reference's: this is what a command will do."""
    await db.execute(
        """
        WITH head AS (
            UPDATE messages.heads SET last_rev = last_rev + 1, member_count = member_count + 1
            WHERE conversation_id = $1 RETURNING *
        )
        INSERT INTO messages.members (conversation_id, user_id, role, joined_seq, joined_rev, rev, user_rev)
        SELECT conversation_id, $2, 'reader', last_seq, last_rev, last_rev, users.take_rev($2) FROM head
        """,
        conversation,
        user,
    )


async def _change(db: Sql, conversation: UUID, field: str, value: str, user: UUID) -> None:
    await db.execute(
        f"""
        UPDATE messages.conversations SET participants = jsonb_set(participants, '{{{field}}}', {value}) WHERE id = $1
        """,
        conversation,
        str(user),
    )
