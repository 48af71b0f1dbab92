"""What is done on a schedule, each job by one runner among all workers."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from echo_ws import tokens
from echo_ws.housekeeping import BATCH, Housekeeping
from echo_ws.hub import Channel
from echo_ws.metrics import Metrics
from echo_ws.settings import Settings
from echo_ws_db import accounts, deletions, housekeeping, sessions
from tests.support.doors import line
from tests.support.waiting import until
from tests.support.world import World

QUICK = {"cleanup_s": 0.02, "housekeeping_s": 0.02}
DUE = "UPDATE auth.housekeeping SET due_at = CURRENT_TIMESTAMP, leased_until = '-infinity'"


class Silence:
    def poke(self, channel: Channel, /) -> None:
        pass


def runner(world: World, metrics: Metrics | None = None, **settings: Any) -> Housekeeping:
    """Return a runner that looks when it is told to."""
    return Housekeeping(world.store, Settings(**settings), metrics or Metrics(), Silence())


async def jobs(world: World) -> dict[str, Any]:
    return {row["job"]: row for row in await world.store.fetch("SELECT * FROM auth.housekeeping")}


async def expire(world: World, user: UUID, count: int) -> None:
    await world.store.execute(
        "INSERT INTO auth.sessions (user_id, session_token, device_id, platform, expires_at)"
        " SELECT $1, gen_random_uuid()::text, 'phone', 'ios', now() - interval '1 minute' FROM generate_series(1, $2)",
        user,
        count,
    )


# Who does it


async def test_of_two_workers_one_does_what_is_due(world: World) -> None:
    runners = [runner(world) for _ in range(8)]

    await asyncio.gather(*(each._look() for each in runners))

    known = await jobs(world)
    assert {"sessions", "refresh_tokens", "codes", "flows", "login_history", "deletions"} == set(known)
    assert {(1, 0)} == {(row["runs"], row["failures"]) for row in known.values()}


async def test_every_job_comes_again_at_a_time_of_its_own(world: World) -> None:
    await runner(world, cleanup_s=500, housekeeping_s=20)._look()

    now = datetime.now(UTC).replace(tzinfo=None)
    in_s = {job: (row["due_at"] - now).total_seconds() for job, row in (await jobs(world)).items()}
    assert [True] * 2 == [10 < in_s["deletions"] < 21, 490 < in_s["sessions"] < 501]


async def test_what_a_runner_had_that_was_killed_another_takes_over(world: World) -> None:
    await housekeeping.introduce(world.store, ["sessions"])
    lasts_s = 0.3
    before = await world.store.fetchval("SELECT clock_timestamp()::timestamp")
    assert "sessions" == await housekeeping.claim(world.store, ["sessions"], uuid4(), lasts_s)

    await world.worker(**QUICK)

    async def is_done() -> bool:
        return bool((await jobs(world))["sessions"]["runs"])

    assert await until(is_done)
    assert before + timedelta(seconds=lasts_s) <= (await jobs(world))["sessions"]["succeeded_at"]


async def test_who_was_asleep_for_longer_than_the_lease_stops(world: World) -> None:
    user = await world.user()
    await expire(world, user, 2 * BATCH + 1)
    sleeper = runner(world)
    await housekeeping.introduce(world.store, ["sessions"])
    await housekeeping.claim(world.store, ["sessions"], sleeper._runner, 60)
    await world.store.execute("UPDATE auth.housekeeping SET runner = $1", uuid4())  # somebody else has taken over

    await sleeper._do("sessions", sleeper._jobs["sessions"])

    assert BATCH + 1 == await world.store.fetchval("SELECT count(*) FROM auth.sessions")
    assert (0, None) == ((row := (await jobs(world))["sessions"])["runs"], row["succeeded_at"])


async def test_a_job_that_fails_stops_no_other_and_is_tried_again_soon(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.store.execute("ALTER TABLE auth.login_history RENAME created_at TO made_at")
    metrics = Metrics()
    each = runner(world, metrics)

    await each._look()

    known = await jobs(world)
    assert (0, 1, None) == tuple(known["login_history"][name] for name in ("runs", "failures", "succeeded_at"))
    assert {1} == {row["runs"] for job, row in known.items() if job != "login_history"}
    assert known["login_history"]["due_at"] < known["sessions"]["due_at"] - timedelta(minutes=30)
    page = metrics.render().decode()
    assert 'echo_housekeeping_runs_total{job="login_history",outcome="failed"} 1.0' in page
    assert 'echo_housekeeping_runs_total{job="sessions",outcome="ok"} 1.0' in page
    assert "housekeeping_failed" in capsys.readouterr().out


async def test_the_metrics_tell_how_long_nobody_did_what_is_due(world: World) -> None:
    metrics = Metrics()
    each = runner(world, metrics)
    await housekeeping.introduce(world.store, list(each._jobs))
    await world.store.execute(
        "UPDATE auth.housekeeping SET due_at = due_at - interval '1 hour', runner = gen_random_uuid(),"
        " leased_until = 'infinity' WHERE job = 'codes'"
    )

    await each._look()

    (overdue,) = [row for row in metrics.render().decode().splitlines() if row.startswith("echo_housekeeping_overdue")]
    assert 3600 <= float(overdue.split()[1]) < 3700


# What is done


async def test_expired_sessions_are_deleted_in_batches_and_good_ones_are_not(world: World) -> None:
    user = await world.user()
    good = await sessions.issue(world.store, user, tokens.digest("good"), "laptop", "web", None, 1)
    await expire(world, user, 2 * BATCH + 1)

    await runner(world)._look()

    assert [good] == [row.id for row in await sessions.of_user(world.store, user)]


async def test_the_socket_of_a_session_that_has_run_out_is_closed_when_its_row_is_gone(world: World) -> None:
    worker = await world.worker(**QUICK, revalidate_s=0.05)
    token = await world.token(await world.user())
    await world.store.execute("UPDATE auth.sessions SET expires_at = CURRENT_TIMESTAMP + interval '0.7 seconds'")

    async with line(worker, token) as socket:
        await socket.hear("hello")

        assert 4003 == await socket.close_code()
    assert await until(partial(world.store.fetchval, "SELECT count(*) = 0 FROM auth.sessions"))


async def test_codes_refresh_tokens_and_flows_that_count_no_more_are_deleted(world: World) -> None:
    user = await world.user()
    await world.store.execute(
        "INSERT INTO auth.otp_verifications (phone, otp_code, purpose, expires_at)"
        " SELECT '+4915123456789', '!', 'login', now() - days * interval '1 day' FROM unnest(ARRAY[0, 1, 3]) days"
    )
    await world.store.execute(
        "INSERT INTO auth.refresh_tokens (user_id, token, device_id, expires_at)"
        " SELECT $1, days, 'phone', now() + days * interval '1 day' FROM unnest(ARRAY[-1, 1]) days",
        user,
    )
    await world.store.execute(
        "INSERT INTO auth.oauth_flows (id, provider, expires_at)"
        " SELECT gen_random_uuid(), 'google', now() - days * interval '1 day' FROM unnest(ARRAY[-1, 0, 2]) days"
    )

    await runner(world)._look()

    assert [2, 1, 2] == [
        await world.store.fetchval(f"SELECT count(*) FROM auth.{table}")
        for table in ("otp_verifications", "refresh_tokens", "oauth_flows")
    ]


async def test_old_logins_are_deleted_and_young_ones_are_kept(world: World) -> None:
    await world.store.execute(
        "INSERT INTO auth.login_history (phone, success, created_at)"
        " SELECT days, TRUE, now() - days * interval '1 day' FROM unnest(ARRAY[0, 6, 8, 100]) days"
    )

    await runner(world, login_history_days=7)._look()

    left = await world.store.fetch("SELECT phone FROM auth.login_history ORDER BY created_at DESC")
    assert ["0", "6"] == [row["phone"] for row in left]


async def test_a_deletion_that_fails_stops_no_other(world: World) -> None:
    alice, bob = await world.user("Alice"), await world.user("Bob")
    room = await world.room("group", alice, bob)
    await world.store.execute(
        "INSERT INTO messages.messages (conversation_id, from_user_id, content) VALUES ($1, $2, 'x')", room, alice
    )
    await world.store.execute("ALTER TABLE messages.messages ADD CONSTRAINT stubborn CHECK (NOT deleted)")
    for user in (alice, bob):
        await accounts.delete(world.store, user, "erase")

    await runner(world)._look()

    assert [alice] == await deletions.pending(world.store, 10)
    assert 1 == (await jobs(world))["deletions"]["failures"]
    await world.store.execute("ALTER TABLE messages.messages DROP CONSTRAINT stubborn")
    await world.store.execute(DUE)
    await runner(world)._look()
    assert [] == await deletions.pending(world.store, 10)
