"""`scripts/bench`: choose benches, print a table, and fail when a promise is not kept."""

import asyncio
import os
import platform
import resource
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import msgspec
import uvloop

from .fan_out import fan_out
from .idle import idle
from .report import Figure, table
from .stage import Stage, stage
from .storm import storm
from .writes import writes

BENCHES: dict[str, Callable[[Stage], Awaitable[list[Figure]]]] = {
    "idle": idle,
    "fan-out": fan_out,
    "writes": writes,
    "storm": storm,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)), metavar="[BENCH]...")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
def main(names: tuple[str, ...], json_file: Path | None) -> None:
    """Measure memory and speed of a real server on this machine, at durable settings; all benches by default.

    Benches: idle (memory of a connection), fan-out (CPU of a delivery), writes (persisted messages a second), storm
    (everybody comes back at once). Every promise is a ratio against a floor measured in the same run, or a time that
    users are promised. Takes about four minutes; leave the machine alone.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures = uvloop.run(_run(names or tuple(BENCHES)))
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}\n\n{table(figures)}")
    if json_file:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    sys.exit(0 if all(figure.is_kept for figure in figures) else 1)


async def _run(names: tuple[str, ...]) -> list[Figure]:
    figures = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        async with stage() as fresh:
            figures += await BENCHES[name](fresh)
        await asyncio.sleep(0)
    return figures


main(prog_name="scripts/bench")
