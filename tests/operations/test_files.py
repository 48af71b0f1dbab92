"""A worker whose open files run out. Files are counted for each process, so clients live in another one."""

import asyncio
import itertools
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.sockets import KEY, TEXT, opened, serving

FILES = Path("/proc/self/fd")
SPARE = 20
NEWCOMERS = """
import socket, sys
port, head = int(sys.argv[1]), sys.argv[2].encode()
def answer(sock):
    try:
        sock.sendall(head)
        return sock.recv(1000)[9:12].decode()
    except ConnectionError:
        return ""
socks = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(60)]
print(*(answer(sock) or "cut" for sock in socks))
"""
HEAD = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\n\r\n"
)
FITTED = """
import resource
from echo_ws.settings import Settings
from echo_ws.worker import fit_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
print(fit_files(Settings()).max_connections, fit_files(Settings(max_connections=150)).max_connections)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@contextmanager
def few_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = {int(file.name) for file in FILES.iterdir()}
    free = itertools.islice((number for number in itertools.count() if number not in in_use), SPARE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.skipif(not FILES.is_dir(), reason="counts open files in /proc")
async def test_without_files_newcomers_are_cut_and_nobody_else_notices(caplog: pytest.LogCaptureFixture) -> None:
    """F28"""
    async with serving() as echo, opened(echo) as raw:
        newcomers = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", NEWCOMERS, str(echo.port), HEAD), stdout=subprocess.PIPE
        )
        with few_files():
            answers = (await newcomers.communicate())[0].split()
            raw.send(TEXT, b"still here")
            assert await raw.frame() == (TEXT, b"still here")

        async with opened(echo) as late:
            late.send(TEXT, b"welcome")
            assert await late.frame() == (TEXT, b"welcome")

    assert {b"101", b"cut"} == set(answers)
    assert len(caplog.records) <= 1


def test_a_worker_lets_in_as_many_as_it_has_files_for() -> None:
    """F28: whoever is one too many is told so, and not cut."""
    run = subprocess.run([sys.executable, "-c", FITTED], capture_output=True, text=True, check=True)

    *logged, fitted, files = run.stdout.splitlines()

    assert ("200 150", "300") == (fitted, files)
    assert 1 == len([one for one in logged if "file_limit_low" in one])
