import io
import sys

import pytest

from echo_ws.progress import phase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_where_nobody_watches_a_phase_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with phase("starting"):
        assert capsys.readouterr().err == "starting\n"

    assert capsys.readouterr().err == ""


def test_on_a_terminal_the_line_ends_with_a_mark_and_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    with phase("starting"):
        pass

    last = terminal.getvalue().rpartition("\r\x1b[K")[2]
    assert last.startswith("✓ starting (0.")
    assert last.endswith(" s)\n")


def test_on_a_terminal_a_phase_that_failed_is_marked_so(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    with pytest.raises(KeyError), phase("starting"):
        raise KeyError

    assert "✗ starting" in terminal.getvalue()
