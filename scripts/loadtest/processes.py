"""What PostgreSQL and Redis use on this machine, as /proc tells."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NAMES = {"postgres": "postgres", "redis-server": "redis", "valkey-server": "redis"}
"""What a command is called in a sample."""

_PSS = re.compile(r"^Pss: +(\d+) kB$", re.MULTILINE)


class Usage(NamedTuple):
    cpu_s: float
    """Counted from anywhere: only differences mean something."""
    memory_bytes: int


class Process(NamedTuple):
    name: str
    id: tuple[str, str]
    """Its number and when it started: numbers are used again."""
    cpu_s: float
    memory_bytes: int


class Processes:
    """Adds up processes by name. One that ends takes along what it used since the last look, and nothing else."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._cpu_s: dict[str, float] = {}
        self._before: dict[tuple[str, str], float] = {}

    def look(self) -> dict[str, Usage]:
        """Return what those use that are there; nothing on a machine without /proc."""
        found = list(_found(self._proc))
        memory: dict[str, int] = {}
        for each in found:
            memory[each.name] = memory.get(each.name, 0) + each.memory_bytes
            used = each.cpu_s - self._before.get(each.id, 0.0)
            self._cpu_s[each.name] = self._cpu_s.get(each.name, 0.0) + used
        self._before = {each.id: each.cpu_s for each in found}
        return {name: Usage(self._cpu_s[name], memory[name]) for name in memory}


def _found(proc: Path) -> Iterator[Process]:
    for folder in proc.glob("[0-9]*"):
        try:
            head, _, tail = (folder / "stat").read_text("utf-8", "replace").rpartition(")")
        except OSError:  # it ended meanwhile
            continue
        pid, _, command = head.partition(" (")
        if name := NAMES.get(command):
            yield _process(name, pid, tail.split(), folder / "smaps_rollup")


def _process(name: str, pid: str, fields: list[str], rollup: Path) -> Process:
    """Read what follows the command in ``stat``: proc(5) numbers these fields from 3."""
    utime, stime, started, rss = (fields[number - 3] for number in (14, 15, 22, 24))
    ticks = int(utime) + int(stime)
    return Process(name, (pid, started), ticks / os.sysconf("SC_CLK_TCK"), _memory(rollup, int(rss)))


def _memory(rollup: Path, resident_pages: int) -> int:
    """Return the process's share; where that is secret, all that it touches, shared with others or not."""
    try:
        share = _PSS.search(rollup.read_text("ascii"))
    except OSError:
        share = None
    return int(share[1]) * 1024 if share else resident_pages * os.sysconf("SC_PAGE_SIZE")
