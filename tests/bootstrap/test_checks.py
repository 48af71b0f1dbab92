from pathlib import Path

import pytest

from scripts._checks import check

PROGRAMS = Path("/bin")


def test_every_check_runs_and_the_failed_ones_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    steps = {
        "first": ["echo", "unseen"],
        "second": ["sh", "-c", "echo the reason; exit 3"],
        "third": ["no-such-program"],
    }

    with pytest.raises(SystemExit) as exit_:
        check(PROGRAMS, PROGRAMS, steps | {"last": ["true"]})

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "FAILED", "the", "FAILED", "cannot", "ok"]
    assert exit_.value.code == "2 of 4 checks failed: second, third"


def test_checks_that_pass_exit_with_0() -> None:
    with pytest.raises(SystemExit) as exit_:
        check(PROGRAMS, PROGRAMS, {"first": ["true"]})

    assert exit_.value.code == 0
