"""Blocks stand in two tables of the reference. Whichever another service writes, the other follows."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest

from echo_ws_db import migrate
from tests.db.reference import SCHEMAS, TABLES
from tests.db.sql import connection, is_seen, run

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SET_CONTACT = """
INSERT INTO users.contacts (user_id, contact_user_id, blocked) VALUES ($1, $2, $3)
ON CONFLICT (user_id, contact_user_id) DO UPDATE SET blocked = excluded.blocked
"""
BLOCK = "INSERT INTO users.blocked_users (user_id, blocked_user_id) VALUES ($1, $2)"
UNBLOCK = "DELETE FROM users.blocked_users WHERE user_id = $1 AND blocked_user_id = $2"


class Pair:
    """Two users, and what the two tables say of the first one's stand to the second."""

    def __init__(self, db: Sql, one: UUID, other: UUID) -> None:
        self.db, self.one, self.other = db, one, other

    async def do(self, statement: str, *more: object) -> None:
        await self.db.execute(statement, self.one, self.other, *more)

    async def says(self) -> tuple[bool | None, bool]:
        """Return what `contacts` says, None without a row, and what `blocked_users` says."""
        contact = "SELECT blocked FROM users.contacts WHERE user_id = $1 AND contact_user_id = $2"
        block = "SELECT EXISTS (SELECT FROM users.blocked_users WHERE user_id = $1 AND blocked_user_id = $2)"
        return (
            await self.db.fetchval(contact, self.one, self.other),
            await self.db.fetchval(block, self.one, self.other),
        )

    async def rev(self) -> int:
        rev: int = await self.db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", self.one)
        return rev


@pytest.fixture
async def pair(database: str) -> AsyncIterator[Pair]:
    async with connection(database) as db:
        yield Pair(db, await user(db, "+4930000001"), await user(db, "+4930000002"))


async def user(db: Sql, phone: str) -> UUID:
    added: UUID = await db.fetchval(
        "INSERT INTO auth.users (phone, password_hash, verified) VALUES ($1, '!', TRUE) RETURNING id", phone
    )
    return added


async def test_a_block_needs_no_contact_and_makes_none(pair: Pair) -> None:
    await pair.do(BLOCK)
    assert (None, True) == await pair.says()

    await pair.do(UNBLOCK)
    assert (None, False) == await pair.says()


async def test_a_contact_shows_the_block_that_was_there_and_the_one_that_comes(pair: Pair) -> None:
    await pair.do(BLOCK)
    await pair.do("INSERT INTO users.contacts (user_id, contact_user_id) VALUES ($1, $2)")
    assert (True, True) == await pair.says()

    await pair.do(UNBLOCK)
    assert (False, False) == await pair.says()

    await pair.do(BLOCK)
    assert (True, True) == await pair.says()


async def test_a_contact_that_another_service_marks_is_blocked_until_it_unmarks_it(pair: Pair) -> None:
    await pair.do(SET_CONTACT, True)
    assert (True, True) == await pair.says()

    await pair.do(SET_CONTACT, False)
    assert (False, False) == await pair.says()

    await pair.do(SET_CONTACT, None)
    assert (None, False) == await pair.says()


async def test_a_contact_that_goes_leaves_the_block(pair: Pair) -> None:
    await pair.do(SET_CONTACT, True)

    await pair.do("DELETE FROM users.contacts WHERE user_id = $1 AND contact_user_id = $2")

    assert (None, True) == await pair.says()


@pytest.mark.parametrize("first_is_block", [True, False])
async def test_of_a_contact_and_a_block_at_once_the_later_one_sees_the_other(
    database: str, pair: Pair, *, first_is_block: bool
) -> None:
    contact = "INSERT INTO users.contacts (user_id, contact_user_id) VALUES ($1, $2)"
    first, second = (BLOCK, contact) if first_is_block else (contact, BLOCK)
    await pair.db.execute("INSERT INTO users.heads (user_id) VALUES ($1)", pair.one)
    async with connection(database) as db:
        async with db.transaction():
            await db.execute(first, pair.one, pair.other)
            later = asyncio.create_task(pair.do(second))
            await is_seen(database, "wait_event_type = 'Lock'")
        await later

    assert (True, True) == await pair.says()


async def test_one_change_ends_somewhere(pair: Pair) -> None:
    """The two triggers do not throw it to and fro."""
    await pair.do(SET_CONTACT, False)
    before = await pair.rev()

    await pair.do(BLOCK)

    assert before + 2 == await pair.rev()


async def test_a_user_can_be_deleted_with_all_that(pair: Pair) -> None:
    await pair.do(SET_CONTACT, True)

    await pair.db.execute("DELETE FROM auth.users WHERE id = ANY ($1)", [pair.one, pair.other])

    assert (None, False) == await pair.says()


async def test_what_another_service_wrote_before_is_made_to_agree(scratch: str) -> None:
    async with connection(scratch) as db:
        await run(scratch, SCHEMAS + TABLES)
        users = [await user(db, f"+493000000{n}") for n in range(4)]
        first, marked, blocked, both = users
        await db.execute(
            """
            INSERT INTO users.contacts (user_id, contact_user_id, blocked)
            SELECT $1, * FROM unnest($2::uuid[], $3::bool[])
            """,
            first,
            [marked, blocked, both],
            [True, None, True],
        )
        await db.executemany(BLOCK, [(first, blocked), (first, both)])

        await migrate.up(scratch)

        assert [(True, True)] * 3 == [await Pair(db, first, other).says() for other in (marked, blocked, both)]


async def test_a_query_pays_for_what_it_asks_of_sight_alone(pair: Pair) -> None:
    plan = await pair.db.fetch(
        "EXPLAIN SELECT m.rev FROM messages.members m CROSS JOIN LATERAL users.sight(m.user_id, $1) s WHERE s.typing",
        pair.one,
    )

    assert "privacy_settings" in str(plan)
    assert "contacts" not in str(plan)
    assert "sight" not in str(plan)
