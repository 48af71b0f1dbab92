"""Fixtures of real servers: one PostgreSQL and one Redis for the run, a database of its own for each test that asks.

`database` is migrated, `empty_database` has nothing in it, `own_postgres` and `own_redis` may be stopped, killed and
started again, and `data_dir` is a folder in which embedded servers can live, also when root runs the tests.
"""

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest
import uvloop

from echo_ws.embedded import EmbeddedPostgres, EmbeddedRedis

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--durable", action="store_true", help="run the tests' PostgreSQL with fsync")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def pristine() -> Iterator[Path]:
    """Yield the data folder of a server that was started and stopped once: copying it beats making another."""
    with open_folder() as folder:
        with EmbeddedPostgres(folder, durable=False):
            pass
        yield folder


@pytest.fixture(scope="session")
def postgres(pristine: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    with open_folder() as folder:
        copy_cluster(pristine, folder)
        with EmbeddedPostgres(folder, durable=request.config.getoption("--durable")) as server:
            yield server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with open_folder() as folder, EmbeddedRedis(folder) as server:
        yield server.url


@pytest.fixture
def own_postgres(data_dir: Path, pristine: Path) -> Iterator[EmbeddedPostgres]:
    """Yield a PostgreSQL at durable settings, with an empty database."""
    copy_cluster(pristine, data_dir)
    with EmbeddedPostgres(data_dir) as server:
        yield server


@pytest.fixture
def own_redis(data_dir: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(data_dir) as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres) -> Iterator["Databases"]:
    databases = Databases(postgres)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def template(databases: "Databases") -> str:
    """Return the name of a migrated database, made once, to be copied."""
    from echo_ws_db import migrate  # noqa: PLC0415 - so that the other fixtures work while the migrations do not

    databases.execute("CREATE DATABASE template_echo")
    databases.run(migrate.up(databases.url_of("template_echo")))
    return "template_echo"


@pytest.fixture
def database(databases: "Databases", template: str) -> Iterator[str]:
    """Yield the URL of a migrated database that nobody else uses."""
    with databases.fresh(template) as url:
        yield url


@pytest.fixture
def empty_database(databases: "Databases") -> Iterator[str]:
    """Yield the URL of a database without any schema."""
    with databases.fresh("template0") as url:
        yield url


class Databases:
    """Makes and drops databases, on a loop of its own: synchronous tests and fixtures need them too."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.url_of = server.url_of
        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._connection: asyncpg.Connection[asyncpg.Record] = self.run(asyncpg.connect(server.url))

    def run(self, work: Awaitable[T]) -> T:
        return self._loop.run_until_complete(work)

    def execute(self, sql: str) -> None:
        self.run(self._connection.execute(sql))

    @contextmanager
    def fresh(self, template: str) -> Iterator[str]:
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        yield self.url_of(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        self.run(self._connection.close())
        self._loop.close()


def copy_cluster(pristine: Path, data_dir: Path) -> None:
    subprocess.run(["cp", "-a", pristine / "postgres", data_dir], check=True)


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder outside of pytest's, which is closed to the account that root's servers run as."""
    folder = Path(tempfile.mkdtemp(prefix="echo-test-", dir=_open_parent()))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _open_parent() -> Path:
    configured = Path(tempfile.gettempdir())
    is_open = all(step.stat().st_mode & 0o001 for step in (configured, *configured.parents))
    return configured if is_open or os.geteuid() != 0 else Path("/tmp")
