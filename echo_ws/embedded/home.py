"""The data folder: what lies where, and who may enter it.

postgres/   the cluster              run/   the Unix sockets
log/        what the servers say     programs/   copies of the binaries, where root needs them
"""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from echo_ws.embedded.account import Account, name_of
from echo_ws.embedded.errors import EmbeddedError

LONGEST_SOCKET = ".s.PGSQL.5432.lock"
SOCKET_PATH_LIMIT = 100  # Linux has room for 107 bytes, macOS for 103


@dataclass(frozen=True)
class Home:
    path: Path
    account: Account

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def cluster(self) -> Path:
        return self.path / "postgres"

    @property
    def programs(self) -> Path:
        return self.path / "programs"

    @property
    def run(self) -> Path:
        """The folder of the sockets: one elsewhere when a socket or its URL could not have this path."""
        folder = self.path / "run"
        if _can_hold_sockets(folder):
            return folder
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        name = f"echo_ws-{os.geteuid()}-{digest}"
        for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - the folder in it is checked when made
            if _can_hold_sockets(parent / name) and self.account.can_enter(parent):
                return parent / name
        raise EmbeddedError(f"no socket can have the path {folder}: set ECHO_DATA_DIR to a shorter one without commas")

    def open(self) -> None:
        """Make the folder where it is missing; refuse one that the servers could not use."""
        self._make_root()
        self._let_account_enter()
        _make(self.log, mode=0o700)
        self.make_private(self.run)

    def close(self) -> None:
        """Leave nothing behind elsewhere, once the last server has taken its socket away."""
        if self.run.parent != self.path:
            with suppress(OSError):
                self.run.rmdir()

    def make_private(self, folder: Path) -> None:
        """Make a folder for the servers' account alone."""
        made = _make(folder, mode=0o700)
        if made and not self.account.is_mine:
            os.chown(folder, self.account.uid, self.account.gid)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.account.uid or stat.S_IMODE(found.st_mode) & 0o077:
            raise EmbeddedError(f"{folder} is not a private folder of uid {self.account.uid}: move it away")

    def _make_root(self) -> None:
        missing = [step for step in (self.path, *self.path.parents) if not step.exists()]
        for folder in reversed(missing):
            _make(folder, mode=0o700 if self.account.is_mine else 0o711)
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            who = name_of(owner) or f"uid {owner}"
            raise EmbeddedError(
                f"{self.path} belongs to {who}: run echo_ws as {who}, or set ECHO_DATA_DIR to a folder of your own",
            )

    def _let_account_enter(self) -> None:
        if not self.account.can_enter(self.path.parent):
            raise EmbeddedError(
                f"{self.path} lies in a folder that is closed to uid {self.account.uid}, "
                "as which root runs PostgreSQL: set ECHO_DATA_DIR to another one, such as /var/lib/echo_ws",
            )
        if not self.account.can_enter(self.path):
            os.chown(self.path, -1, self.account.gid)
            self.path.chmod(stat.S_IMODE(self.path.stat().st_mode) | 0o010)


def _can_hold_sockets(folder: Path) -> bool:
    """Whether the path is short enough, and has no comma, which parts the hosts in a URL."""
    return len(os.fsencode(folder / LONGEST_SOCKET)) < SOCKET_PATH_LIMIT and "," not in str(folder)


def _make(folder: Path, *, mode: int) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    folder.chmod(mode)
    return True
