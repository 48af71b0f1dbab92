"""`scripts/faults`, as somebody runs it."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import psutil

from . import nemesis

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 90
SEED = "95"
"""Its first round is short."""

WORKERS = 2


async def start(temporary: Path, *arguments: str) -> Process:
    environment = os.environ | {"TMPDIR": str(temporary)}  # for the history of a run that fails
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults", *arguments, cwd=ROOT, env=environment, stdout=PIPE, stderr=STDOUT
    )


def test_a_seed_decides_what_happens() -> None:
    assert nemesis.plan(7, 3) == nemesis.plan(7, 3)
    assert nemesis.plan(7, 3) != nemesis.plan(7, 4)
    assert nemesis.plan(7, 3) != nemesis.plan(8, 3)


async def test_a_bug_is_found_and_how_to_repeat_it_is_told(tmp_path: Path) -> None:
    run = await start(tmp_path, "--seed", SEED, "--round", "1", "--bug", "answer_with_the_next_seq")

    said, _ = await asyncio.wait_for(run.communicate(), DEADLINE_S)

    assert run.returncode == 1, said.decode()
    assert "lost acknowledgement: " in said.decode()
    assert f"repeat it: scripts/faults --seed {SEED} --round 1 --bug answer_with_the_next_seq" in said.decode()


async def test_ctrl_c_ends_everything_that_it_started(tmp_path: Path) -> None:
    run = await start(tmp_path, "--seed", SEED)
    children = await asyncio.wait_for(workers_and_servers(run.pid), DEADLINE_S)

    run.send_signal(signal.SIGINT)

    said, _ = await asyncio.wait_for(run.communicate(), DEADLINE_S)
    assert run.returncode == 130, said.decode()
    assert "interrupted" in said.decode()
    assert "Traceback" not in said.decode()
    assert [] == [child for child in children if child.is_running()]


async def workers_and_servers(pid: int) -> list[psutil.Process]:
    """Wait until the workers run, and return them and what runs beside them."""
    while True:
        children = psutil.Process(pid).children(recursive=True)
        if sum("tests.faults.worker" in _words(child) for child in children) == WORKERS:
            return children
        await asyncio.sleep(0.05)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
