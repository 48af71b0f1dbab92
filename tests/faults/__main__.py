"""`scripts/faults`: rounds of random trouble until the time is up, and the verdict on them."""

import asyncio
import logging
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
import structlog
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from echo_ws_db import migrate
from tests.support.services import open_folder

from .bugs import BUGS
from .cluster import Servers
from .nemesis import Round, play

LONGEST_ROUND_S = 300
SHOWN = 20

console = Console(highlight=False, soft_wrap=True)


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.1, max=24 * 60), default=30.0, show_default=True)
@click.option("--seed", type=int, help="What happens follows from it; a random one by default.")
@click.option("--round", "only", type=click.IntRange(min=1), help="Play this round alone: to repeat one that failed.")
@click.option(
    "--bug", type=click.Choice(sorted(BUGS)), metavar="NAME", help="Build a bug into the server (see bugs.py)."
)
def main(minutes: float, seed: int | None, only: int | None, bug: str | None) -> None:
    """Break a running server of two nodes at random, and judge what its clients saw.

    Workers, PostgreSQL and Redis are killed, frozen, cut off and restarted while four people talk on six devices. Each
    round of about half a minute is judged at its end. Stops by itself, and at the first round with an anomaly: exit
    code 1, and a file with the history. Everything runs on this machine, in a folder that is removed.
    """
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # workers will die
    console.print(f"seed {seed}")
    try:
        is_good = uvloop.run(_run(minutes, seed, only, bug or ""))
    except KeyboardInterrupt:
        console.print("interrupted; the rounds before had no anomaly")
        sys.exit(130)
    sys.exit(0 if is_good else 1)


async def _run(minutes: float, seed: int, only: int | None, bug: str) -> bool:
    with open_folder() as folder:
        servers = Servers(folder)
        with servers.running():
            await migrate.up(servers.postgres.url)
            return await _play_rounds(servers, folder, minutes, seed, only, bug)


async def _play_rounds(servers: Servers, folder: Path, minutes: float, seed: int, only: int | None, bug: str) -> bool:
    started, number, acknowledged = time.monotonic(), only or 1, 0
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console, transient=True
    )
    with bar:
        task = bar.add_task("", total=minutes * 60)
        while True:
            bar.update(task, description=f"round {number}", completed=time.monotonic() - started)
            servers.revive()
            if not (done := await _play_round(servers, folder / f"round-{number}", seed, number, bug)):
                return False
            acknowledged += done.acknowledged
            if only or time.monotonic() - started > minutes * 60:
                break
            number += 1
    rounds = 1 if only else number
    console.print(f"no anomaly in {rounds} rounds, {acknowledged:,} acknowledged commands")
    return True


async def _play_round(servers: Servers, folder: Path, seed: int, number: int, bug: str) -> Round | None:
    """Play one round and say how it went; return it if it was good."""
    try:
        async with asyncio.timeout(LONGEST_ROUND_S):
            done = await play(servers, folder, seed, number, bug)
    except TimeoutError:
        console.print(f"round {number}: something did not come back to normal by itself")
        _tell_how_to_repeat(seed, number, bug)
        return None
    console.print(f"round {number}: {', '.join(done.acts)}: {done.acknowledged:,} acknowledged")
    if not done.anomalies:
        shutil.rmtree(folder)
        return done
    for anomaly in done.anomalies[:SHOWN]:
        console.print(f"  {anomaly}")
    file = Path(tempfile.mkdtemp(prefix="echo-faults-")) / f"seed-{seed}-round-{number}.json"
    done.history.save(file)
    console.print(f"{len(done.anomalies)} anomalies; the history is {file}")
    _tell_how_to_repeat(seed, number, bug)
    return None


def _tell_how_to_repeat(seed: int, number: int, bug: str) -> None:
    console.print(f"repeat it: scripts/faults --seed {seed} --round {number}{' --bug ' + bug if bug else ''}")


main()
