"""`scripts/bots`: run a scenario, show the ready-made ones."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec
import uvloop

from . import page, report, scenario, thresholds
from .bot import Person
from .child import classes
from .fleet import Fleet
from .lean import Address
from .live import open_live
from .results import Report
from .run import RunError
from .scenario import Scenario, ScenarioError
from .watch import Watch

BUSY = 0.9
"""Of a core: bots that use more measure themselves."""
LATE_S = 0.05


@click.group()
def main() -> None:
    """Load a server with bots, and judge whether it kept its word.

    Latencies count from when a message was meant to be sent, whatever the server does meanwhile. In the same run every
    message is accounted for: lost, doubled, out of order, changed, unanswered. A run that is fast and wrong fails.
    """


@main.command(name="list")
def list_() -> None:
    """Show the ready-made scenarios."""
    for name in scenario.ready_made():
        click.echo(f"{name:10}{scenario.load(name).about}")


@main.command()
@click.argument("name", metavar="SCENARIO")
@click.option("--against", default="ws://127.0.0.1:8765/ws", show_default=True, help="The server.")
@click.option("--users", type=click.IntRange(min=1), help="How many bots; default: as the scenario says.")
@click.option("--ramp", help="How fast they come, such as 200/s.")
@click.option("--for", "for_", help="How long they act, such as 90s or 5m.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 256), help="A core each is best.")
@click.option("--tokens", type=click.Path(path_type=Path, exists=True), help="JSON lines with user and token to be.")
@click.option("--server-metrics", metavar="URL", help="Watch the server, too: its /metrics.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report to this file.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write a line for every second.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write a page with plots.")
def run(
    name: str,
    against: str,
    users: int | None,
    ramp: str | None,
    for_: str | None,
    processes: int,
    tokens: Path | None,
    server_metrics: str | None,
    json_file: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
) -> None:
    """Run SCENARIO: a ready-made one by its name, a TOML file, or a Python file with classes of bots.

    Without --tokens it makes users by `echo-ws demo users`, in the database that the settings name. Ends with 1 when a
    threshold is not kept, with 2 when the run could not be made.
    """
    try:
        plan = _planned(name, users, ramp, for_)
        _reach(against)
        people = _read(tokens, plan.users) if tokens else _make(plan.users)
        told = uvloop.run(
            _run(plan, people, against, processes, name if name.endswith(".py") else None, server_metrics)
        )
    except (RunError, ScenarioError, ValueError, OSError) as error:
        click.echo(f"scripts/bots: {error}", err=True)
        sys.exit(2)
    click.echo(report.table(told))
    if json_file:
        report.write_json(told, json_file)
    if csv_file:
        report.write_csv(told, csv_file)
    if html_file:
        html_file.write_text(page.page(told))
    sys.exit(0 if told.has_passed else 1)


def _planned(name: str, users: int | None, ramp: str | None, for_: str | None) -> Scenario:
    """Return the scenario with what the command line says otherwise."""
    if name.endswith(".py"):
        crowds = [crowd for crowd, _ in classes(Path(name))]
        found = Scenario(name=Path(name).stem, about=f"bots of {name}", crowd=crowds)
    else:
        found = scenario.load(name)
    said = {"users": users, "ramp": ramp, "for_": for_}
    return scenario.check(msgspec.structs.replace(found, **{key: value for key, value in said.items() if value}))


def _reach(against: str) -> None:
    """Raise ``ScenarioError`` if no server listens there."""
    try:
        asyncio.run(Address(against).reach())
    except OSError as error:
        raise ScenarioError(f"nobody answers at {against}: is the server running? ({error or 'no answer'})") from None


def _read(file: Path, count: int) -> list[Person]:
    lines = file.read_bytes().splitlines()
    if len(lines) < count:
        raise ScenarioError(f"{file} holds {len(lines)} tokens, and {count} bots are wanted: --users {len(lines)}")
    try:
        return [msgspec.json.decode(line, type=Person) for line in lines[:count]]
    except msgspec.MsgspecError as error:
        raise ScenarioError(f"{file} has a line that is no user with a token: {error}") from None


def _make(count: int) -> list[Person]:
    """Make users in the database of the server on this machine."""
    made = subprocess.run(
        [Path(sys.executable).parent / "echo-ws", "demo", "users", "--count", str(count)],
        stdout=subprocess.PIPE,
        check=False,
    )
    if made.returncode:
        raise ScenarioError("no users could be made: is the server running? To be users of another one, give --tokens")
    return [msgspec.json.decode(line, type=Person) for line in made.stdout.splitlines()]


async def _run(
    plan: Scenario, people: Sequence[Person], against: str, processes: int, python: str | None, metrics: str | None
) -> Report:
    fleet = Fleet(against, plan, people, processes=processes, python=python)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, fleet.stop)
    began, started = datetime.now(UTC), loop.time()
    async with contextlib.AsyncExitStack() as stack:
        watch = await stack.enter_async_context(Watch(metrics)) if metrics else None
        showing = asyncio.create_task(_show(fleet, plan))
        try:
            swarm = await fleet.run()
        finally:
            showing.cancel()
            await asyncio.wait([showing])
    seconds = loop.time() - started
    warnings = list(watch.warnings) if watch else []
    if swarm.cpu_s > BUSY * seconds * processes:
        warnings.append(f"the bots needed {swarm.cpu_s / seconds:.1f} cores: give them more --processes, or less to do")
    if swarm.lag_s > LATE_S:
        warnings.append(f"the bots were up to {swarm.lag_s * 1000:.0f} ms late themselves")
    return Report(
        scenario=plan.name,
        about=plan.about,
        began=began,
        seconds=seconds,
        against=urlsplit(against)._replace(query="").geturl(),
        server=fleet.server,
        processes=processes,
        swarm=swarm,
        judgements=thresholds.judge(plan.thresholds, swarm, plan.seconds),
        samples=watch.samples if watch else [],
        warnings=warnings,
    )


async def _show(fleet: Fleet, plan: Scenario) -> None:
    live = open_live(sys.stderr)
    shown = 0
    try:
        while True:
            await asyncio.sleep(0.2)
            if fleet.seconds > shown:
                shown = fleet.seconds
                live.show(shown, plan.users / plan.ramp_per_s + plan.seconds, fleet.swarm)
    finally:
        live.close()


if __name__ == "__main__":
    main(prog_name="scripts/bots")
