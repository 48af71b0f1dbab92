"""A database that another service filled by the reference alone: it is adopted, and what goes on there is heard."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from echo_ws.client import Client
from echo_ws_db import migrate, pool
from echo_ws_protocol.commands import ConversationList, MessageHistory
from echo_ws_protocol.events import Member, Membership, Message
from tests.support.services import Databases
from tests.support.world import World

from . import reference

MESSAGES = 100_000

FOREIGN_ROWS = f"""
INSERT INTO auth.users (phone, password_hash, verified)
SELECT '+49155600' || lpad(n::text, 5, '0'), '$argon2id$foreign', TRUE FROM generate_series(1, 400) n;

CREATE TEMPORARY TABLE people AS SELECT row_number() OVER (ORDER BY phone) AS n, id FROM auth.users;

-- 300 direct conversations, two of them of one pair; 100 groups of five; one whose participants are broken.
INSERT INTO messages.conversations (type, participants, created_at, updated_at)
SELECT 'direct',
       jsonb_build_object('user_ids', jsonb_build_array(a.id, b.id), 'admins', '[]'::jsonb, 'muted', '[]'::jsonb),
       TIMESTAMP '2024-01-01' + g.n * INTERVAL '1 minute', TIMESTAMP '2024-01-02'
FROM generate_series(0, 299) g(n)
JOIN people a ON a.n = 1 + least(g.n, 298) JOIN people b ON b.n = 2 + least(g.n, 298);
INSERT INTO messages.conversations (type, name, participants)
SELECT 'group', 'group ' || g.n, jsonb_build_object(
    'user_ids', (SELECT jsonb_agg(id) FROM people WHERE people.n BETWEEN g.n AND g.n + 4),
    'admins', (SELECT jsonb_agg(id) FROM people WHERE people.n = g.n), 'muted', '[]'::jsonb)
FROM generate_series(1, 100) g(n);
INSERT INTO messages.conversations (type, participants) VALUES ('group', '"nobody"');

CREATE TEMPORARY TABLE places AS
SELECT row_number() OVER () - 1 AS n, c.id, (c.participants -> 'user_ids' ->> 0)::uuid AS sender
FROM messages.conversations c WHERE jsonb_typeof(c.participants) = 'object';

-- Three messages share each time stamp: the id decides.
INSERT INTO messages.messages (conversation_id, from_user_id, content, created_at, updated_at)
SELECT p.id, p.sender, 'message ' || g.n, TIMESTAMP '2024-02-01' + (g.n / 3) * INTERVAL '1 second',
       TIMESTAMP '2024-03-01' + g.n * INTERVAL '1 second'
FROM generate_series(0, {MESSAGES} - 1) g(n) JOIN places p ON p.n = g.n % 400;
"""

MISNUMBERED = """
SELECT count(*) FROM (
    SELECT m.seq, m.rev, row_number() OVER (PARTITION BY m.conversation_id ORDER BY m.created_at, m.id) AS n
    FROM messages.messages m
) o WHERE o.seq IS DISTINCT FROM o.n OR o.rev IS NULL
"""

WRONG_HEADS = """
SELECT count(*)
FROM messages.conversations c
LEFT JOIN messages.heads h ON h.conversation_id = c.id
LEFT JOIN LATERAL (
    SELECT count(*) AS n, coalesce(max(m.rev), 1) AS rev FROM messages.messages m WHERE m.conversation_id = c.id
) m ON TRUE
LEFT JOIN LATERAL (SELECT count(*) AS n FROM messages.members p WHERE p.conversation_id = c.id) p ON TRUE
WHERE h.last_seq IS DISTINCT FROM m.n OR h.last_rev IS DISTINCT FROM m.rev OR h.member_count IS DISTINCT FROM p.n
"""


@pytest.fixture(scope="module")
def foreign_database(databases: Databases) -> Iterator[str]:
    """Yield the URL of a database that another service filled, as it is after `migrate up`."""
    with databases.fresh("template0") as url:
        databases.run(_fill(url))
        databases.run(migrate.up(url))
        yield url


async def _fill(url: str) -> None:
    service = await asyncpg.connect(url)
    await service.execute(reference.everything())
    await service.execute(FOREIGN_ROWS)
    await service.close()


@pytest.fixture
async def foreign(foreign_database: str, redis_url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        store = await pool.connect(foreign_database, size=2, statement_timeout=30)
        stack.push_async_callback(store.close)
        yield World(foreign_database, redis_url, store, stack)


async def test_a_hundred_thousand_foreign_rows_are_numbered_as_they_were_written(foreign: World) -> None:
    counted = await foreign.store.fetchval("SELECT count(*) FROM messages.messages WHERE updated_at >= '2024-03-01'")

    assert await foreign.store.fetchval(MISNUMBERED) == 0
    assert await foreign.store.fetchval(WRONG_HEADS) == 0
    assert counted == MESSAGES
    assert await foreign.store.fetchval("SELECT max(updated_at) < '2024-05-01' FROM messages.messages")
    assert await foreign.store.fetchval(
        "SELECT bool_and(updated_at = '2024-01-02') FROM messages.conversations WHERE type = 'direct'"
    )
    assert await foreign.store.fetchval("SELECT count(*) FROM messages.members WHERE role = 'admin'") == 100
    assert await foreign.store.fetchval("SELECT count(direct_key) FROM messages.conversations") == 299


async def test_what_the_other_service_goes_on_writing_is_numbered_and_delivered(foreign: World) -> None:
    worker = await foreign.worker(sweep_ms=100)
    group = await foreign.store.fetchval("SELECT id FROM messages.conversations WHERE name = 'group 1'")
    everyone = await foreign.store.fetchval(
        "SELECT participants -> 'user_ids' FROM messages.conversations WHERE name = 'group 1'"
    )
    ann, ben = [await foreign.device(user, worker) for user in everyone[:2]]
    newcomer = await foreign.person("Newcomer", worker)
    other_service = await asyncpg.connect(foreign.database_url)

    await other_service.execute(
        "INSERT INTO messages.messages (conversation_id, from_user_id, content) VALUES ($1, $2, 'still here')",
        group,
        ann.user,
    )

    for person in (ann, ben):
        heard = await person.next(Message)
        assert ("still here", 251) == (heard.content, heard.seq)

    await other_service.execute(
        "UPDATE messages.conversations SET participants = jsonb_set(participants, '{user_ids}', $2) WHERE id = $1",
        group,
        f'["{ann.user}", "{newcomer.user}"]',
    )
    await other_service.close()

    assert (group, False) == _place(await newcomer.next(Membership))
    assert (group, True) == _place(await ben.next(Membership))
    assert ben.user in {(await ann.next(Member)).user for _ in range(5)}
    page = await newcomer.call(MessageHistory(conversation=group, limit=1))
    assert ["still here"] == [message.content for message in page.messages]


async def test_an_adopted_conversation_begins_as_read(foreign: World) -> None:
    worker = await foreign.worker()
    someone = await foreign.store.fetchval("SELECT id FROM auth.users ORDER BY phone LIMIT 1")
    client: Client = await foreign.device(someone, worker)

    page = await client.call(ConversationList())

    assert page.conversations
    assert all(summary.read_seq == summary.last_seq for summary in page.conversations)


def _place(membership: Membership) -> tuple[object, bool]:
    return membership.conversation, membership.left
