"""What the two embedded servers have in common: start, wait until ready, stop."""

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from echo_ws.embedded import account
from echo_ws.embedded.child import Child, complaint
from echo_ws.embedded.claim import Claim
from echo_ws.embedded.errors import EmbeddedError
from echo_ws.embedded.home import Home

READY_DEADLINE_S = 30.0
STOP_DEADLINE_S = 10.0
POLL_S = 0.01


class EmbeddedServer(ABC):
    """Real, durable, on this machine only; every method belongs to the main thread."""

    name: ClassVar[str]
    title: ClassVar[str]
    stop_signal: ClassVar[int]

    def __init__(self, data_dir: Path) -> None:
        self._home = Home(data_dir.expanduser().absolute(), account.current())
        self._claim: Claim | None = None
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def _command(self) -> list[str | Path]: ...

    @abstractmethod
    def _is_ready(self, pid: int) -> bool: ...

    def _prepare(self) -> None:  # noqa: B027 - Redis needs nothing
        """Do what must be done before the program runs."""

    @property
    def log(self) -> Path:
        return self._home.log / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.exit_code is None

    def start(self) -> None:
        """Return when the server answers; raise EmbeddedError when it will not."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a server lives as long as the thread that starts it: start it in the main thread")
        if self.is_running:
            return
        self.stop()
        try:
            self._start()
        except OSError as error:
            self.stop()
            raise EmbeddedError(f"cannot use {error.filename or self._home.path}: {error.strerror}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop(self.stop_signal, STOP_DEADLINE_S)
            self._child = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None
            self._home.close()

    def kill(self) -> None:
        """End the server the hard way, as a crash would."""
        if self._child is not None:
            self._child.stop(signal.SIGKILL, STOP_DEADLINE_S)

    def failure(self) -> str:
        """Return why a server that was started no longer runs, as its log has it."""
        return f"{self.title} ended: {complaint(self.log)}; the log is {self.log}"

    def _start(self) -> None:
        self._home.open()
        self._claim = Claim(self._home.path, self.name, self.stop_signal)
        _begin_log(self.log)
        self._prepare()
        self._child = Child(
            self._command(),
            account=self._home.account,
            log=self.log,
            death_signal=self.stop_signal,
            inherit=[self._claim.server],
        )
        self._claim.started(self._child.pid)
        self._wait_until_ready(self._child)

    def _wait_until_ready(self, child: Child) -> None:
        """Wait as long as the log grows: a recovery after a power failure may take its time."""
        seen, deadline = -1, 0.0
        while not self._is_ready(child.pid):
            if child.exit_code is not None:
                raise EmbeddedError(self.failure())
            if (size := self.log.stat().st_size) != seen:
                seen, deadline = size, time.monotonic() + READY_DEADLINE_S
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{self.title} is not ready: {complaint(self.log)}; the log is {self.log}")
            time.sleep(POLL_S)


def _begin_log(log: Path) -> None:
    """Keep what the last start said, and no more."""
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    os.close(os.open(log, os.O_CREAT | os.O_WRONLY, 0o600))
