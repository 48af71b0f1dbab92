"""What commands have in common: settings as their first argument, and errors as one line."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import click

from echo_ws.config import load

# Imported only when something went wrong.
FORESEEN = (
    "echo_ws.config:ConfigError",
    "echo_ws.embedded:EmbeddedError",
    "echo_ws.broker.redis:RedisUnavailable",
    "echo_ws_db.migrate:MigrationError",
    "echo_ws_db.pool:StoreError",
)

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with settings; default: the one that ECHO_CONFIG names.",
)


class Stop(click.ClickException):
    """The command cannot go on; one line says why, and what to do."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"echo-ws: {self.message}", file=file, err=True)


def configured(*overrides: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the settings as its first argument; its options named here go into them."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @config_option
        @functools.wraps(command)
        def run(config_file: Path | None, **arguments: object) -> None:
            with one_line():
                settings = load(os.environ, config_file, {name: arguments.pop(name) for name in overrides})
                command(settings, **arguments)

        return run

    return decorate


@contextmanager
def one_line() -> Iterator[None]:
    """Turn what can be expected to go wrong into a ``Stop``; anything else is a fault and keeps its traceback."""
    try:
        yield
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except Exception as error:
        if isinstance(error, tuple(_foreseen())):
            raise Stop(str(error).partition("\n")[0]) from error
        raise


def _foreseen() -> Iterator[type[Exception]]:
    for place in FORESEEN:
        module, _, name = place.partition(":")
        yield getattr(import_module(module), name)
