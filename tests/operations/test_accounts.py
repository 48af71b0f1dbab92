"""Registering, logging in, staying in and getting back in, over both doors."""

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from argon2 import PasswordHasher

from echo_ws import codes, passwords
from echo_ws.accounts import MOST_WAITING
from echo_ws.settings import JwtKey
from echo_ws_protocol.ids import uuid7
from tests.support.doors import DOORS, Door, line, opened, post
from tests.support.mailbox import MAILBOX
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import KEY, Worker, World

PASSWORD = "correct horse 🐎"
KEYS = {"2026-a": JwtKey(alg="HS256", key="a" * 32)}


@pytest.fixture(params=DOORS)
async def ask(request: pytest.FixtureRequest, worker: Worker) -> AsyncIterator[Door]:
    """Yield each of the two doors, for somebody without a session."""
    async with opened(worker, request.param) as door:
        yield door


class Person(NamedTuple):
    user: UUID
    phone: str


@pytest.fixture
async def alice(people: World) -> Person:
    return await somebody(people)


async def somebody(people: World, password: str = PASSWORD) -> Person:
    """Add a user with a password."""
    user = await people.user("Alice")
    phone = await people.store.fetchval(
        "UPDATE auth.users SET password_hash = $2 WHERE id = $1 RETURNING phone",
        user,
        passwords.hash_password(password),
    )
    return Person(user, phone)


def login(phone: str, password: str = PASSWORD, device: str = "alices-phone", **more: Any) -> dict[str, Any]:
    return {"phone": phone, "password": password, "device": device, "platform": "ios", **more}


async def log_in(worker: Worker, person: Person, **fields: Any) -> Any:
    answer = await post(worker, None, "account.login", **login(person.phone, **fields))
    assert 200 == answer.status, answer.json
    return answer.json["ok"]


async def may(worker: Worker, token: str) -> bool:
    """Tell whether a token opens the door."""
    return (await post(worker, token, "conversation.list")).status == 200


def error(reply: Any) -> tuple[str, str, str]:
    return reply["error"]["code"], reply["error"]["outcome"], reply["error"]["message"]


async def asked(worker: Worker, phone: str, op: str = "account.register") -> tuple[UUID, str]:
    """Ask for a code and return the verification and the code."""
    verification = uuid7()
    answer = await post(worker, None, op, verification=verification, phone=phone)
    assert 200 == answer.status, answer.json
    return verification, await MAILBOX.code(phone)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


# Registering


async def test_who_registers_and_logs_in_talks(ask: Door, people: World, worker: Worker, db: Sql) -> None:
    phone, verification = people.phone(), uuid7()

    sent = await ask("account.register", verification=verification, phone=f"{phone[:3]} {phone[3:]}")
    code = await MAILBOX.code(phone)
    made = await ask("account.verify", verification=verification, code=code, password=PASSWORD, name="Ann")
    place = {"city": "Berlin", "country": "DE", "timezone": "Europe/Berlin"}
    opened = await ask(
        "account.login", **login(phone, device_name="Ann's phone", metadata={"os": "iOS"}, location=place)
    )

    assert timedelta(minutes=4) < datetime.fromisoformat(sent["ok"]["expires_at"]) - datetime.now(UTC)
    async with line(worker, opened["ok"]["token"]) as socket:
        hello = await socket.hear("hello")
    assert (made["ok"]["user"], opened["ok"]["session"]) == (hello["user"], hello["session"])
    user = await db.fetchrow(
        "SELECT u.*, p.display_name, s.user_id AS private FROM auth.users u JOIN users.profiles p ON p.user_id = u.id"
        " JOIN users.privacy_settings s ON s.user_id = u.id WHERE u.id = $1",
        UUID(made["ok"]["user"]),
    )
    assert user is not None
    assert (phone, True, "Ann") == (user["phone"], user["verified"], user["display_name"])
    assert passwords.verify(user["password_hash"], PASSWORD)
    session = await db.fetchrow("SELECT * FROM auth.sessions WHERE id = $1", UUID(opened["ok"]["session"]))
    assert session is not None
    assert ("alices-phone", "Ann's phone", "ios", {"os": "iOS"}) == (
        session["device_id"],
        session["device_name"],
        session["platform"],
        json.loads(session["device_metadata"]),
    )
    noted = await db.fetchrow("SELECT * FROM auth.login_history WHERE user_id = $1", UUID(made["ok"]["user"]))
    assert noted is not None
    assert (True, "alices-phone") == (noted["success"], noted["device_id"])
    for row in (session, noted):
        assert ("127.0.0.1", place) == (str(row["ip_address"]), json.loads(row["location"]))


async def test_browser_and_place_of_a_login_are_noted_whether_it_succeeds_or_not(
    alice: Person, worker: Worker, db: Sql
) -> None:
    place = {"timezone": "Etc/GMT+12"}
    frames = [
        {"op": "account.login", "id": 1, **login(alice.phone, password, location=place)}
        for password in ("wrong horse", PASSWORD)
    ]

    async with line(worker, User_Agent="echo-phone/1.0") as socket:
        answers = [await socket.ask(frame) for frame in frames]

    assert ["error", "ok"] == [list(answer)[-1] for answer in answers]
    noted = await db.fetch("SELECT * FROM auth.login_history WHERE user_id = $1", alice.user)
    session = await db.fetchrow("SELECT * FROM auth.sessions WHERE user_id = $1", alice.user)
    assert 2 == len(noted)
    assert session is not None
    for row in (*noted, session):
        assert ("echo-phone/1.0", place) == (row["user_agent"], json.loads(row["location"]))


async def test_a_code_is_stored_as_a_digest_that_needs_the_key(people: World, worker: Worker, db: Sql) -> None:
    verification, code = await asked(worker, people.phone())

    row = await db.fetchrow("SELECT * FROM auth.otp_verifications WHERE id = $1", verification)

    assert row is not None
    assert code not in str(dict(row))
    assert codes.code_digest(KEY, verification, "registration", code) == row["code_digest"]
    assert codes.code_digest(KEY, verification, "password_reset", code) != row["code_digest"]


