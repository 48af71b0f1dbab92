"""A watch over a real worker, PostgreSQL and Redis, as load tests use it."""

import asyncio
import socket
import time
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from echo_ws.client import Client
from echo_ws_protocol.commands import MessageSend
from echo_ws_protocol.ids import uuid7
from scripts.loadtest import watch as module
from scripts.loadtest.watch import Watch
from tests.support.waiting import until
from tests.support.world import Worker, World


async def test_a_sample_says_how_the_server_is(people: World) -> None:
    worker = await people.worker()
    alice = await people.person("Alice", worker)
    bob = await people.person("Bob", worker)
    watch = Watch(f"{worker.http}/metrics")

    both = await watch.look()
    await bob.close()
    await until(lambda: _is_alone(worker, alice))
    one = await watch.look()

    assert (both.connections, one.connections) == (2, 1)
    assert (one.writer_queue, one.redis_queue) == (0, 0)
    assert one.loop_lag_s is not None
    assert one.memory_bytes["workers"] > 1_000_000
    assert 0 < both.at < one.at
    assert (watch.samples, watch.warnings) == ([both, one], [])


async def test_cores_are_those_in_use_since_the_sample_before(worker: Worker, alice: Client, direct: UUID) -> None:
    watch = Watch(f"{worker.http}/metrics")
    began = time.process_time()

    before = await watch.look()
    burnt = _burn(0.1)
    await alice.call(MessageSend(conversation=direct, message=uuid7(), content="hi"))
    after = await watch.look()

    assert "workers" not in before.cpu
    assert burnt <= after.cpu["workers"] * (after.at - before.at) <= time.process_time() - began


async def test_postgres_and_redis_of_this_machine_are_watched(
    worker: Worker, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    watch = Watch(f"{worker.http}/metrics")

    await watch.look()
    await db.fetchval("SELECT count(md5(n::text)) FROM generate_series(1, 300000) n")
    sample = await watch.look()

    assert sample.cpu["postgres"] > 0
    assert sample.cpu["redis"] >= 0
    assert sample.memory_bytes["postgres"] > 1_000_000
    assert sample.memory_bytes["redis"] > 1_000_000


async def test_of_a_server_elsewhere_only_the_page_is_read(worker: Worker) -> None:
    watch = Watch(f"http://0.0.0.0:{worker.port}/metrics")  # leads here, and the watch does not know

    sample = await watch.look()

    assert sample.memory_bytes.keys() == {"workers"}


async def test_an_unreachable_server_is_warned_of_once() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        watch = Watch(f"http://127.0.0.1:{deaf.getsockname()[1]}/metrics")

        await watch.look()
        sample = await watch.look()

    assert (sample.connections, sample.loop_lag_s, sample.writer_queue, sample.redis_queue) == (None,) * 4
    assert "workers" not in sample.cpu.keys() | sample.memory_bytes.keys()
    assert len(watch.samples) == 2
    assert ["refused" in warning for warning in watch.warnings] == [True]


async def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        watch = Watch(f"http://127.0.0.1:{silent.getsockname()[1]}/metrics")

        sample = await watch.look()

    assert sample.connections is None
    assert sample.at < 1
    assert ["timed out" in warning for warning in watch.warnings] == [True]


@pytest.mark.parametrize(("path", "warning"), [("/nothing", "HTTP status 404"), ("/healthz", "something else")])
async def test_a_page_that_is_not_of_metrics_is_warned_of(worker: Worker, path: str, warning: str) -> None:
    watch = Watch(worker.http + path)

    sample = await watch.look()

    assert sample.connections is None
    assert [warning in each for each in watch.warnings] == [True]


async def test_a_server_that_began_anew_has_no_cores_until_the_next_sample(people: World) -> None:
    worker = await people.worker()
    watch = Watch(f"{worker.http}/metrics")
    metrics = worker.server.metrics

    metrics._cpu_before = 1000.0
    await watch.look()
    metrics._cpu_before = 0.0
    anew = await watch.look()
    later = await watch.look()

    assert "workers" not in anew.cpu
    assert later.cpu["workers"] > 0


async def test_an_entered_watch_looks_again_and_again_until_it_is_left(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    tasks_before = asyncio.all_tasks()

    async with Watch(f"{worker.http}/metrics") as watch:
        await until(lambda: _has_samples(watch, 3))

    await until(lambda: _is_all_over(tasks_before))  # the worker may still be about to answer the last look
    assert all(sample.connections is not None for sample in watch.samples)


async def _is_all_over(tasks_before: set["asyncio.Task[Any]"]) -> bool:
    return asyncio.all_tasks() <= tasks_before


def _burn(seconds: float) -> float:
    began = time.process_time()
    while time.process_time() < began + seconds:
        pass
    return time.process_time() - began


async def _is_alone(worker: Worker, person: Client) -> bool:
    return {connection.user for connection in worker.server._connections} == {person.user}


async def _has_samples(watch: Watch, count: int) -> bool:
    return len(watch.samples) >= count
