import os
import shutil
from pathlib import Path

import pytest

from scripts.loadtest.processes import Processes

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Return a folder like /proc, without processes."""
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    return tmp_path


def run(proc: Path, pid: int, command: str, seconds: int, *, started: int = 5, share_kb: int | None = 100) -> None:
    """Let a process run, or have run on: a quarter of its time was its own, the rest the kernel's."""
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    own = seconds * TICKS_PER_S // 4
    kernel = seconds * TICKS_PER_S - own
    numbers = f"S 1 {pid} {pid} 0 -1 4194560 4983 47610 0 0 {own} {kernel} 70 70 20 0 1 0 {started} 1000000 3 0 0"
    (folder / "stat").write_text(f"{pid} ({command}) {numbers}\n")
    if share_kb:
        (folder / "smaps_rollup").write_text(f"0-1 ---p 0 00:00 0 [rollup]\nRss: 9999 kB\nPss: {share_kb:10} kB\n")


def test_processes_are_added_up_by_what_they_are(proc: Path) -> None:
    run(proc, 10, "postgres", 2)
    run(proc, 11, "postgres", 4)
    run(proc, 12, "redis-server", 6)
    run(proc, 13, "valkey-server", 8)
    run(proc, 14, "postgres) (x", 10)

    usages = Processes(proc).look()

    assert usages == {"postgres": (6.0, 2 * 102400), "redis": (14.0, 2 * 102400)}


def test_time_goes_on_while_processes_come_and_go(proc: Path) -> None:
    processes = Processes(proc)
    run(proc, 10, "postgres", 2)
    run(proc, 11, "postgres", 100)
    before = processes.look()["postgres"].cpu_s

    shutil.rmtree(proc / "11")
    run(proc, 10, "postgres", 4)
    run(proc, 12, "postgres", 6)
    after = processes.look()["postgres"]

    assert after.cpu_s - before == 2 + 6
    assert after.memory_bytes == 2 * 102400


def test_a_number_that_is_used_again_is_another_process(proc: Path) -> None:
    processes = Processes(proc)
    run(proc, 10, "postgres", 100)
    before = processes.look()["postgres"].cpu_s

    run(proc, 10, "postgres", 2, started=6)

    assert processes.look()["postgres"].cpu_s - before == 2


def test_a_process_that_does_not_show_its_share_counts_with_all_that_it_touches(proc: Path) -> None:
    run(proc, 10, "postgres", 2, share_kb=None)

    assert Processes(proc).look()["postgres"].memory_bytes == 3 * os.sysconf("SC_PAGE_SIZE")


def test_a_process_that_ends_while_it_is_looked_at_is_left_out(proc: Path) -> None:
    run(proc, 10, "postgres", 2)
    (proc / "11" / "stat").mkdir(parents=True)  # not to be read

    assert Processes(proc).look()["postgres"].cpu_s == 2


def test_a_machine_without_proc_tells_nothing(tmp_path: Path) -> None:
    assert Processes(tmp_path / "proc").look() == {}