async def test_a_number_that_is_taken_looks_the_same_and_its_owner_is_told(
    ask: Door, people: World, alice: Person, db: Sql
) -> None:
    free, verification = people.phone(), uuid7()

    answers = [
        await ask("account.register", verification=uuid7(), phone=free),
        await ask("account.register", verification=verification, phone=alice.phone),
    ]
    again = [await ask("account.register", verification=uuid7(), phone=phone) for phone in (free, alice.phone)]
    tried = await ask("account.verify", verification=verification, code="123456", password=PASSWORD, name="Eve")

    assert [{"expires_at"}] * 2 == [set(answer["ok"]) for answer in answers]
    assert error(again[0]) == error(again[1])
    assert "bad_field" == error(tried)[0]
    kept = "SELECT code_digest FROM auth.otp_verifications WHERE phone = $1"
    assert [True, False] == [bool(await db.fetchval(kept, phone)) for phone in (free, alice.phone)]
    notice = await MAILBOX.notice(alice.phone)
    assert ("already_registered", None) == (notice.purpose, notice.code)
    assert 1 == await db.fetchval("SELECT count(*) FROM auth.users WHERE phone = $1", alice.phone)


async def test_nobody_has_a_number_before_the_code_is_right(ask: Door, people: World, worker: Worker, db: Sql) -> None:
    phone = people.phone()
    verification, code = await asked(worker, phone)

    tried = await ask("account.verify", verification=verification, code=wrong(code), password=PASSWORD, name="Ann")

    assert "bad_field" == error(tried)[0]
    assert "$.code" == tried["error"]["field"]
    assert 0 == await db.fetchval("SELECT count(*) FROM auth.users WHERE phone = $1", phone)


async def test_asking_again_with_the_same_id_sends_nothing(people: World, worker: Worker) -> None:
    phone, verification = people.phone(), uuid7()
    first = await post(worker, None, "account.register", verification=verification, phone=phone)
    await MAILBOX.notice(phone)

    second = await post(worker, None, "account.register", verification=verification, phone=phone)
    of_another = await post(worker, None, "account.register", verification=verification, phone=people.phone())

    assert first.json["ok"] == second.json["ok"]
    assert [] == MAILBOX.notices[phone]
    assert "id_conflict" == of_another.json["error"]["code"]


# Codes


async def test_after_five_wrong_codes_the_right_one_is_dead(people: World, worker: Worker, db: Sql) -> None:
    verification, code = await asked(worker, people.phone())
    fields = {"verification": verification, "password": PASSWORD, "name": "Ann"}

    tries = [await post(worker, None, "account.verify", code=wrong(code), **fields) for _ in range(5)]
    tries.append(await post(worker, None, "account.verify", code=code, **fields))

    assert [tries[0].json["error"]] * 6 == [answer.json["error"] for answer in tries]
    assert 5 == await db.fetchval("SELECT attempts FROM auth.otp_verifications WHERE id = $1", verification)


async def test_eight_at_once_with_the_right_code_make_one_user(people: World, worker: Worker, db: Sql) -> None:
    phone = people.phone()
    verification, code = await asked(worker, phone)

    answers = await asyncio.gather(
        *(
            post(worker, None, "account.verify", verification=verification, code=code, password=PASSWORD, name="Ann")
            for _ in range(8)
        )
    )

    assert {200: 1, 400: 7} == Counter(answer.status for answer in answers)
    assert 1 == await db.fetchval("SELECT count(*) FROM auth.users WHERE phone = $1", phone)
    assert 1 == await db.fetchval("SELECT attempts FROM auth.otp_verifications WHERE id = $1", verification)


async def test_of_eight_wrong_codes_at_once_five_are_looked_at(people: World, worker: Worker, db: Sql) -> None:
    verification, code = await asked(worker, people.phone())

    await asyncio.gather(
        *(
            post(
                worker, None, "account.verify",
                verification=verification, code=wrong(code), password=PASSWORD, name="Ann",
            )
            for _ in range(8)
        )
    )  # fmt: skip

    assert 5 == await db.fetchval("SELECT attempts FROM auth.otp_verifications WHERE id = $1", verification)


@pytest.mark.parametrize("bad", ["Password1", "phone"])
async def test_a_password_that_is_tried_first_is_refused_and_no_try_at_the_code_is_lost(
    bad: str, ask: Door, people: World, worker: Worker
) -> None:
    phone = people.phone()
    verification, code = await asked(worker, phone)
    fields = {"verification": verification, "code": code, "name": "Ann"}

    refused = await ask("account.verify", **fields, password=phone if bad == "phone" else bad)
    made = await ask("account.verify", **fields, password=PASSWORD)

    assert "$.password" == refused["error"]["field"]
    assert "choose another" in refused["error"]["message"]
    assert "ok" in made


@pytest.mark.parametrize(
    "spoilt", ["expires_at = CURRENT_TIMESTAMP", "purpose = 'password_reset'", "code_digest = NULL"]
)
async def test_a_code_that_is_too_old_or_for_something_else_is_not_good(
    spoilt: str, people: World, worker: Worker, db: Sql
) -> None:
    verification, code = await asked(worker, people.phone())
    await db.execute(f"UPDATE auth.otp_verifications SET {spoilt} WHERE id = $1", verification)

    answer = await post(
        worker, None, "account.verify", verification=verification, code=code, password=PASSWORD, name="Ann"
    )

    assert (400, "$.code") == (answer.status, answer.json["error"]["field"])


async def test_a_code_of_one_verification_is_worth_nothing_in_another(people: World, worker: Worker) -> None:
    _, code = await asked(worker, people.phone())
    other, other_code = await asked(worker, people.phone())

    answer = await post(worker, None, "account.verify", verification=other, code=code, password=PASSWORD, name="Ann")

    assert code == other_code or 400 == answer.status


@pytest.mark.parametrize(("sent", "ago", "wait_s"), [(1, 30, 30), (5, 3000, 600), (10, 80000, 6400)])
async def test_a_number_gets_so_many_codes_a_minute_an_hour_and_a_day(
    sent: int, ago: int, wait_s: int, ask: Door, people: World, db: Sql
) -> None:
    phone = people.phone()
    await db.execute(
        "INSERT INTO auth.otp_verifications (phone, otp_code, purpose, expires_at, created_at)"
        " SELECT $1, '!', 'login', now(), now() - make_interval(secs => $2) FROM generate_series(1, $3)",
        phone,
        ago,
        sent,
    )

    answers = [await ask(op, verification=uuid7(), phone=phone) for op in ("account.register", "password.forget")]

    for answer in answers:
        assert ("rate_limited", "retry") == error(answer)[:2]
        assert wait_s - 10 < answer["error"]["retry_after_ms"] / 1000 <= wait_s
        assert "a code was sent not long ago" in answer["error"]["message"]


async def test_of_eight_who_ask_for_a_code_at_once_one_gets_it(people: World, db: Sql) -> None:
    wide, phone = await people.worker(pool_size=8), people.phone()
    waiting = "SELECT count(*) = 8 FROM pg_locks WHERE NOT granted"

    async with db.transaction():
        await db.execute("LOCK TABLE auth.otp_verifications IN EXCLUSIVE MODE")  # they read, and cannot write yet
        asking = asyncio.gather(
            *(post(wide, None, "account.register", verification=uuid7(), phone=phone) for _ in range(8))
        )
        await until(lambda: db.fetchval(waiting))
    answers = await asking

    assert {200: 1, 429: 7} == Counter(answer.status for answer in answers)


