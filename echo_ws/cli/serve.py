import asyncio
import os
import shlex
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
from msgspec.structs import replace

import echo_ws
from echo_ws import logs
from echo_ws.config import ConfigError, Settings, load
from echo_ws.demo import DemoUser, keep_demo_users, users_file
from echo_ws.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedRedis
from echo_ws.embedded.key import secret_key
from echo_ws.embedded.server import EmbeddedServer
from echo_ws.port import reserve
from echo_ws.progress import phase
from echo_ws.supervisor import Supervisor, WorkerFailed
from echo_ws_db import migrate, pooler

from .healthcheck import EVERYWHERE
from .options import Stop, configured

DEMO_USERS = 2
WATCH_S = 0.5
PATIENCE_S = 1.0
"""A stop that takes longer says what it is at."""

log = logs.get_logger(__name__)


@click.command()
@click.option("--host", help="Address to listen on; default: ECHO_HOST.")
@click.option("--port", type=int, help="Port to listen on; default: ECHO_PORT.")
@click.option("--workers", type=int, help="Worker processes; default: ECHO_WORKERS.")
@configured("host", "port", "workers")
def serve(settings: Settings) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Without ECHO_DATABASE_URL and ECHO_REDIS_URL it runs a PostgreSQL and a Redis of its own, keeps their data in
    ECHO_DATA_DIR, and makes two demo users at the first start. Ctrl-C twice stops without waiting for anybody. SIGHUP
    reads the keys for access tokens anew from the TOML file.
    """
    logs.configure(settings)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            _serve(settings, stack)
    except KeyboardInterrupt:
        raise Stop("interrupted") from None


def _serve(settings: Settings, stack: ExitStack) -> None:
    held = stack.enter_context(reserve(settings.host, settings.port))
    settings = replace(settings, port=held.getsockname()[1])
    is_embedded = settings.database_url is None
    if settings.redis_url not in (None, "memory:"):
        asyncio.run(_check_redis(str(settings.redis_url)))
    settings, servers = _with_servers(settings, stack)
    if is_embedded:
        settings = _with_accounts(settings)
    asyncio.run(_check_database(str(settings.database_url), is_embedded=is_embedded))
    people = asyncio.run(keep_demo_users(settings, DEMO_USERS)) if is_embedded else []
    asyncio.run(_supervise(settings, people, servers))


def _with_servers(settings: Settings, stack: ExitStack) -> tuple[Settings, list[EmbeddedServer]]:
    """Start what no URL names. The embedded servers stop when ``stack`` closes, or when this process dies."""
    servers: list[EmbeddedServer] = []
    if settings.database_url is None:
        with phase("starting PostgreSQL"):
            servers.append(stack.enter_context(EmbeddedPostgres(settings.data_dir)))
        settings = replace(settings, database_url=servers[-1].url)
    if settings.redis_url is None:
        with phase("starting Redis"):
            servers.append(stack.enter_context(EmbeddedRedis(settings.data_dir)))
        settings = replace(settings, redis_url=servers[-1].url)
    return settings, servers


def _with_accounts(settings: Settings) -> Settings:
    """Let people register and log in without another setting: this is one machine, or a developer's."""
    return replace(
        settings,
        secret_key=settings.secret_key or secret_key(settings.data_dir),
        sender=settings.sender or "console",
    )


async def _check_redis(url: str) -> None:
    from echo_ws.broker import redis  # noqa: PLC0415 - a third of a second that the embedded one does not need

    await redis.check(url)


async def _check_database(url: str, *, is_embedded: bool) -> None:
    """Migrate our own database; refuse another that is away, too old, not migrated, or behind the wrong pooler."""
    if is_embedded:
        with phase("bringing the database up to date"):
            await migrate.up(url)
        return
    await pooler.refuse(url)
    if not await migrate.current(url):
        raise Stop("the database is not up to date: run `echo-ws migrate up`, then start again")


async def _supervise(settings: Settings, people: list[DemoUser], servers: list[EmbeddedServer]) -> None:
    supervisor = Supervisor(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, supervisor)
    loop.add_signal_handler(signal.SIGHUP, _hang_up, supervisor, os.isatty(0))
    watch = asyncio.create_task(_keep(servers))
    try:
        await supervisor.run(lambda: click.echo("\n".join(_welcome(settings, people))))
    except WorkerFailed as error:
        if error.was_explained:
            sys.exit(1)
        raise Stop(str(error)) from error
    finally:
        watch.cancel()


