"""Who may connect, what is noted of it, and how a session ends on every worker."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from echo_ws import tokens
from echo_ws.broker.redis import publish_once
from echo_ws.client import Client
from echo_ws.errors import Unauthenticated
from echo_ws.sessions import REVOKED, revoked_payload
from echo_ws.settings import JwtKey
from echo_ws_db import sessions
from echo_ws_protocol.commands import ConversationList
from echo_ws_protocol.events import Hello
from tests.support.access import KEYS, access_token, closed
from tests.support.doors import line, post
from tests.support.other_service import Sql
from tests.support.sockets import Raw
from tests.support.waiting import is_held_up, until
from tests.support.world import Worker, World


async def revoke(people: World, *ids: UUID) -> None:
    """End sessions as the command line does: in the database, then in a word to all workers."""
    await sessions.revoke(people.store, ids)
    await publish_once(people.redis_url, REVOKED, revoked_payload(ids))


# Coming in


async def test_a_token_in_the_header_is_greeted_by_name(people: World, worker: Worker) -> None:
    user = await people.user("Alice")
    token = await people.token(user)

    async with line(worker, token) as alice:
        hello = await alice.next_frame()

    assert ("hello", str(user)) == (hello["op"], hello["user"])
    row = await people.store.fetchrow("SELECT * FROM auth.sessions WHERE user_id = $1", user)
    assert (str(row["id"]), row["expires_at"]) == (
        hello["session"],
        datetime.fromisoformat(hello["expires_at"]).replace(tzinfo=None),
    )


async def test_the_database_keeps_no_token_only_its_digest(people: World, worker: Worker) -> None:
    user = await people.user("Alice")
    token = await people.token(user)

    kept = await people.store.fetchval("SELECT session_token FROM auth.sessions WHERE user_id = $1", user)

    assert tokens.digest(token) == kept
    async with line(worker, kept) as thief:
        assert 4500 == await thief.close_code()


@pytest.mark.parametrize("wrong", ["nonsense", "a.b.c", "0" * 64])
async def test_a_wrong_token_closes_for_good(wrong: str, worker: Worker) -> None:
    async with line(worker, wrong) as stranger:
        assert 4500 == await stranger.close_code()


async def test_nothing_is_kept_of_a_token_that_was_refused(worker: Worker) -> None:
    """An error that is raised again and again keeps a traceback of each time, and what stood in its frames."""
    depths = []
    for _ in range(3):
        with pytest.raises(Unauthenticated) as refused:
            await worker.server.sessions.open("nonsense", "127.0.0.1", "")
        depths.append(len(refused.traceback))

    assert [depths[0]] * 3 == depths


@pytest.mark.parametrize(
    "ended",
    [
        "UPDATE auth.users SET locked = TRUE WHERE id = $1",
        "UPDATE auth.users SET locked = TRUE, locked_until = CURRENT_TIMESTAMP + INTERVAL '1 minute' WHERE id = $1",
        "UPDATE auth.users SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1",
        "UPDATE auth.users SET verified = FALSE WHERE id = $1",
        "UPDATE auth.sessions SET expires_at = CURRENT_TIMESTAMP WHERE user_id = $1",
        "DELETE FROM auth.sessions WHERE user_id = $1",
        "DELETE FROM auth.users WHERE id = $1",
    ],
)
async def test_a_token_that_was_good_is_refused_when_its_time_is_over(
    ended: str, people: World, worker: Worker, db: Sql
) -> None:
    user = await people.user("Alice")
    token = await people.token(user)
    await db.execute(ended, user)

    async with line(worker, token) as alice:
        assert 4500 == await alice.close_code()


async def test_a_lock_that_has_run_out_locks_nobody_out(people: World, worker: Worker, db: Sql) -> None:
    user = await people.user("Alice")
    await db.execute(
        "UPDATE auth.users SET locked = TRUE, locked_until = CURRENT_TIMESTAMP - INTERVAL '1 second' WHERE id = $1",
        user,
    )

    client = await people.device(user, worker)

    assert user == client.user


@pytest.mark.parametrize("first_frame", [False, True])
async def test_while_the_database_does_not_answer_one_is_asked_to_come_back(
    first_frame: bool, people: World, db: Sql
) -> None:
    impatient = await people.worker(statement_timeout_ms=50)
    token = await people.token(await people.user("Alice"))

    async with db.transaction():
        await db.execute("LOCK TABLE auth.sessions IN ACCESS EXCLUSIVE MODE")
        async with line(impatient, None if first_frame else token) as alice:
            if first_frame:
                refused = await alice.ask({"op": "session.start", "id": 1, "token": token})
                assert ("busy", "retry") == (refused["error"]["code"], refused["error"]["outcome"])

            assert 4006 == await alice.close_code()


# Access tokens


@pytest.fixture(scope="session")
async def signing(town: World) -> Worker:
    return await town.worker(jwt_keys=KEYS)


async def test_a_short_lived_token_stands_for_its_session(people: World, signing: Worker) -> None:
    user = await people.user("Alice")
    await people.token(user)

    for first_frame in (False, True):
        async with Client(signing.url, token=await access_token(people, user), first_frame=first_frame) as alice:
            assert user == alice.user
            assert alice.session == await people.store.fetchval("SELECT id FROM auth.sessions WHERE user_id = $1", user)


async def test_it_is_worth_nothing_without_its_session(people: World, signing: Worker, db: Sql) -> None:
    user = await people.user("Alice")
    await people.token(user)
    token = await access_token(people, user)
    await db.execute("DELETE FROM auth.sessions WHERE user_id = $1", user)

    async with line(signing, token) as alice:
        assert 4500 == await alice.close_code()


async def test_it_opens_no_session_of_somebody_else(people: World, signing: Worker) -> None:
    alice, mallory = await people.user("Alice"), await people.user("Mallory")
    await people.token(alice)
    of_alice = await people.store.fetchval("SELECT id FROM auth.sessions WHERE user_id = $1", alice)

    async with line(signing, await access_token(people, mallory, session=of_alice)) as line_:
        assert 4500 == await line_.close_code()


async def test_a_worn_out_or_forged_one_is_refused(people: World, signing: Worker) -> None:
    user = await people.user("Alice")
    await people.token(user)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    forged_key = {"2026-a": JwtKey(alg="HS256", key="z" * 32)}

    for token in (
        await access_token(people, user, now=yesterday),
        await access_token(people, user, keys=forged_key),
        await access_token(people, user, keys={"2026-x": KEYS["2026-a"]}),
    ):
        async with line(signing, token) as line_:
            assert 4500 == await line_.close_code()


# What is noted


async def test_time_address_and_user_agent_are_noted_without_a_write_per_frame(people: World, db: Sql) -> None:
    attentive = await people.worker(revalidate_s=0.02, touch_s=3600)
    user = await people.user("Alice")
    token = await people.token(user)
    await db.execute("UPDATE auth.sessions SET last_activity_at = '2026-01-01' WHERE user_id = $1", user)
    version = "SELECT xmin::text FROM auth.sessions WHERE user_id = $1 AND last_activity_at > '2026-01-02'"

    async with line(attentive, token, User_Agent="echo-phone/1.0") as alice:
        written = await until(lambda: db.fetchval(version, user))
        for request in range(100):
            await alice.ask({"op": "conversation.list", "id": request})

    row = await db.fetchrow("SELECT host(ip_address) AS ip, user_agent FROM auth.sessions WHERE user_id = $1", user)
    assert row is not None
    assert ("127.0.0.1", "echo-phone/1.0") == (row["ip"], row["user_agent"])
    assert written == await db.fetchval(version, user)


async def test_a_session_in_use_stays_fresh_and_an_idle_one_does_not(people: World, db: Sql) -> None:
    attentive = await people.worker(revalidate_s=0.02, touch_s=0.02)
    busy = await people.person("Busy", attentive)
    async with line(attentive, await people.token(await people.user("Idle"))) as silent:
        idle = UUID((await silent.hear("hello"))["session"])
        noted = "SELECT last_activity_at FROM auth.sessions WHERE id = $1 AND ip_address IS NOT NULL"
        of_idle = await until(lambda: db.fetchval(noted, idle))
        of_busy = await until(lambda: db.fetchval(noted, busy.session))

        for _ in range(3):
            await busy.call(ConversationList())
            of_busy = await until(lambda: db.fetchval(f"{noted} AND last_activity_at > $2", busy.session, of_busy))  # noqa: B023

        assert of_idle == await db.fetchval(noted, idle)


# Going out


async def test_revoking_closes_every_live_socket_on_every_worker_at_once(people: World, worker: Worker) -> None:
    other = await people.worker()
    token = await people.token(await people.user("Alice"))
    kept = await people.person("Bob", other)
    async with Client(worker.url, token=token) as here, Client(other.url, token=token) as there:
        async with asyncio.timeout(1):
            await revoke(people, here.session)

            assert [4500, 4500] == [await closed(here), await closed(there)]

    await kept.call(ConversationList())


async def test_a_user_that_an_operator_locks_is_out_on_every_worker_at_once(people: World, worker: Worker) -> None:
    other = await people.worker()
    user = await people.user("Alice")
    here, there = await people.device(user, worker), await people.device(user, other)

    command = [sys.executable, "-m", "echo_ws.cli", "user", "lock", str(user), "--for", "1h"]
    environ = {"ECHO_DATABASE_URL": people.database_url, "ECHO_REDIS_URL": people.redis_url}
    program = await asyncio.create_subprocess_exec(*command, env=os.environ | environ, stdout=PIPE, stderr=PIPE)
    await program.communicate()

    async with asyncio.timeout(1):
        assert [4500, 4500] == [await closed(here), await closed(there)]
    async with line(worker, await people.token(user)) as alice:
        assert 4500 == await alice.close_code()


async def test_who_is_just_coming_in_when_the_word_is_heard_does_not_stay(
    people: World, worker: Worker, db: Sql
) -> None:
    """The session was found before the end of it was committed; that the word was heard shows at another one."""
    token, bob = await people.token(await people.user("Mallory")), await people.person("Bob", worker)
    found = await sessions.by_token(people.store, tokens.digest(token))
    assert found
    async with line(worker) as stolen:
        async with db.transaction():
            await sessions.revoke(db, [found.id])
            await stolen.say({"op": "session.start", "id": 1, "token": token})
            await until(lambda: is_held_up(people.store, db))
            await publish_once(people.redis_url, REVOKED, revoked_payload([found.id, bob.session]))
            assert 4500 == await closed(bob)

        async with asyncio.timeout(1):
            assert 4500 == await stolen.close_code()


async def test_without_a_word_the_next_look_closes_it(people: World, db: Sql) -> None:
    async with asyncio.timeout(5):
        attentive = await people.worker(revalidate_s=0.05, redis_url="memory:")
        alice, bob = await people.person("Alice", attentive), await people.person("Bob", attentive)

        await db.execute("DELETE FROM auth.sessions WHERE id = $1", alice.session)

        assert 4500 == await closed(alice)
        await bob.call(ConversationList())


async def test_the_next_look_does_not_wait_for_a_note_of_use(people: World, db: Sql) -> None:
    attentive = await people.worker(revalidate_s=0.05, touch_s=0.05, redis_url="memory:")
    alice, bob = await people.person("Alice", attentive), await people.person("Bob", attentive)
    async with db.transaction():
        await db.execute("LOCK TABLE auth.sessions IN SHARE MODE")  # to be read, not to be written
        await bob.call(ConversationList())
        await until(lambda: is_held_up(people.store, db))
        await people.store.execute("UPDATE auth.users SET locked = TRUE WHERE id = $1", alice.user)

        async with asyncio.timeout(1):
            assert 4500 == await closed(alice)


@pytest.mark.parametrize(
    "ending",
    [
        "UPDATE auth.users SET locked = TRUE WHERE id = $1",
        "UPDATE auth.users SET deleted_at = now() WHERE id = $1",
        "UPDATE auth.users SET verified = FALSE WHERE id = $1",
    ],
)
async def test_locking_or_deleting_a_user_ends_what_is_open(ending: str, people: World, db: Sql) -> None:
    attentive = await people.worker(revalidate_s=0.05)
    alice = await people.person("Alice", attentive)

    await db.execute(ending, alice.user)

    assert 4500 == await closed(alice)


async def test_an_expired_session_is_told_to_refresh(people: World, db: Sql) -> None:
    attentive = await people.worker(revalidate_s=0.05)
    user = await people.user("Alice")
    token = await people.token(user)
    await db.execute(
        "UPDATE auth.sessions SET expires_at = CURRENT_TIMESTAMP + INTERVAL '0.7 seconds' WHERE user_id = $1", user
    )

    async with line(attentive, token) as alice:
        assert 4003 == await alice.close_code()


async def test_a_broken_word_about_revocation_harms_nobody(people: World, worker: Worker) -> None:
    alice, bob = await people.person("Alice", worker), await people.person("Bob", worker)

    for payload in (b"", b"{", b"[1]", b'["nobody"]', b'{"a": 1}', b"\xff"):
        await publish_once(people.redis_url, REVOKED, payload)
    await revoke(people, bob.session)

    assert 4500 == await closed(bob)
    await alice.call(ConversationList())


async def test_a_new_device_of_the_same_user_disturbs_nobody(people: World, worker: Worker) -> None:
    phone = await people.person("Alice", worker)
    tablet = await people.device(phone.user, worker)

    await revoke(people, phone.session)

    assert 4500 == await closed(phone)
    await tablet.call(ConversationList())
    assert phone.user == (await tablet.next(Hello)).user


async def test_who_is_cut_off_while_the_token_is_looked_up_is_not_remembered(
    people: World, db: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo_ws.connection.CLOSE_S", 0.1)
    impatient = await people.worker(auth_timeout_s=0.1)
    token = await people.token(await people.user("Alice"))
    async with Raw.connect(impatient.port) as raw:
        async with db.transaction():
            await db.execute("LOCK TABLE auth.sessions IN ACCESS EXCLUSIVE MODE")
            await raw.upgrade(headers=[("Authorization", f"Bearer {token}")])
            await until(lambda: nobody_connected(impatient))

        assert 200 == (await post(impatient, token, "conversation.list")).status  # what was looked up is known by now

    assert set() == impatient.server._connections


async def nobody_connected(worker: Worker) -> bool:
    return worker.server._listener.commons.admission.connections == 0
