"""A worker process: one event loop that serves on the shared port until it is told to stop.

Started by the supervisor with its settings as a line on stdin; it answers ``ready`` on stdout. Further lines bring new
keys. It stops in good order on SIGTERM, and when stdin ends: then the supervisor is gone, and nobody else would ever
stop it.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

import msgspec
import uvloop

from echo_ws_db.pool import StoreError

from . import config, logs
from .assignment import CANNOT_START, GRACE_S, READY, Assignment, NewKeys
from .config import ConfigError, JwtKey, Settings
from .metrics import Metrics
from .port import bind
from .shared import SharedMemory

OTHER_FILES = 100
"""Files that a worker has open beside its connections, at most."""

LONGEST_LINE = 2**20
"""Bytes of a line from the supervisor, at most."""


class Running(Protocol):
    """What ``start`` returns: a server at work."""

    def rekey(self, keys: Mapping[str, JwtKey], /) -> None: ...
    async def drain(self) -> None: ...


Start: TypeAlias = Callable[[Settings, socket.socket, Metrics], Awaitable[Running]]


def main(start: Start | None = None) -> int:
    start = start or _server()  # takes a while; the assignment may do so too
    assignment = msgspec.json.decode(sys.stdin.buffer.readline(), type=Assignment)
    settings = config.decode(bytes(assignment.settings))
    logs.configure(settings, worker=assignment.slot)
    settings = fit_files(settings)
    metrics = Metrics(SharedMemory(assignment.memory, assignment.count), assignment.slot)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(settings, metrics, start))


def _server() -> Start:
    from .server import Server  # noqa: PLC0415 - tests start another

    return Server.start


def fit_files(settings: Settings) -> Settings:
    """Take as many open files as the machine allows, and no more connections than these suffice for.

    Who is one too many is told so with 503. Without a file left, nothing could be said: uvloop accepts and closes.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most == resource.RLIM_INFINITY or most >= settings.max_connections + OTHER_FILES:
        return settings
    logs.get_logger(__name__).warning("file_limit_low", open_files=most, max_connections=settings.max_connections)
    return msgspec.structs.replace(settings, max_connections=max(1, most - OTHER_FILES))


async def _work(settings: Settings, metrics: Metrics, start: Start) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    serving: asyncio.Future[Running] = loop.create_future()
    hearing = loop.create_task(_hear_supervisor(settings, serving, stop))
    try:
        with bind(settings.host, settings.port) as sock:
            server = await start(settings, sock, metrics)
            serving.set_result(server)
            metrics.publish()
            _settle()
            _announce()
            await stop.wait()
            await server.drain()
    except (ConfigError, StoreError) as error:
        sys.stderr.write(f"echo-ws: {error}\n")
        return CANNOT_START
    finally:
        hearing.cancel()
    metrics.publish()
    return 0


async def _hear_supervisor(settings: Settings, serving: asyncio.Future[Running], stop: asyncio.Event) -> None:
    """Take the keys that it sends to one who serves; stop when it is gone."""
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        (await serving).rekey(msgspec.json.decode(line, type=NewKeys).jwt_keys)
    logs.get_logger(__name__).warning("supervisor_gone")
    stop.set()
    deadline = threading.Timer(settings.drain_s + GRACE_S, os._exit, [CANNOT_START])
    deadline.daemon = True
    deadline.start()


def _settle() -> None:
    """Take what is there for good out of the garbage collector's sight, and let it look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _announce() -> None:
    with contextlib.suppress(BrokenPipeError):  # the supervisor is gone, and stdin tells so
        os.write(sys.stdout.fileno(), READY)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads what is printed from now on


if __name__ == "__main__":
    sys.exit(main())
