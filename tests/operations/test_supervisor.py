"""The supervisor and real worker processes, with a stand-in for what they serve."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from echo_ws import config, supervisor
from echo_ws.config import ConfigError, JwtKey, Settings
from echo_ws.port import reserve
from echo_ws.supervisor import Supervisor, WorkerFailed

STAND_IN = (sys.executable, str(Path(__file__).parents[1] / "support/stand_in_worker.py"))
RUN = """
import asyncio, sys
from echo_ws import config
from echo_ws.supervisor import Supervisor
async def main():
    await Supervisor(config.decode(sys.argv[1].encode()), command=sys.argv[2:]).run()
asyncio.run(main())
"""


class Events:
    """What the stand-ins tell."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def next(self) -> tuple[str, int]:
        async with asyncio.timeout(20):
            event, pid = (await asyncio.get_running_loop().sock_recv(self._sock, 100)).decode().split()
        return event, int(pid)


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Events]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(str(tmp_path / "events"))
        monkeypatch.setenv("STAND_IN_EVENTS", str(tmp_path / "events"))
        yield Events(sock)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with reserve("127.0.0.1", 0) as held:
        yield Settings(port=held.getsockname()[1], workers=1, drain_s=5, data_dir=tmp_path, log_level="error")


@asynccontextmanager
async def running(settings: Settings, **changes: Any) -> AsyncIterator[Supervisor]:
    """Run a supervisor, ready, and stop it in the end."""
    one = Supervisor(msgspec.structs.replace(settings, **changes), command=STAND_IN)
    ready = asyncio.Event()
    run = asyncio.ensure_future(one.run(ready.set))
    is_ready = asyncio.ensure_future(ready.wait())
    await asyncio.wait([run, is_ready], return_when=asyncio.FIRST_COMPLETED)
    is_ready.cancel()
    try:
        yield one
    finally:
        if not run.done():
            one.stop()
        await asyncio.wait([run], timeout=20)
        if not run.done():
            for pid in one.pids:
                os.kill(pid, signal.SIGKILL)
            pytest.fail("the supervisor did not stop")
        await run


async def call(settings: Settings) -> tuple[int, float]:
    """Return the pid of the worker that answers, and how many called so far."""
    reader, writer = await asyncio.open_connection("127.0.0.1", settings.port)
    pid, calls = (await reader.read()).split()
    writer.close()
    return int(pid), float(calls)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text()


async def test_all_workers_serve_on_one_port(settings: Settings, events: Events) -> None:
    async with running(settings, workers=2) as one:
        callers = {(await call(settings))[0] for _ in range(64)}

        assert callers == set(one.pids)
        assert len(callers) == 2


async def test_a_killed_worker_is_replaced_and_its_counters_go_on(settings: Settings, events: Events) -> None:
    async with running(settings):
        _, first = await events.next()
        assert await call(settings) == (first, 1)
        os.kill(first, signal.SIGKILL)

        event, second = await events.next()

        assert event == "started"
        assert await call(settings) == (second, 2)


async def test_stopping_drains_every_worker(settings: Settings, events: Events) -> None:
    async with running(settings, workers=2) as one:
        pids = set(one.pids)
        assert {await events.next(), await events.next()} == {("started", pid) for pid in pids}

    assert {await events.next(), await events.next()} == {("drained", pid) for pid in pids}
    assert not any(is_alive(pid) for pid in pids)


async def test_new_keys_reach_every_worker(settings: Settings, events: Events) -> None:
    async with running(settings, workers=2) as one:
        pids = set(one.pids)
        assert {await events.next(), await events.next()} == {("started", pid) for pid in pids}

        one.rekey({"2026-b": JwtKey(alg="HS256", key="b" * 32), "2026-a": JwtKey(alg="HS256", key="a" * 32)})

        assert {await events.next(), await events.next()} == {("keys:2026-b,2026-a", pid) for pid in pids}


async def test_a_second_stop_does_not_wait(settings: Settings, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", "hang")
    async with running(settings, drain_s=600) as one:
        _, pid = await events.next()
        one.stop()
        assert await events.next() == ("hanging", pid)
        one.stop()

    assert not is_alive(pid)


async def test_a_worker_that_does_not_stop_is_ended(
    settings: Settings, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "hang")
    monkeypatch.setattr(supervisor, "GRACE_S", 0.1)
    async with running(settings, drain_s=0.1):
        _, pid = await events.next()

    assert not is_alive(pid)


async def test_the_pauses_between_restarts_double(
    settings: Settings, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "die")
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    with capture_logs() as lines:
        async with running(settings):
            for _ in range(3):
                await events.next()

    pauses = [line["restart_in_s"] for line in lines if line["event"] == "worker_died"]
    assert pauses[:2] == [0.01, 0.02]


async def test_a_worker_that_cannot_start_says_why_and_ends_the_first_start(
    settings: Settings, events: Events, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STAND_IN", "fail")

    with pytest.raises(WorkerFailed) as caught:
        async with running(settings, workers=2):
            pass

    assert caught.value.was_explained
    assert capfd.readouterr().err == "echo-ws: PostgreSQL cannot be reached: nobody there\n"


async def test_workers_drain_when_the_supervisor_is_killed(settings: Settings, events: Events) -> None:
    arguments = [sys.executable, "-c", RUN, config.encode(settings).decode(), *STAND_IN]
    parent = await asyncio.create_subprocess_exec(*arguments)
    _, pid = await events.next()

    parent.kill()
    await parent.wait()

    assert await events.next() == ("drained", pid)


async def test_ctrl_c_in_the_terminal_reaches_the_supervisor_alone(settings: Settings, events: Events) -> None:
    async with running(settings) as one:
        (pid,) = one.pids

        assert os.getpgid(pid) == pid != os.getpgid(0)


def test_a_port_that_is_in_use_is_refused_also_when_it_could_be_shared() -> None:
    with reserve("127.0.0.1", 0) as held:
        held.listen()
        port = held.getsockname()[1]

        with pytest.raises(ConfigError, match=f"ECHO_PORT: port {port} of 127.0.0.1 is in use"):
            reserve("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused_by_name(host: str) -> None:
    with pytest.raises(ConfigError, match="ECHO_HOST"):
        reserve(host, 0)
