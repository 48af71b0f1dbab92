from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from echo_ws_db import migrate
from tests.support.services import copy_cluster, open_folder

from .cluster import Servers
from .story import Story, story

Stories: TypeAlias = Callable[..., AbstractAsyncContextManager[Story]]


@asynccontextmanager
async def _migrated(pristine: Path) -> AsyncIterator[Servers]:
    with open_folder() as folder:
        copy_cluster(pristine, folder)
        servers = Servers(folder)
        with servers.running():
            await migrate.up(servers.postgres.url)
            yield servers


@pytest.fixture(scope="session")
async def lasting_servers(pristine: Path) -> AsyncIterator[Servers]:
    """Yield PostgreSQL, migrated, and Redis, which stories may kill and freeze."""
    async with _migrated(pristine) as servers:
        yield servers


@pytest.fixture
async def own_servers(pristine: Path) -> AsyncIterator[Servers]:
    """Yield servers that need not be well in the end."""
    async with _migrated(pristine) as servers:
        yield servers


@pytest.fixture
def servers(lasting_servers: Servers) -> Iterator[Servers]:
    """Yield the servers, up and well whatever the last story did to them."""
    lasting_servers.revive()
    yield lasting_servers
    lasting_servers.revive()


@pytest.fixture
def tell(servers: Servers, tmp_path: Path) -> Stories:
    """Return what begins a story."""
    return partial(story, servers, tmp_path)
