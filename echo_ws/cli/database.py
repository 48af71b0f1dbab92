import asyncio
import os
import shutil
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import click
from msgspec.structs import replace

from echo_ws.config import Settings
from echo_ws.embedded import EmbeddedPostgres, EmbeddedRedis
from echo_ws_db import epoch
from echo_ws_db.pool import Store, Unavailable, connect

from .options import Stop, configured

T = TypeVar("T")


def located(settings: Settings) -> Settings:
    """Return settings that name both servers: the configured ones, or those that `echo-ws serve` runs here."""
    return replace(
        settings,
        database_url=settings.database_url or EmbeddedPostgres(settings.data_dir).url,
        redis_url=settings.redis_url or EmbeddedRedis(settings.data_dir).url,
    )


async def with_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do some work on the configured database, or on that of the running server."""
    url = located(settings).database_url
    assert url
    try:
        store = await connect(url, size=1, statement_timeout=30, acquire_timeout=5, application="echo-ws cli")
    except Unavailable as error:
        raise Stop(str(error) if settings.database_url else not_running(settings)) from error
    try:
        return await work(store)
    finally:
        await store.close()


def not_running(settings: Settings) -> str:
    return (
        f"no database runs in {settings.data_dir}: start it with `echo-ws serve`, "
        "or name yours with ECHO_DATABASE_URL, or another folder with ECHO_DATA_DIR"
    )


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@configured()
def psql(settings: Settings, arguments: tuple[str, ...]) -> None:
    """Open the database in psql; ARGUMENTS are psql's, as in `echo-ws psql -c 'TABLE auth.users'`."""
    url = located(settings).database_url
    assert url
    program = shutil.which("psql") if settings.database_url else None
    if program is None:
        if not settings.database_url and not accepts(url):
            raise Stop(not_running(settings))
        program = str(EmbeddedPostgres(settings.data_dir).program("psql"))
    url, password = _without_password(url)
    environ = os.environ | ({"PGPASSWORD": password} if password else {})
    os.execve(program, ["psql", url, *arguments], environ)  # noqa: S606


def _without_password(url: str) -> tuple[str, str]:
    """Return the URL without its password, and the password: everybody on the machine may read a command line."""
    parts = urlsplit(url)
    who, _, where = parts.netloc.rpartition("@")
    if not parts.password:
        return url, ""
    return parts._replace(netloc=f"{who.partition(':')[0]}@{where}").geturl(), unquote(parts.password)


@click.command()
@configured()
def restore_done(settings: Settings) -> None:
    """Begin a new epoch after a restore from backup: every client fetches anew. Restart the workers afterwards."""
    click.echo(f"epoch {asyncio.run(with_store(settings, epoch.renew))}; now restart the workers")


def accepts(url: str) -> bool:
    """Whether somebody listens on the Unix socket that ``url`` names."""
    folder = parse_qs(urlsplit(url).query)["host"][0]
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(f"{folder}/.s.PGSQL.5432") == 0
