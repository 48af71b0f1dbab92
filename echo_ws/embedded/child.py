"""A program as a direct child that does not outlive this process."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from echo_ws.embedded import launch
from echo_ws.embedded.account import Account
from echo_ws.embedded.errors import EmbeddedError

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class Child:
    """Ends with this process, and with the thread that made it: make it in the main thread."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        account: Account,
        log: Path,
        death_signal: int = signal.SIGKILL,
        inherit: Sequence[int] = (),
        stdin: bytes | None = None,
    ) -> None:
        self._log = log
        wrapped = [sys.executable, "-I", "-S", launch.__file__, os.getpid(), int(death_signal), *account, *command]
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [str(word) for word in wrapped],
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd="/",
                env=ENVIRONMENT,
                pass_fds=inherit,
                start_new_session=True,  # Ctrl-C in the terminal is for us, we then stop the servers
            )
        if self._process.stdin is not None:
            with self._process.stdin as pipe:
                pipe.write(stdin or b"")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def send(self, signal_number: int) -> None:
        self._process.send_signal(signal_number)

    def wait(self, timeout_s: float | None = None) -> int:
        return self._process.wait(timeout_s)

    def stop(self, signal_number: int, timeout_s: float) -> None:
        self.send(signal_number)
        try:
            self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.wait()


def run(command: Sequence[str | Path], *, account: Account, log: Path, stdin: bytes | None = None) -> None:
    """Run a program to its end."""
    child = Child(command, account=account, log=log, stdin=stdin)
    try:
        code = child.wait()
    except BaseException:
        child.stop(signal.SIGKILL, timeout_s=10)
        raise
    if code != 0:
        raise EmbeddedError(f"{Path(command[0]).name} failed: {complaint(log)}; the log is {log}")


def complaint(log: Path) -> str:
    """Return the line of a log that says best what is wrong."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    for mark in ("PANIC", "FATAL", "rror", ""):
        for line in reversed(lines[-50:]):
            if mark in line:
                return line
    return "it said nothing"
