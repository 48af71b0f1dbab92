"""Who takes part, as the tables say; that `participants` says the same; and people who do not want to be invited."""

import json
from uuid import UUID

from .other_service import Sql
from .world import World


async def members(db: Sql, conversation: UUID) -> set[UUID]:
    """Return everybody who takes part, a channel's readers included."""
    rows = await db.fetch(
        "SELECT user_id FROM messages.members WHERE conversation_id = $1 AND left_seq IS NULL", conversation
    )
    return {row["user_id"] for row in rows}


async def check_list(db: Sql, conversation: UUID) -> None:
    """Fail unless `participants` has the reference's shape and says what the members are, and the head counts them."""
    rows = await db.fetch(
        "SELECT * FROM messages.members WHERE conversation_id = $1 AND left_seq IS NULL", conversation
    )
    listed = [row for row in rows if row["role"] != "reader"]
    participants = json.loads(
        await db.fetchval("SELECT participants FROM messages.conversations WHERE id = $1", conversation)
    )

    for field, people in {
        "user_ids": listed,
        "admins": [row for row in listed if row["role"] == "admin"],
        "muted": [row for row in listed if row["silenced"]],
    }.items():
        assert sorted(str(row["user_id"]) for row in people) == sorted(participants[field]), field
    count = await db.fetchval("SELECT member_count FROM messages.heads WHERE conversation_id = $1", conversation)
    assert len(rows) == count
    await check_revs(db, conversation)


async def check_revs(db: Sql, conversation: UUID) -> None:
    """Fail unless each change has a rev of its own, and the head has the last one."""
    revs = [
        row["rev"]
        for row in await db.fetch(
            """
            SELECT rev FROM messages.members WHERE conversation_id = $1 AND rev > 1
            UNION ALL SELECT rev FROM messages.messages WHERE conversation_id = $1
            UNION ALL SELECT rev FROM messages.conversations WHERE id = $1 AND rev > 1
            """,
            conversation,
        )
    ]
    last = await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", conversation)
    assert len(revs) == len(set(revs))
    assert max(revs, default=1) == last


async def reluctant(people: World, db: Sql, inviter: UUID) -> list[UUID]:
    """Add people whom the inviter cannot add: two by their settings, one is gone."""
    nobody, contacts_only, gone = [await people.user() for _ in range(3)]
    for user, setting in ((nobody, "nobody"), (contacts_only, "contacts")):
        await allow_invites(db, user, setting)
    await db.execute("UPDATE auth.users SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1", gone)
    return [nobody, contacts_only, gone]


async def allow_invites(db: Sql, user: UUID, setting: str) -> None:
    await db.execute(
        """
        INSERT INTO users.privacy_settings (user_id, allow_group_invites) VALUES ($1, $2)
        ON CONFLICT (user_id) DO UPDATE SET allow_group_invites = $2
        """,
        user,
        setting,
    )


async def add_contact(db: Sql, owner: UUID, contact: UUID) -> None:
    await db.execute("INSERT INTO users.contacts (user_id, contact_user_id) VALUES ($1, $2)", owner, contact)
