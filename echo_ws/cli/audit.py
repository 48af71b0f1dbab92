"""Who did what to whom by hand: one line of the log for each command that looks at a person or changes one."""

import functools
import os
import pwd
import sys
from collections.abc import Callable
from typing import Protocol

import click

from echo_ws import logs
from echo_ws.config import Settings


class Audit(Protocol):
    def __call__(self, event: str, /, **fields: object) -> None:
        """Log what was done; the line says by whom."""


def audited(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--by`, and as its second argument what notes what it did."""

    @click.option(
        "--by", metavar="NAME", help="Who asked for it, for the log; it names the account that runs this, too."
    )
    @functools.wraps(command)
    def run(settings: Settings, by: str | None, **arguments: object) -> None:
        log = logs.to_stream(settings, sys.stderr)

        def audit(event: str, /, **fields: object) -> None:
            log.info(event, by=by or _account(), account=_account(), **fields)

        command(settings, audit, **arguments)

    return run


def _account() -> str:
    """Return the account that runs this, and who became it by sudo."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user need not have a name
        name = str(uid)
    before = os.environ.get("SUDO_USER")
    return f"{name} (sudo: {before})" if before else name
