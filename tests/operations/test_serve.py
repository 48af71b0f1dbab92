"""`echo-ws serve` as a stranger runs it: a process, its output, its exit code, and what it leaves behind."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from echo_ws.settings import JwtKey
from echo_ws.tokens import AccessTokens

ECHO_WS = (sys.executable, "-m", "echo_ws.cli")
NOWHERE = {"ECHO_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/echo", "ECHO_REDIS_URL": "memory:"}
DEADLINE_S = 60


class Server:
    """A running `echo-ws serve`."""

    def __init__(self, stdin: int = subprocess.DEVNULL, /, **environ: str) -> None:
        self.process = subprocess.Popen(
            [*ECHO_WS, "serve", "--port", "0"],
            env=_environ(**{"ECHO_DRAIN_S": "0.2"} | environ),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.welcome = [self.process.stdout.readline().rstrip() for _ in range(5)]
        self.port = int(self.welcome[-1].rpartition(":")[2].partition("/")[0])

    def get(self, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        connection.request("GET", path)
        answer = connection.getresponse()
        with contextlib.closing(connection):
            return answer.status, answer.read()

    def may(self, token: str) -> bool:
        """Tell whether a token opens the door."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        connection.request("POST", "/v1/conversation.list", "{}", {"Authorization": f"Bearer {token}"})
        with contextlib.closing(connection):
            return connection.getresponse().status == 200

    def logged(self, event: str) -> str:
        """Return the next line of the log that tells of an event."""
        assert self.process.stderr
        return next(line for line in self.process.stderr if f'"event":"{event}"' in line)

    def is_well(self) -> bool:
        try:
            return bool(json.loads(self.get("/healthz")[1])["status"] == "ok")
        except OSError:  # no worker listens
            return False

    def family(self) -> dict[str, list[psutil.Process]]:
        """Return every process of the server by what it is."""
        found: dict[str, list[psutil.Process]] = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            words = " ".join(child.cmdline())
            kind = "worker" if "echo_ws.worker" in words else "postgres" if "postgres" in words else "redis"
            found.setdefault(kind, []).append(child)
        return found

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Return exit code and what was written to stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, errors


@pytest.fixture
def running(data_dir: Path) -> Iterator[list[Server]]:
    """Yield a list for servers; those that still run in the end are killed."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.process.kill()
        server.process.communicate()


def command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ECHO_WS, *arguments], env=_environ(**environ), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def _environ(**environ: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ECHO_")} | environ


def test_a_stranger_starts_it_tries_it_stops_it_and_starts_it_again(data_dir: Path, running: list[Server]) -> None:
    here = {"ECHO_DATA_DIR": str(data_dir), "ECHO_WORKERS": "2"}
    tokens = data_dir / "demo-users.jsonl"

    first = Server(**here)
    running.append(first)
    rows = command("psql", "-Atc", "SELECT count(*) FROM auth.sessions", **here)
    shown = first.welcome[3].removeprefix("  rows ")
    elsewhere = subprocess.run(
        ["sh", "-c", f"{shown} -Atc 'SELECT count(*) FROM auth.users'"],
        env=_environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    health = command("healthcheck", **here, ECHO_PORT=str(first.port))
    people = [json.loads(line) for line in tokens.read_text().splitlines()]
    page = first.get("/metrics")[1].decode()
    code, errors = first.stop()

    assert f"serves ws://127.0.0.1:{first.port}/ws (2 workers" in first.welcome[0]
    assert str(tokens) in first.welcome[1]
    assert re.search(rf"ECHO_DATA_DIR={data_dir} .*scripts/chat --url ws://\S+ --as Alice", first.welcome[2])
    assert (elsewhere.stdout, elsewhere.stderr) == ("2\n", "")
    assert (rows.stdout, rows.stderr) == ("2\n", "")
    assert (health.stdout, health.returncode) == ("ready\n", 0)
    assert [person["name"] for person in people] == ["Alice", "Bob"]
    assert tokens.stat().st_mode & 0o777 == 0o600
    assert "echo_workers 2.0" in page
    assert (code, errors.splitlines()) == (
        0,
        ["starting PostgreSQL", "starting Redis", "bringing the database up to date"],
    )

    second = Server(**here)
    running.append(second)

    assert json.loads(second.get("/healthz")[1])["postgres"]["durability"] == "single"
    assert [json.loads(line) for line in tokens.read_text().splitlines()] == people
    assert second.stop(signal.SIGINT)[0] == 0


def test_what_is_killed_behind_its_back_comes_back(data_dir: Path, running: list[Server]) -> None:
    server = Server(ECHO_DATA_DIR=str(data_dir))
    running.append(server)
    family = server.family()

    for process in (family["worker"][0], min(family["postgres"], key=lambda one: one.pid), family["redis"][0]):
        process.kill()
        assert ended(process)

    deadline = time.monotonic() + DEADLINE_S
    while not server.is_well():
        assert time.monotonic() < deadline
    assert server.stop()[0] == 0


def test_a_killed_server_leaves_nothing_running(data_dir: Path, running: list[Server]) -> None:
    server = Server(ECHO_DATA_DIR=str(data_dir))
    running.append(server)
    family = server.family()
    assert set(family) == {"worker", "postgres", "redis"}

    server.process.kill()
    server.process.communicate()

    for process in (process for kind in family.values() for process in kind):
        assert ended(process), process


def ended(process: psutil.Process) -> bool:
    """Wait until a process that is not our child is gone."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    with os.fdopen(fd) as watched:
        return bool(select.select([watched], [], [], DEADLINE_S)[0])


