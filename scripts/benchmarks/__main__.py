"""`scripts/bench`: choose benches, print a table, and fail when a promise is not kept."""

import asyncio
import os
import platform
import resource
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop

from .connects import connects
from .direct import direct
from .fan_out import channel, group
from .history import history
from .idle import idle
from .logins import logins
from .members import members
from .report import Figure, Run, comparison, read, table
from .search import search
from .stage import Stage, stage
from .storm import storm
from .writes import writes

BENCHES: dict[str, Callable[[Stage], Awaitable[list[Figure]]]] = {
    "idle": idle,
    "connects": connects,
    "writes": writes,
    "direct": direct,
    "group": group,
    "channel": channel,
    "members": members,
    "history": history,
    "logins": logins,
    "search": search,
    "storm": storm,
}


class Benches(click.Group):
    """``run`` need not be said."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Benches)
def main() -> None:
    """Measure a real server on this machine, at durable settings, against floors of the same run."""


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)), metavar="[BENCH]...")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
def run(names: tuple[str, ...], json_file: Path | None) -> None:
    """Run benches; all of them by default, which takes about fifteen minutes. Leave the machine alone.

    idle: memory of a connection. connects: CPU of opening one. writes: persisted messages a second. direct: their
    latency and cost at half of that. group, channel: CPU of a delivery. members: who comes and goes
    in large conversations. history: pages a second. search: history
    and search at a million messages. logins: how long those that fail last, and what many at once cost others.
    storm: everybody comes back at once. Ends with 1 when a promise is not kept.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures = uvloop.run(_run(names or tuple(BENCHES)))
    measured = Run(datetime.now(UTC).date(), _machine(), figures)
    print(f"\n{measured.machine}, {measured.day}\n\n{table(figures)}")
    if json_file:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(measured)) + b"\n")
    sys.exit(0 if measured.is_kept else 1)


@main.command()
@click.argument("before", type=click.Path(path_type=Path, exists=True))
@click.argument("after", type=click.Path(path_type=Path, exists=True))
def compare(before: Path, after: Path) -> None:
    """Say what got better or worse from one run to another, beyond what differs from run to run anyway."""
    print(comparison(read(before), read(after)))


async def _run(names: tuple[str, ...]) -> list[Figure]:
    figures = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        async with stage() as fresh:
            figures += await BENCHES[name](fresh)
        await asyncio.sleep(0)
    return figures


def _machine() -> str:
    return f"{platform.system()}, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"


main(prog_name="scripts/bench")