async def test_an_address_and_all_together_get_so_many_codes_an_hour(people: World) -> None:
    for limit in ("codes_per_h", "all_codes_per_h"):
        stingy = await people.worker(**{limit: 2}, trusted_networks=())

        answers = [
            await post(stingy, None, "account.register", verification=uuid7(), phone=people.phone()) for _ in range(3)
        ]

        assert [200, 200, 429] == [answer.status for answer in answers]
        assert 1000 < int(answers[2].headers["retry-after"]) <= 1800


async def test_an_address_asks_so_often_a_minute_without_a_session_and_with_one(people: World, alice: Person) -> None:
    stingy = await people.worker(strangers_per_min=2, trusted_networks=())

    async with line(stingy) as stranger, line(stingy, await people.token(alice.user)) as friend:
        ask_ = {"op": "token.refresh", "refresh_token": "nonsense"}
        codes_ = [(await who.ask(ask_))["error"]["code"] for who in (stranger, friend, stranger, friend)]

        assert ["unauthenticated"] * 2 + ["rate_limited"] * 2 == codes_
        assert "ok" in await friend.ask({"op": "conversation.list"})


@pytest.mark.parametrize("phone", ["+", "+1", "+49 (((", "+999999999999999999999999", "+49 15 1x", "015123456789", ""])
async def test_what_is_no_phone_number_is_a_bad_field_and_the_connection_lives_on(phone: str, worker: Worker) -> None:
    """B30"""
    async with line(worker) as stranger:
        for op, more in (
            ("account.register", {"verification": str(uuid7())}),
            ("account.login", login("")),
        ):
            refused = await stranger.ask({"op": op, "id": 5, **more, "phone": phone})

            assert (5, "bad_field", "$.phone") == (refused["id"], refused["error"]["code"], refused["error"]["field"])


# Logging in


async def test_unknown_wrong_locked_and_unverified_are_answered_the_same_and_noted_apart(
    ask: Door, people: World, alice: Person, db: Sql
) -> None:
    locked, banned, unverified = [await somebody(people) for _ in range(3)]
    await db.execute("UPDATE auth.users SET locked_until = now() + interval '1 minute' WHERE id = $1", locked.user)
    await db.execute("UPDATE auth.users SET locked = TRUE WHERE id = $1", banned.user)
    await db.execute("UPDATE auth.users SET verified = FALSE WHERE id = $1", unverified.user)
    nobody = people.phone()

    answers = [await ask("account.login", **login(alice.phone, "wrong horse"))]
    answers += [
        await ask("account.login", **login(phone)) for phone in (nobody, locked.phone, banned.phone, unverified.phone)
    ]

    assert "unauthenticated" == error(answers[0])[0]
    assert [answers[0]] * 5 == answers
    reasons = [
        await db.fetchval("SELECT failure_reason FROM auth.login_history WHERE phone = $1 AND NOT success", phone)
        for phone in (alice.phone, nobody, locked.phone, banned.phone, unverified.phone)
    ]
    assert ["wrong_password", "unknown", "locked", "locked", "unverified"] == reasons


