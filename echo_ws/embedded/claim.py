"""At most one server on a folder.

Two locks, because two things must have ended before a server may start: the
process that looks after it, and the server itself. The second lock is inherited
by the server and all its children, so it is free once the last of them is gone,
also when the one who started them was killed.
"""

import fcntl
import os
import sys
import time
from pathlib import Path

from echo_ws.embedded.errors import EmbeddedError

ENDING_DEADLINE_S = 30.0
POLL_S = 0.02


class Claim:
    """Must be handed to the server with ``pass_fds``, then `started`, and `released` when it has ended."""

    def __init__(self, folder: Path, name: str, stop_signal: int) -> None:
        self._folder = folder
        self._stop_signal = stop_signal
        self._keeper = os.open(folder / f"{name}.keeper", os.O_RDWR | os.O_CREAT, 0o600)
        self.server = os.open(folder / f"{name}.server", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._lock_keeper()
            self._lock_server()
        except BaseException:
            self.release()
            raise

    def started(self, pid: int) -> None:
        _write_pid(self.server, pid)
        os.close(self.server)
        self.server = -1

    def release(self) -> None:
        for fd in (self.server, self._keeper):
            if fd >= 0:
                os.close(fd)
        self.server = self._keeper = -1

    def _lock_keeper(self) -> None:
        if not _try_lock(self._keeper):
            pid = _read_pid(self._keeper)
            raise EmbeddedError(
                f"another echo_ws (pid {pid}) uses {self._folder}: stop it, or set ECHO_DATA_DIR to another folder",
            )
        _write_pid(self._keeper, os.getpid())

    def _lock_server(self) -> None:
        """Wait for a server whose keeper was killed: it is on its way out."""
        if _try_lock(self.server):
            return
        if sys.platform != "linux":  # where nothing told it that its keeper died
            os.kill(_read_pid(self.server), self._stop_signal)
        deadline = time.monotonic() + ENDING_DEADLINE_S
        while not _try_lock(self.server):
            if time.monotonic() > deadline:
                pid = _read_pid(self.server)
                raise EmbeddedError(f"a server of an earlier start (pid {pid}) still runs on {self._folder}: end it")
            time.sleep(POLL_S)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_pid(fd: int, pid: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(pid).encode(), 0)


def _read_pid(fd: int) -> int:
    return int(os.pread(fd, 20, 0) or b"0")
