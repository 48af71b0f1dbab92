import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import echo_ws
from echo_ws import metrics as module
from echo_ws.metrics import Metrics, sample
from echo_ws.shared import SharedMemory
from echo_ws_protocol.codec import COMMANDS
from echo_ws_protocol.errors import ErrorCode


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    memory = SharedMemory.create(2)
    yield memory
    memory.close()


def values(metrics: Metrics) -> dict[str, float]:
    """Return the page as a scraper reads it: name and label values to value."""
    return {
        sample.name + "".join(f"[{value}]" for _, value in sorted(sample.labels.items(), reverse=True)): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_commands_are_counted_by_op_and_outcome_and_timed_by_op() -> None:
    metrics = Metrics()

    metrics.command("message.send", "ok", 0.002)
    metrics.command("message.send", "not_found", 0.3)

    page = values(metrics)
    assert page["echo_commands_total[ok][message.send]"] == 1
    assert page["echo_commands_total[not_found][message.send]"] == 1
    assert page["echo_command_seconds_bucket[message.send][0.001]"] == 0
    assert page["echo_command_seconds_bucket[message.send][0.0025]"] == 1
    assert page["echo_command_seconds_bucket[message.send][+Inf]"] == 2
    assert page["echo_command_seconds_count[message.send]"] == 2
    assert page["echo_command_seconds_sum[message.send]"] == pytest.approx(0.302)


def test_batches_and_fan_out_are_histograms() -> None:
    metrics = Metrics()

    metrics.batch(128, 0.004)
    metrics.batch(1, 20)
    metrics.fanout(3)

    page = values(metrics)
    assert page["echo_batch_messages_bucket[64.0]"] == 1
    assert page["echo_batch_messages_bucket[128.0]"] == 2
    assert page["echo_batch_seconds_bucket[10.0]"] == 1
    assert page["echo_fanout_connections_sum"] == 3


def test_one_page_shows_the_sum_of_all_workers(memory: SharedMemory) -> None:
    first, second = Metrics(memory, 0), Metrics(memory, 1)
    for metrics, connections in ((first, 2), (second, 3)):
        metrics.connections = connections
        metrics.command("message.send", "ok", 0.002)
        metrics.count("repaired", "conversation")
        metrics.loop_lag = connections / 100

    second.publish()

    page = values(first)
    assert page["echo_connections"] == 5
    assert page["echo_workers"] == 2
    assert page["echo_commands_total[ok][message.send]"] == 2
    assert page["echo_command_seconds_count[message.send]"] == 2
    assert page["echo_repaired_total[conversation]"] == 2
    assert page["echo_loop_lag_recent_seconds"] == 0.03


def test_a_worker_that_replaces_a_dead_one_goes_on_from_its_counters_but_not_its_gauges(memory: SharedMemory) -> None:
    dead = Metrics(memory, 0)
    dead.connections = 7
    dead.command("message.send", "ok", 0.002)
    dead.batch(5, 0.001)
    dead.publish()

    successor = Metrics(memory, 0)
    successor.command("message.send", "ok", 0.002)
    successor.batch(5, 0.001)

    page = values(successor)
    assert page["echo_commands_total[ok][message.send]"] == 2
    assert page["echo_batch_messages_sum"] == 10
    assert page["echo_connections"] == 0


def test_cpu_time_is_that_of_all_workers_and_of_those_before_them(memory: SharedMemory) -> None:
    least = time.process_time()
    for slot in (0, 1):
        Metrics(memory, slot).publish()

    successor = Metrics(memory, 1)
    values(successor)
    page = values(successor)

    assert 3 * least <= page["echo_cpu_seconds_total"] <= 3 * time.process_time()


def test_the_gauges_of_a_silent_worker_do_not_count(memory: SharedMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALE_S", -1.0)
    silent = Metrics(memory, 1)
    silent.connections = 7
    silent.count("repaired", "user")
    silent.publish()

    page = values(Metrics(memory, 0))

    assert page["echo_connections"] == 0
    assert page["echo_repaired_total[user]"] == 1


def test_probes_set_the_gauges_when_the_page_is_read() -> None:
    metrics = Metrics()
    metrics.probes.append(lambda: metrics.gauge("writer_queue", 4))

    assert values(metrics)["echo_writer_queue"] == 4


def test_a_gauge_may_be_a_truth(memory: SharedMemory) -> None:
    for slot in (0, 1):
        metrics = Metrics(memory, slot)
        metrics.gauge("redis_connected", True)
        metrics.publish()

    assert values(metrics)["echo_redis_connected"] == 2


def test_a_name_that_nobody_described_still_shows() -> None:
    metrics = Metrics()
    metrics.count("surprise", "kind")
    metrics.gauge("surprise_level", 2)

    page = values(metrics)

    assert page["echo_surprise_total[kind]"] == 1
    assert page["echo_surprise_level"] == 2


def test_every_metric_is_on_the_page_before_anything_happened() -> None:
    page = Metrics().render().decode()

    assert [
        name for name in (*module.COUNTERS, *module.HISTOGRAMS, *module.GAUGES) if f"# HELP echo_{name}" not in page
    ] == []


def test_all_that_can_be_counted_fits_into_a_slot(memory: SharedMemory) -> None:
    metrics = Metrics(memory, 0)
    for op in COMMANDS:
        for outcome in ("ok", *ErrorCode):
            metrics._commands[op, outcome] = 2**40
        metrics._command_seconds[op,] = module.Histogram([2**40] * (len(module.SECONDS) + 1), 1e9)

    metrics.publish()

    assert len(memory.read(0)) > 1000


def test_every_metric_that_the_source_names_is_described() -> None:
    source = "".join(path.read_text() for path in Path(echo_ws.__path__[0]).rglob("*.py"))

    counted = set(re.findall(r"metrics\.count\(\s*\"(\w+)\"", source))
    gauged = set(re.findall(r"metrics\.gauge\(\s*\"(\w+)\"", source)) | set(
        re.findall(r"\bgauge\(\s*\"(\w+)\"", source)
    )

    assert counted - set(module.COUNTERS) == set()
    assert gauged - set(module.GAUGES) == set()


async def test_the_sampler_notices_a_late_loop_and_publishes(
    memory: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE_S", 0.001)
    monkeypatch.setattr(module, "PUBLISH_S", 0.001)
    metrics = Metrics(memory, 0)
    published = asyncio.Event()
    metrics.probes.append(published.set)
    sampler = asyncio.create_task(sample(metrics))

    await asyncio.sleep(0)  # its timer runs
    time.sleep(0.06)  # noqa: ASYNC251 - and the loop does not
    await published.wait()
    sampler.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sampler

    assert memory.read(0)
    assert metrics.loop_lag >= 0.05
    assert values(metrics)["echo_loop_lag_seconds_count"] >= 1