def _stop(supervisor: Supervisor) -> None:
    supervisor.stop()
    asyncio.get_running_loop().call_later(
        PATIENCE_S, click.echo, "stopping: clients are told to come back later; Ctrl-C stops at once", sys.stderr
    )


def _hang_up(supervisor: Supervisor, had_terminal: bool) -> None:
    """Stop if the terminal is gone; else somebody wants the keys to be read anew."""
    if had_terminal and not os.isatty(0):
        _stop(supervisor)
    else:
        _reload_keys(supervisor)


def _reload_keys(supervisor: Supervisor) -> None:
    """Read the keys where they came from; broken ones leave those that there are."""
    from echo_ws.tokens import AccessTokens  # noqa: PLC0415 - nothing else here needs the library

    try:
        settings = load(os.environ, click.get_current_context().params["config_file"], {})
        AccessTokens(settings.jwt_keys, settings.jwt_issuer)
    except ConfigError as error:
        log.error("keys_not_reloaded", error=str(error))  # noqa: TRY400
        return
    supervisor.rekey(settings.jwt_keys)
    log.info("keys_reloaded", keys=list(settings.jwt_keys))


async def _keep(servers: list[EmbeddedServer]) -> None:
    """Start embedded servers anew when they end; the workers wait for them as for any other."""
    while servers:
        await asyncio.sleep(WATCH_S)
        for server in servers:
            if not server.is_running:
                log.error("embedded_server_ended", server=server.title)
                try:
                    server.start()  # blocks; nothing else here is in a hurry
                    log.info("embedded_server_restarted", server=server.title)
                except EmbeddedError as error:
                    log.error("embedded_server_not_restarted", server=server.title, error=str(error))  # noqa: TRY400


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _welcome(settings: Settings, people: list[DemoUser]) -> list[str]:
    """Return five lines: where the server is, and how to try it."""
    host = EVERYWHERE.get(settings.host, settings.host)
    place = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
    workers = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
    command = _command()
    lines = [f"echo_ws {echo_ws.__version__} serves ws://{place}/ws ({workers}; Ctrl-C stops it)"]
    if people:
        names = " and ".join(person.name for person in people[:DEMO_USERS])
        lines += [
            f"  users   {names}, with tokens in {users_file(settings)}",
            f"  chat    {_chat(settings, place, people)}",
        ]
    else:
        lines += [
            f"  users   {command} user add --phone +49… --name Alice",
            f"  tokens  {command} session issue +49…",
        ]
    folder = _folder(settings) if people else ""
    return [*lines, f"  rows    {folder}{command} psql", f"  health  curl http://{place}/healthz"]


def _chat(settings: Settings, place: str, people: list[DemoUser]) -> str:
    script = Path(echo_ws.__file__).parents[1] / "scripts/chat"
    if not script.exists():
        return f"curl --json '{{}}' -H 'Authorization: Bearer TOKEN' http://{place}/v1/conversation.list"
    plain = _elsewhere()
    url = "" if (plain.host, plain.port) == (settings.host, settings.port) else f" --url ws://{place}/ws"
    chat = f"{_folder(settings)}{shlex.quote(os.path.relpath(script))}{url}"
    return f"{chat} --as {people[0].name}, and in another terminal --as {people[-1].name}"


def _folder(settings: Settings) -> str:
    """Return what another terminal must be told for it to find our data."""
    is_found = _elsewhere().data_dir == settings.data_dir
    return "" if is_found else f"ECHO_DATA_DIR={shlex.quote(str(settings.data_dir))} "


def _elsewhere() -> Settings:
    """Return the settings of another terminal, in which nobody has set ours."""
    return load({name: value for name, value in os.environ.items() if not name.startswith("ECHO_")}, None, {})


def _command() -> str:
    """Return how to call this program again from where we are."""
    script = Path(sys.executable).with_name("echo-ws")
    return shlex.quote(os.path.relpath(script)) if script.exists() else f"{sys.executable} -m echo_ws.cli"