async def test_every_try_is_looked_at_as_long_as_a_wrong_password(
    people: World, alice: Person, worker: Worker, db: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, unverified = await somebody(people), await somebody(people)
    await db.execute("UPDATE auth.users SET locked_until = now() + interval '1 minute' WHERE id = $1", locked.user)
    await db.execute("UPDATE auth.users SET verified = FALSE WHERE id = $1", unverified.user)
    looked_at: list[str] = []
    monkeypatch.setattr("echo_ws.passwords._HASHER", Counting(looked_at))

    for phone in (alice.phone, people.phone(), locked.phone, unverified.phone):
        await post(worker, None, "account.login", **login(phone, "wrong horse"))

    assert 4 == len(looked_at)


class Counting:
    """Verifies as the real one does, and keeps what it compared with."""

    def __init__(self, seen: list[str]) -> None:
        self._real = passwords._HASHER
        self._seen = seen

    def verify(self, password_hash: str, password: str) -> bool:
        self._seen.append(password_hash)
        return self._real.verify(password_hash, password)

    def hash(self, password: str) -> str:
        return self._real.hash(password)


async def test_a_login_that_succeeds_is_in_the_history_too(alice: Person, worker: Worker, db: Sql) -> None:
    await log_in(worker, alice)

    row = await db.fetchrow("SELECT * FROM auth.login_history WHERE phone = $1", alice.phone)

    assert row is not None
    assert (alice.user, True, None) == (row["user_id"], row["success"], row["failure_reason"])
    assert ("127.0.0.1", "alices-phone") == (str(row["ip_address"]), row["device_id"])


async def test_five_failures_lock_for_a_minute_and_each_more_for_twice_as_long(
    alice: Person, worker: Worker, db: Sql
) -> None:
    minutes = []
    for _ in range(10):
        await db.execute(
            "UPDATE auth.users SET locked_until = now() WHERE id = $1 AND locked_until IS NOT NULL", alice.user
        )
        await post(worker, None, "account.login", **login(alice.phone, "wrong horse"))
        minutes.append(
            await db.fetchval(
                "SELECT round(extract(epoch FROM locked_until - now()) / 60)::int FROM auth.users WHERE id = $1",
                alice.user,
            )
        )

    assert [None] * 4 + [1, 2, 4, 8, 15, 15] == minutes
    await db.execute("UPDATE auth.users SET locked_until = now() WHERE id = $1", alice.user)
    await log_in(worker, alice)
    row = await db.fetchrow("SELECT * FROM auth.users WHERE id = $1", alice.user)
    assert row is not None
    assert (0, None, False) == (row["failed_login_attempts"], row["locked_until"], row["locked"])


async def test_of_eight_wrong_passwords_at_once_five_are_looked_at(alice: Person, worker: Worker, db: Sql) -> None:
    await asyncio.gather(
        *(post(worker, None, "account.login", **login(alice.phone, f"wrong horse {n}")) for n in range(8))
    )

    reasons = await db.fetch("SELECT failure_reason FROM auth.login_history WHERE phone = $1", alice.phone)
    assert {"wrong_password": 5, "locked": 3} == Counter(row[0] for row in reasons)


@pytest.mark.parametrize("kind", ["token", "refresh_token"])
async def test_a_stranger_cannot_lock_the_owners_device_out(
    kind: str, alice: Person, worker: Worker, people: World, db: Sql
) -> None:
    opened = await log_in(worker, alice)
    mallory = await somebody(people)
    of_mallory = await log_in(worker, mallory)
    for _ in range(6):
        await post(worker, None, "account.login", **login(alice.phone, "wrong horse", device="mallorys-phone"))

    strange = [
        await post(worker, None, "account.login", **login(alice.phone, **fields))
        for fields in (
            {"device": "mallorys-phone"},
            {"known": of_mallory[kind]},
            {"device": "mallorys-phone", "known": opened[kind]},
            {"known": "nonsense"},
        )
    ]

    assert await may(worker, opened["token"])
    assert [401] * 4 == [answer.status for answer in strange]
    await log_in(worker, alice, known=opened[kind])


async def test_an_operators_lock_that_has_run_out_does_not_come_back_by_failures(
    alice: Person, worker: Worker, db: Sql
) -> None:
    opened = await log_in(worker, alice)
    await db.execute(
        "UPDATE auth.users SET locked = TRUE, locked_until = now() - interval '1 second' WHERE id = $1", alice.user
    )

    for _ in range(6):
        await post(worker, None, "account.login", **login(alice.phone, "wrong horse"))

    assert await may(worker, opened["token"])


async def test_other_devices_hear_of_a_new_one_though_it_refreshes_first(alice: Person, worker: Worker) -> None:
    """Or a thief with the password would do just that."""
    here = await log_in(worker, alice)
    async with line(worker, here["token"]) as socket:
        await socket.hear("hello")
        there = await log_in(worker, alice, device="of-a-thief")
        refreshed = await post(worker, None, "token.refresh", refresh_token=there["refresh_token"])

        assert await may(worker, refreshed.json["ok"]["token"])

        assert there["session"] == (await socket.hear("session"))["session"]


async def test_logging_in_again_ends_what_the_device_had(alice: Person, worker: Worker) -> None:
    first = await log_in(worker, alice)
    other = await log_in(worker, alice, device="alices-tablet")
    async with line(worker, first["token"]) as socket:
        await socket.hear("hello")

        second = await log_in(worker, alice)

        assert 4500 == await socket.close_code()
    assert [False, True, True] == [await may(worker, each["token"]) for each in (first, second, other)]
    refused = await post(worker, None, "token.refresh", refresh_token=first["refresh_token"])
    assert 401 == refused.status
    assert await may(worker, second["token"])


async def test_an_eleventh_device_ends_the_session_that_was_used_longest_ago(
    alice: Person, worker: Worker, people: World
) -> None:
    tokens = [await people.token(alice.user) for _ in range(10)]

    opened = await log_in(worker, alice)

    assert [False] + [True] * 9 == [await may(worker, token) for token in tokens]
    assert await may(worker, opened["token"])


async def test_a_hash_of_another_cost_is_made_anew_at_the_next_login(alice: Person, worker: Worker, db: Sql) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    await db.execute("UPDATE auth.users SET password_hash = $2 WHERE id = $1", alice.user, old)

    await log_in(worker, alice)

    new = await db.fetchval("SELECT password_hash FROM auth.users WHERE id = $1", alice.user)
    assert not passwords.needs_rehash(new)
    assert passwords.verify(new, PASSWORD)


async def test_where_keys_are_configured_a_login_brings_an_access_token(people: World, alice: Person) -> None:
    signing = await people.worker(jwt_keys=KEYS)

    opened = await log_in(signing, alice)

    assert await may(signing, opened["access_token"])
    left = datetime.fromisoformat(opened["access_expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)


async def test_who_comes_when_too_many_passwords_wait_comes_again_and_nothing_is_counted(
    people: World, alice: Person, db: Sql
) -> None:
    crowded = await people.worker()
    crowded.server._accounts._waiting = MOST_WAITING

    answer = await post(crowded, None, "account.login", **login(alice.phone))

    assert (503, "busy") == (answer.status, answer.json["error"]["code"])
    assert 0 == await db.fetchval("SELECT failed_login_attempts FROM auth.users WHERE id = $1", alice.user)


# Refreshing


async def test_a_refresh_token_brings_new_tokens_for_the_same_session(ask: Door, alice: Person, worker: Worker) -> None:
    first = await log_in(worker, alice)

    second = (await ask("token.refresh", refresh_token=first["refresh_token"]))["ok"]
    third = (await ask("token.refresh", refresh_token=second["refresh_token"]))["ok"]

    assert 3 == len({each["refresh_token"] for each in (first, second, third)})
    assert {first["session"]} == {each["session"] for each in (first, second, third)}
    assert [False, False, True] == [await may(worker, each["token"]) for each in (first, second, third)]


async def test_the_database_keeps_no_refresh_token(alice: Person, worker: Worker, db: Sql) -> None:
    opened = await log_in(worker, alice)
    await post(worker, None, "token.refresh", refresh_token=opened["refresh_token"])

    kept = await db.fetch("SELECT * FROM auth.refresh_tokens WHERE user_id = $1", alice.user)

    assert 2 == len(kept)
    for row in kept:
        assert 64 == len(row["token"])
        refused = await post(worker, None, "token.refresh", refresh_token=row["token"])
        assert 401 == refused.status


async def test_eight_at_once_with_one_token_get_the_same_successor(alice: Person, worker: Worker, db: Sql) -> None:
    opened = await log_in(worker, alice)

    answers = await asyncio.gather(
        *(post(worker, None, "token.refresh", refresh_token=opened["refresh_token"]) for _ in range(8))
    )

    assert [200] * 8 == [answer.status for answer in answers]
    assert 1 == len({(answer.json["ok"]["refresh_token"], answer.json["ok"]["token"]) for answer in answers})
    assert 2 == await db.fetchval("SELECT count(*) FROM auth.refresh_tokens WHERE user_id = $1", alice.user)
    assert await may(worker, answers[0].json["ok"]["token"])


@pytest.mark.parametrize("how", ["something followed", "after the grace"])
async def test_a_stolen_token_that_is_used_again_ends_the_family_and_its_sockets(
    how: str, alice: Person, worker: Worker, db: Sql
) -> None:
    stolen = (await log_in(worker, alice))["refresh_token"]
    other = await log_in(worker, alice, device="alices-tablet")
    latest = (await post(worker, None, "token.refresh", refresh_token=stolen)).json["ok"]
    if how == "something followed":
        latest = (await post(worker, None, "token.refresh", refresh_token=latest["refresh_token"])).json["ok"]
    else:
        await db.execute("UPDATE auth.refresh_tokens SET revoked_at = revoked_at - interval '31 seconds' WHERE revoked")
    async with line(worker, latest["token"]) as socket:
        await socket.hear("hello")

        again = await post(worker, None, "token.refresh", refresh_token=stolen)

        assert 4500 == await socket.close_code()
    assert (401, "unauthenticated") == (again.status, again.json["error"]["code"])
    assert not await may(worker, latest["token"])
    assert 401 == (await post(worker, None, "token.refresh", refresh_token=latest["refresh_token"])).status
    assert await may(worker, other["token"])
    assert 200 == (await post(worker, None, "token.refresh", refresh_token=other["refresh_token"])).status
    noted = await db.fetch(
        "SELECT device_id FROM auth.login_history WHERE user_id = $1 AND failure_reason = 'refresh_token_reused'",
        alice.user,
    )
    assert ["alices-phone"] == [row[0] for row in noted]


async def test_a_token_from_before_the_last_login_cannot_end_what_came_after(alice: Person, worker: Worker) -> None:
    stolen = (await log_in(worker, alice))["refresh_token"]
    await post(worker, None, "token.refresh", refresh_token=stolen)
    latest = await log_in(worker, alice)

    again = await post(worker, None, "token.refresh", refresh_token=stolen)

    assert 401 == again.status
    assert await may(worker, latest["token"])


@pytest.mark.parametrize(
    "ended",
    [
        "DELETE FROM auth.sessions WHERE user_id = $1",
        "UPDATE auth.sessions SET expires_at = now() WHERE user_id = $1",
        "UPDATE auth.refresh_tokens SET expires_at = now() WHERE user_id = $1",
        "UPDATE auth.refresh_tokens SET revoked = TRUE, revoked_at = now() WHERE user_id = $1",
        "UPDATE auth.users SET locked = TRUE WHERE id = $1",
        "UPDATE auth.users SET deleted_at = now() WHERE id = $1",
        "UPDATE auth.users SET verified = NULL WHERE id = $1",
        "DELETE FROM auth.users WHERE id = $1",
    ],
)
async def test_a_refresh_token_of_what_has_ended_brings_nothing_back(
    ended: str, alice: Person, worker: Worker, db: Sql
) -> None:
    opened = await log_in(worker, alice)
    await db.execute(ended, alice.user)

    refused = await post(worker, None, "token.refresh", refresh_token=opened["refresh_token"])

    assert 401 == refused.status


async def test_a_session_that_has_run_out_is_opened_anew(alice: Person, worker: Worker, db: Sql) -> None:
    opened = await log_in(worker, alice)
    await db.execute("SET session_replication_role = replica")  # time passes, nobody ends it
    await db.execute("UPDATE auth.sessions SET expires_at = now() - interval '1 day' WHERE user_id = $1", alice.user)
    await db.execute("SET session_replication_role = origin")
    await db.execute("SELECT cleanup_expired_sessions()")

    refreshed = await post(worker, None, "token.refresh", refresh_token=opened["refresh_token"])

    assert await may(worker, refreshed.json["ok"]["token"])


async def test_no_token_is_good_at_the_entrance_of_another_kind(people: World, alice: Person) -> None:
    signing = await people.worker(jwt_keys=KEYS)
    opened = await log_in(signing, alice)

    refused = [
        await post(signing, None, "token.refresh", refresh_token=opened["token"]),
        await post(signing, None, "token.refresh", refresh_token=opened["access_token"]),
        await post(signing, opened["refresh_token"], "conversation.list"),
    ]

    assert [401] * 3 == [answer.status for answer in refused]
    assert await may(signing, opened["token"])


# Passwords


async def test_who_forgot_the_password_sets_another_and_all_sessions_end(
    ask: Door, alice: Person, worker: Worker
) -> None:
    opened, verification = await log_in(worker, alice), uuid7()
    async with line(worker, opened["token"]) as socket:
        await socket.hear("hello")

        await ask("password.forget", verification=verification, phone=alice.phone)
        code = await MAILBOX.code(alice.phone)
        done = await ask("password.reset", verification=verification, code=code, password="a better horse")

        assert {} == done["ok"]
        assert 4500 == await socket.close_code()
    assert 401 == (await post(worker, None, "token.refresh", refresh_token=opened["refresh_token"])).status
    assert 401 == (await post(worker, None, "account.login", **login(alice.phone))).status
    await log_in(worker, alice, password="a better horse")


async def test_a_number_that_nobody_has_is_answered_the_same_and_hears_nothing(
    ask: Door, people: World, alice: Person, db: Sql
) -> None:
    nobody, verification = people.phone(), uuid7()

    answers = [
        await ask("password.forget", verification=uuid7(), phone=alice.phone),
        await ask("password.forget", verification=verification, phone=nobody),
    ]
    tried = await ask("password.reset", verification=verification, code="123456", password=PASSWORD)

    assert [{"expires_at"}] * 2 == [set(answer["ok"]) for answer in answers]
    await MAILBOX.code(alice.phone)
    assert [] == MAILBOX.notices[nobody]
    kept = "SELECT code_digest FROM auth.otp_verifications WHERE phone = $1"
    assert [True, False] == [bool(await db.fetchval(kept, phone)) for phone in (alice.phone, nobody)]
    assert "$.code" == tried["error"]["field"]


async def test_a_code_for_a_new_password_makes_no_account_and_the_other_way_round(
    people: World, alice: Person, worker: Worker
) -> None:
    to_reset, code = await asked(worker, alice.phone, "password.forget")
    to_register, other_code = await asked(worker, people.phone())

    answers = [
        await post(worker, None, "account.verify", verification=to_reset, code=code, password=PASSWORD, name="Ann"),
        await post(worker, None, "password.reset", verification=to_register, code=other_code, password=PASSWORD),
    ]

    assert [400, 400] == [answer.status for answer in answers]


async def test_of_eight_resets_at_once_one_wins(alice: Person, worker: Worker) -> None:
    verification, code = await asked(worker, alice.phone, "password.forget")

    answers = await asyncio.gather(
        *(
            post(worker, None, "password.reset", verification=verification, code=code, password=f"better horse {n}")
            for n in range(8)
        )
    )

    assert {200: 1, 400: 7} == Counter(answer.status for answer in answers)


async def test_a_new_password_ends_all_other_sessions(alice: Person, worker: Worker) -> None:
    here, there = await log_in(worker, alice), await log_in(worker, alice, device="alices-tablet")
    async with line(worker, here["token"]) as mine, line(worker, there["token"]) as other:
        await other.hear("hello")

        changed = await mine.ask(
            {"op": "password.change", "id": 1, "password": PASSWORD, "new_password": "a better horse"}
        )

        assert {} == changed["ok"]
        assert 4500 == await other.close_code()
        assert "ok" in await mine.ask({"op": "conversation.list", "id": 2})
    refreshed = [
        (await post(worker, None, "token.refresh", refresh_token=each["refresh_token"])).status
        for each in (here, there)
    ]
    assert [200, 401] == refreshed
    assert 401 == (await post(worker, None, "account.login", **login(alice.phone))).status


async def test_the_old_password_is_asked_for_and_counted(alice: Person, worker: Worker, db: Sql) -> None:
    token = (await log_in(worker, alice))["token"]

    answers = [
        await post(worker, token, "password.change", password="wrong horse", new_password="a better horse")
        for _ in range(6)
    ]

    assert [400] * 5 + [429] == [answer.status for answer in answers]
    assert "$.password" == answers[0].json["error"]["field"]
    assert 5 == await db.fetchval("SELECT failed_login_attempts FROM auth.users WHERE id = $1", alice.user)


@pytest.mark.parametrize("bad", ["iloveyou1", "phone"])
async def test_a_bad_new_password_is_refused_before_the_old_one_is_looked_at(
    bad: str, alice: Person, worker: Worker, db: Sql
) -> None:
    opened, new = await log_in(worker, alice), alice.phone if bad == "phone" else bad
    fields = {"password": PASSWORD, "new_password": new}

    answers = [await post(worker, opened["token"], "password.change", **fields) for _ in range(5)]

    assert {"$.new_password"} == {answer.json["error"]["field"] for answer in answers}
    assert 0 == await db.fetchval("SELECT failed_login_attempts FROM auth.users WHERE id = $1", alice.user)
    assert (await log_in(worker, alice))["user"] == str(alice.user)


@pytest.mark.parametrize("bad", ["iloveyou1", "phone"])
async def test_a_bad_password_cannot_be_set_by_a_code_either(bad: str, alice: Person, worker: Worker) -> None:
    verification, code = await asked(worker, alice.phone, "password.forget")
    fields = {"verification": verification, "code": code}

    refused = await post(worker, None, "password.reset", **fields, password=alice.phone if bad == "phone" else bad)
    done = await post(worker, None, "password.reset", **fields, password=PASSWORD + "!")

    assert "$.password" == refused.json["error"]["field"]
    assert 200 == done.status


async def test_of_eight_changes_at_once_one_wins(people: World, alice: Person, worker: Worker, db: Sql) -> None:
    tokens = [await people.token(alice.user) for _ in range(8)]

    answers = await asyncio.gather(
        *(
            post(worker, token, "password.change", password=PASSWORD, new_password=f"better horse {n}")
            for n, token in enumerate(tokens[:5])
        )
    )

    assert 1 == [answer.status for answer in answers].count(200)
    assert 1 == await db.fetchval("SELECT count(*) FROM auth.sessions WHERE user_id = $1", alice.user)


# The second factor


async def protected(people: World, worker: Worker) -> Person:
    """Return somebody whose logins ask for a code."""
    person = await somebody(people)
    done = await post(worker, await people.token(person.user), "account.protect", password=PASSWORD)
    assert 200 == done.status
    return person


async def test_who_wants_it_is_asked_for_a_code_at_each_login(
    ask: Door, people: World, worker: Worker, db: Sql
) -> None:
    person, verification = await protected(people, worker), uuid7()

    first = await ask("account.login", **login(person.phone))
    second = await ask("account.login", **login(person.phone, verification=str(verification)))
    code = await MAILBOX.code(person.phone)
    wrong_one = await ask("account.login", **login(person.phone, verification=str(verification), code=wrong(code)))
    opened = await ask("account.login", **login(person.phone, verification=str(verification), code=code))
    again = await ask("account.login", **login(person.phone, verification=str(verification), code=code))

    assert ["code_needed"] * 2 == [first["error"]["code"], second["error"]["code"]]
    assert ["$.code"] * 2 == [wrong_one["error"]["field"], again["error"]["field"]]
    assert await may(worker, opened["ok"]["token"])
    noted = await db.fetch(
        "SELECT success, failure_reason FROM auth.login_history WHERE phone = $1 ORDER BY created_at", person.phone
    )
    assert ["code_needed", "code_needed", "wrong_code", None, "wrong_code"] == [row["failure_reason"] for row in noted]
    assert [False, False, False, True, False] == [row["success"] for row in noted]


async def test_a_wrong_password_sends_no_code(people: World, worker: Worker) -> None:
    person = await protected(people, worker)

    refused = await post(worker, None, "account.login", **login(person.phone, "wrong horse", verification=str(uuid7())))

    assert "unauthenticated" == refused.json["error"]["code"]
    assert [] == MAILBOX.notices[person.phone]


async def test_a_code_of_somebody_else_or_for_something_else_does_not_do(people: World, worker: Worker) -> None:
    alice, mallory = await protected(people, worker), await protected(people, worker)
    of_mallory = str(uuid7())
    await post(worker, None, "account.login", **login(mallory.phone, verification=of_mallory))
    code = await MAILBOX.code(mallory.phone)
    to_reset, reset_code = await asked(worker, alice.phone, "password.forget")

    refused = [
        await post(worker, None, "account.login", **login(alice.phone, verification=of_mallory, code=code)),
        await post(worker, None, "account.login", **login(alice.phone, verification=str(to_reset), code=reset_code)),
    ]

    assert ["$.code"] * 2 == [answer.json["error"]["field"] for answer in refused]


async def test_of_eight_logins_at_once_with_one_code_one_wins(people: World, worker: Worker) -> None:
    person, verification = await protected(people, worker), str(uuid7())
    await post(worker, None, "account.login", **login(person.phone, verification=verification))
    code = await MAILBOX.code(person.phone)

    answers = await asyncio.gather(
        *(
            post(worker, None, "account.login", **login(person.phone, verification=verification, code=code))
            for _ in range(8)
        )
    )

    assert 1 == [answer.status for answer in answers].count(200)


async def test_to_ask_for_a_code_is_no_failure(people: World, worker: Worker, db: Sql) -> None:
    person = await protected(people, worker)
    for _ in range(4):
        await post(worker, None, "account.login", **login(person.phone, "wrong horse"))

    for _ in range(3):
        needed = await post(worker, None, "account.login", **login(person.phone, verification=str(uuid7())))
        assert needed.json["error"]["code"] in {"code_needed", "rate_limited"}

    row = await db.fetchrow("SELECT * FROM auth.users WHERE id = $1", person.user)
    assert row
    assert (4, None) == (row["failed_login_attempts"], row["locked_until"])


async def test_a_stranger_cannot_lock_out_who_waits_for_a_code(people: World, worker: Worker) -> None:
    person, verification = await protected(people, worker), str(uuid7())
    await post(worker, None, "account.login", **login(person.phone, verification=verification))
    code = await MAILBOX.code(person.phone)
    for _ in range(6):
        await post(worker, None, "account.login", **login(person.phone, "wrong horse", device="mallorys-phone"))

    strange = await post(worker, None, "account.login", **login(person.phone, verification=str(uuid7())))
    await log_in(worker, person, verification=verification, code=code)

    assert "unauthenticated" == strange.json["error"]["code"]


async def test_it_is_switched_off_by_the_password_alone(people: World, worker: Worker) -> None:
    person = await protected(people, worker)
    token = await people.token(person.user)

    refused = await post(worker, token, "account.protect", password="wrong horse", on=False)
    still_on = await post(worker, None, "account.login", **login(person.phone))
    await post(worker, token, "account.protect", password=PASSWORD, on=False)

    assert "$.password" == refused.json["error"]["field"]
    assert "code_needed" == still_on.json["error"]["code"]
    await log_in(worker, person)


# Another phone number


async def moving(worker: Worker, token: str, phone: str) -> tuple[UUID, str]:
    """Ask for a code by which to get a number."""
    verification = uuid7()
    answer = await post(worker, token, "phone.change", verification=verification, phone=phone, password=PASSWORD)
    assert 200 == answer.status, answer.json
    return verification, await MAILBOX.code(phone)


async def test_who_moves_to_another_number_proves_it_and_the_old_one_is_told(
    people: World, alice: Person, worker: Worker, db: Sql
) -> None:
    here, there = await log_in(worker, alice), await log_in(worker, alice, device="alices-tablet")
    new = people.phone()
    verification, code = await moving(worker, here["token"], new)
    fields = {"verification": verification, "code": code}

    wrong_one = await post(worker, here["token"], "phone.verify", verification=verification, code=wrong(code))
    async with line(worker, there["token"]) as other:
        await other.hear("hello")
        done = await post(worker, here["token"], "phone.verify", **fields)
        assert 4500 == await other.close_code()
    again = await post(worker, here["token"], "phone.verify", **fields)

    assert [400, 200, 400] == [answer.status for answer in (wrong_one, done, again)]
    assert "phone_changed" == (await MAILBOX.notice(alice.phone)).purpose
    refreshed = [
        (await post(worker, None, "token.refresh", refresh_token=each["refresh_token"])).status
        for each in (here, there)
    ]
    assert [200, 401] == refreshed
    assert 401 == (await post(worker, None, "account.login", **login(alice.phone))).status
    await log_in(worker, Person(alice.user, new))
    assert 0 == await db.fetchval("SELECT failed_login_attempts FROM auth.users WHERE id = $1", alice.user)


async def test_a_number_that_is_taken_is_answered_the_same_and_not_given(
    people: World, alice: Person, worker: Worker, db: Sql
) -> None:
    bob, token, verification = await somebody(people), await people.token(alice.user), uuid7()

    asked_for = await post(worker, token, "phone.change", verification=verification, phone=bob.phone, password=PASSWORD)
    tried = await post(worker, token, "phone.verify", verification=verification, code="123456")

    assert {"expires_at"} == set(asked_for.json["ok"])
    assert "$.code" == tried.json["error"]["field"]
    assert [] == MAILBOX.notices[bob.phone]
    kept = "SELECT code_digest FROM auth.otp_verifications WHERE id = $1"
    assert await db.fetchval(kept, verification) is None


async def test_a_number_that_somebody_else_takes_meanwhile_is_not_given(
    people: World, alice: Person, worker: Worker, db: Sql
) -> None:
    token, phone = await people.token(alice.user), people.phone()
    verification, code = await moving(worker, token, phone)

    async with db.transaction():
        await db.execute("INSERT INTO auth.users (phone, password_hash) VALUES ($1, '!')", phone)
        moved = asyncio.create_task(post(worker, token, "phone.verify", verification=verification, code=code))
        await until(lambda: db.fetchval("SELECT count(*) = 1 FROM pg_locks WHERE NOT granted"))

    assert "$.code" == (await moved).json["error"]["field"]
    assert alice.phone == await db.fetchval("SELECT phone FROM auth.users WHERE id = $1", alice.user)


async def test_a_number_is_given_to_who_asked_for_it_and_with_the_password(
    people: World, alice: Person, worker: Worker
) -> None:
    mallory = await people.token((await somebody(people)).user)
    token, phone = await people.token(alice.user), people.phone()
    verification, code = await moving(worker, token, phone)

    refused = [
        await post(worker, mallory, "phone.verify", verification=verification, code=code),
        await post(worker, mallory, "phone.change", verification=verification, phone=phone, password=PASSWORD),
        await post(worker, token, "phone.change", verification=uuid7(), phone=people.phone(), password="wrong horse"),
        await post(worker, None, "account.verify", verification=verification, code=code, password=PASSWORD, name="A"),
    ]

    assert ["bad_field", "id_conflict", "bad_field", "bad_field"] == [
        answer.json["error"]["code"] for answer in refused
    ]
    assert 200 == (await post(worker, token, "phone.verify", verification=verification, code=code)).status


async def test_of_eight_with_the_right_code_at_once_one_moves(people: World, alice: Person, worker: Worker) -> None:
    token = await people.token(alice.user)
    verification, code = await moving(worker, token, people.phone())

    answers = await asyncio.gather(
        *(post(worker, token, "phone.verify", verification=verification, code=code) for _ in range(8))
    )

    assert {200: 1, 400: 7} == Counter(answer.status for answer in answers)


# An e-mail address


async def mailing(worker: Worker, token: str, email: str) -> tuple[UUID, str]:
    """Ask for a code by which to have an address."""
    verification = uuid7()
    answer = await post(worker, token, "email.change", verification=verification, email=email, password=PASSWORD)
    assert 200 == answer.status, answer.json
    return verification, await MAILBOX.code(email.lower())


async def test_who_has_an_email_address_proves_it(people: World, alice: Person, worker: Worker, db: Sql) -> None:
    token, email = await people.token(alice.user), f"Ann.{uuid7()}@Example.org"
    verification, code = await mailing(worker, token, email)
    fields = {"verification": verification, "code": code}

    answers = [
        await post(worker, token, "email.verify", verification=verification, code=wrong(code)),
        await post(worker, await people.token((await somebody(people)).user), "email.verify", **fields),
        await post(worker, token, "email.verify", **fields),
        await post(worker, token, "email.verify", **fields),
    ]

    assert [400, 400, 200, 400] == [answer.status for answer in answers]
    row = await db.fetchrow("SELECT email, email_verified FROM auth.users WHERE id = $1", alice.user)
    assert row is not None
    assert (email.lower(), True) == (row["email"], row["email_verified"])


async def test_an_address_that_is_taken_is_answered_the_same_and_not_given(
    people: World, alice: Person, worker: Worker, db: Sql
) -> None:
    bob, token, verification = await somebody(people), await people.token(alice.user), uuid7()
    email = f"{uuid7()}@example.org"
    await db.execute("UPDATE auth.users SET email = $2 WHERE id = $1", bob.user, email)

    asked_for = await post(worker, token, "email.change", verification=verification, email=email, password=PASSWORD)
    too_soon = await post(worker, token, "email.change", verification=uuid7(), email=email, password=PASSWORD)

    assert {"expires_at"} == set(asked_for.json["ok"])
    assert [] == MAILBOX.notices[email]
    assert "rate_limited" == too_soon.json["error"]["code"]
    kept = "SELECT code_digest FROM auth.otp_verifications WHERE id = $1"
    assert await db.fetchval(kept, verification) is None


async def test_an_address_that_somebody_else_takes_meanwhile_is_not_given(
    people: World, alice: Person, worker: Worker, db: Sql
) -> None:
    bob, token, email = await somebody(people), await people.token(alice.user), f"{uuid7()}@example.org"
    verification, code = await mailing(worker, token, email)

    async with db.transaction():
        await db.execute("UPDATE auth.users SET email = $2 WHERE id = $1", bob.user, email)
        moved = asyncio.create_task(post(worker, token, "email.verify", verification=verification, code=code))
        await until(lambda: db.fetchval("SELECT count(*) = 1 FROM pg_locks WHERE NOT granted"))

    assert "$.code" == (await moved).json["error"]["field"]
    assert await db.fetchval("SELECT email FROM auth.users WHERE id = $1", alice.user) is None


async def test_of_eight_with_the_right_code_at_once_one_has_the_address(
    people: World, alice: Person, worker: Worker
) -> None:
    token = await people.token(alice.user)
    verification, code = await mailing(worker, token, f"{uuid7()}@example.org")

    answers = await asyncio.gather(
        *(post(worker, token, "email.verify", verification=verification, code=code) for _ in range(8))
    )

    assert {200: 1, 400: 7} == Counter(answer.status for answer in answers)


@pytest.mark.parametrize(
    "email", ["ann", "ann@", "@example.org", "ann@example", "a b@example.org", "a@b@c.org", "a@b.c\n"]
)
async def test_what_is_no_email_address_is_a_bad_field(
    email: str, people: World, alice: Person, worker: Worker
) -> None:
    answer = await post(
        worker, await people.token(alice.user), "email.change", verification=uuid7(), email=email, password=PASSWORD
    )

    assert "$.email" == answer.json["error"]["field"]


# What the server needs, and what nobody is told


async def test_without_a_key_or_a_sender_it_is_said_what_is_missing(people: World, alice: Person) -> None:
    keyless = await people.worker(secret_key=None)
    mute = await people.worker(sender=None)

    refused = [
        await post(keyless, None, "account.login", **login(alice.phone)),
        await post(mute, None, "account.register", verification=uuid7(), phone=people.phone()),
    ]

    assert ["forbidden"] * 2 == [answer.json["error"]["code"] for answer in refused]
    assert ["ECHO_SECRET_KEY", "ECHO_SENDER"] == [answer.json["error"]["message"].split()[-4] for answer in refused]
    await log_in(mute, alice)


@pytest.mark.parametrize(
    ("op", "fields", "field"),
    [
        ("account.register", {"verification": "no", "phone": "+4915123456789"}, "verification"),
        ("account.verify", {"code": "12345"}, "code"),
        ("account.verify", {"code": "١٢٣٤٥٦"}, "code"),
        ("account.verify", {"code": "123456\n"}, "code"),
        ("account.verify", {"code": "123456", "password": "short"}, "password"),
        ("account.verify", {"code": "123456", "password": "x" * 129}, "password"),
        ("account.verify", {"code": "123456", "password": PASSWORD, "name": "a\0b"}, "name"),
        ("account.login", login("+4915123456789", device="short"), "device"),
        ("account.login", login("+4915123456789", platform="i os"), "platform"),
        ("account.login", login("+4915123456789", password=""), "password"),
        ("account.login", login("+4915123456789", metadata={"os": 1}), "metadata[...]"),
        ("account.login", login("+4915123456789", metadata={"os": "\0"}), "metadata[...]"),
        ("account.login", login("+4915123456789", location={"city": "\0"}), "location.city"),
        ("account.login", login("+4915123456789", location={"country": "de"}), "location.country"),
        ("account.login", login("+4915123456789", location={"timezone": "two o'clock"}), "location.timezone"),
        ("account.login", login("+4915123456789", location={"latitude": 52.5}), "location.latitude"),
        ("token.refresh", {"refresh_token": "a b"}, "refresh_token"),
    ],
)
async def test_bad_input_is_named_and_the_connection_lives_on(
    op: str, fields: dict[str, Any], field: str, worker: Worker
) -> None:
    async with line(worker) as stranger:
        if op == "account.verify":
            fields = {"verification": str(uuid7()), **fields}

        refused = await stranger.ask({"op": op, "id": 3, **fields})
        alive = await stranger.ask({"op": "token.refresh", "id": 4, "refresh_token": "nonsense"})

    assert (3, "bad_field", f"$.{field}") == (refused["id"], refused["error"]["code"], refused["error"]["field"])
    assert (4, "unauthenticated") == (alive["id"], alive["error"]["code"])


async def test_no_secret_is_logged(people: World, logged: io.StringIO) -> None:
    talkative, phone = await people.worker(), people.phone()
    verification, code = await asked(talkative, phone)
    await post(
        talkative, None, "account.verify", verification=verification, code=wrong(code), password=PASSWORD, name="A"
    )
    made = await post(
        talkative, None, "account.verify", verification=verification, code=code, password=PASSWORD, name="Ann"
    )
    person = Person(UUID(made.json["ok"]["user"]), phone)
    opened = await log_in(talkative, person)
    latest = (await post(talkative, None, "token.refresh", refresh_token=opened["refresh_token"])).json["ok"]
    latest = (await post(talkative, None, "token.refresh", refresh_token=latest["refresh_token"])).json["ok"]
    await post(talkative, None, "token.refresh", refresh_token=opened["refresh_token"])
    await post(talkative, None, "account.login", **login(phone, "wrong horse"))

    said = logged.getvalue()
    assert "registered" in said
    assert "refresh_repeated" in said
    secrets = [
        code,
        PASSWORD,
        "wrong horse",
        phone,
        *(each[kind] for each in (opened, latest) for kind in ("token", "refresh_token")),
    ]
    assert [] == [secret for secret in secrets if secret in said]