def test_ctrl_c_while_it_starts_stops_what_was_started(data_dir: Path) -> None:
    process = subprocess.Popen(
        [*ECHO_WS, "serve", "--port", "0"],
        env=_environ(ECHO_DATA_DIR=str(data_dir)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    process.stderr.readline()  # it is starting PostgreSQL

    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, output) == (1, "")
    assert errors.splitlines()[-1] == "echo-ws: interrupted"
    assert not (data_dir / "postgres/postmaster.pid").exists()


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        (NOWHERE, "PostgreSQL"),
        (NOWHERE | {"ECHO_REDIS_URL": "redis://127.0.0.1:1"}, "Redis cannot be reached"),
        (NOWHERE | {"ECHO_WORKERS": "2"}, "ECHO_REDIS_URL: memory: serves one worker"),
        (NOWHERE | {"ECHO_HOST": "203.0.113.1"}, "ECHO_HOST: 203.0.113.1 is no address of this machine"),
        ({"ECHO_WORKERS": "0"}, "ECHO_WORKERS: expected an integer between 1 and 64"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_1(environ: dict[str, str], complaint: str) -> None:
    result = command("serve", "--port", "0", **environ)

    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("echo-ws: ")
    assert complaint in result.stderr


def test_a_database_of_ours_is_not_migrated_by_surprise(empty_database: str) -> None:
    result = command("serve", "--port", "0", ECHO_DATABASE_URL=empty_database, ECHO_REDIS_URL="memory:")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "echo-ws: the database is not up to date: run `echo-ws migrate up`, then start again\n"


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = command("serve", "--port", str(port), **NOWHERE)

    assert result.returncode == 1
    assert result.stderr.startswith(f"echo-ws: ECHO_PORT: port {port} of 127.0.0.1 is in use")


def test_servers_of_ours_are_used(database: str, redis_url: str, running: list[Server]) -> None:
    server = Server(ECHO_DATABASE_URL=database, ECHO_REDIS_URL=redis_url)
    running.append(server)

    assert set(server.family()) == {"worker"}
    assert json.loads(server.get("/healthz")[1])["postgres"]["is_reachable"]
    assert "user add" in server.welcome[1]
    assert server.stop()[0] == 0


def test_a_stop_that_takes_a_while_says_why(database: str, redis_url: str, running: list[Server]) -> None:
    server = Server(ECHO_DATABASE_URL=database, ECHO_REDIS_URL=redis_url)
    running.append(server)

    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(b"POST /v1/conversation.list HTTP/1.1\r\nAuthorization: Bearer me\r\nContent-Length: 9\r\n\r\n")
        server.get("/readyz")  # so the one before is at work
        code, errors = server.stop()

    assert (code, errors) == (0, "stopping: clients are told to come back later; Ctrl-C stops at once\n")


# Keys for access tokens


class Keys:
    """A TOML file with keys, and tokens of one session that are signed by them."""

    def __init__(self, file: Path, session: str, user: str) -> None:
        self.file = file
        self._names = UUID(session), UUID(user)

    def are(self, *ids: str) -> None:
        self.file.write_text("".join(f'[jwt_keys.{id_}]\nalg = "HS256"\nkey = "{id_ * 32}"\n' for id_ in ids))

    def token(self, id_: str, key: str = "") -> str:
        keys = {id_: JwtKey(alg="HS256", key=(key or id_) * 32)}
        return AccessTokens(keys, "echo_ws").sign(*self._names, datetime.now(UTC))


@pytest.fixture
def keys(database: str, redis_url: str, tmp_path: Path) -> Keys:
    here = {"ECHO_DATABASE_URL": database, "ECHO_REDIS_URL": redis_url}
    user = command("user", "add", "--phone", "+4915123456789", "--name", "Alice", **here).stdout.strip()
    command("session", "issue", user, **here)
    session = command("session", "list", user, **here).stdout.split()[0]
    return Keys(tmp_path / "echo.toml", session, user)


@pytest.fixture
def keyed(keys: Keys, database: str, redis_url: str, running: list[Server]) -> Server:
    """Return a server with the key `a`."""
    keys.are("a")
    server = Server(ECHO_CONFIG=str(keys.file), ECHO_DATABASE_URL=database, ECHO_REDIS_URL=redis_url)
    running.append(server)
    return server


def until(server: Server, token: str, *, good: bool) -> bool:
    """Wait until a token is taken, or no longer."""
    deadline = time.monotonic() + DEADLINE_S
    while server.may(token) != good:
        assert time.monotonic() < deadline
    return True


def test_a_key_is_rotated_while_the_server_runs(keys: Keys, keyed: Server) -> None:
    a, b, forged = keys.token("a"), keys.token("b"), keys.token("b", key="c")
    assert (True, False) == (keyed.may(a), keyed.may(b))

    keys.are("b", "a")
    keyed.process.send_signal(signal.SIGHUP)
    assert until(keyed, b, good=True)
    assert (True, False) == (keyed.may(a), keyed.may(forged))

    keys.are("b")
    keyed.process.send_signal(signal.SIGHUP)
    assert until(keyed, a, good=False)
    assert (True, False) == (keyed.may(b), keyed.may(forged))
    assert '"keys":["b","a"]' in keyed.logged("keys_reloaded")
    assert '"keys":["b"]' in keyed.logged("keys_reloaded")
    assert 0 == keyed.stop()[0]


def test_a_worker_that_is_replaced_has_the_new_keys(keys: Keys, keyed: Server) -> None:
    keys.are("b")
    keyed.process.send_signal(signal.SIGHUP)
    keyed.logged("keys_reloaded")

    (worker,) = keyed.family()["worker"]
    worker.kill()
    keyed.logged("worker_restarted")

    assert (False, True) == (keyed.may(keys.token("a")), keyed.may(keys.token("b")))
    assert 0 == keyed.stop()[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[jwt_keys.b", "not valid TOML"),
        ('[jwt_keys.b]\nalg = "HS256"\nkey = "short secret"', "jwt_keys: expected a table such as"),
        ('[jwt_keys.b]\nalg = "EdDSA"\nkey = "no PEM and yet of more than 32 bytes"', "key b: expected an Ed25519 key"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_file_leaves_the_keys_that_there_are(
    text: str | None, complaint: str, keys: Keys, keyed: Server
) -> None:
    if text is None:
        keys.file.unlink()
    else:
        keys.file.write_text(text)

    keyed.process.send_signal(signal.SIGHUP)

    line = keyed.logged("keys_not_reloaded")
    assert complaint in line
    assert "short secret" not in line
    assert keyed.may(keys.token("a"))
    assert 0 == keyed.stop()[0]


def test_a_server_stops_with_its_terminal(database: str, redis_url: str, running: list[Server]) -> None:
    """SIGHUP means this too."""
    screen, terminal = os.openpty()
    server = Server(terminal, ECHO_DATABASE_URL=database, ECHO_REDIS_URL=redis_url)
    running.append(server)
    os.close(terminal)

    os.close(screen)

    assert 0 == server.stop(signal.SIGHUP)[0]
