"""Who runs the embedded servers: whoever runs echo_ws, and nobody when that is root.

PostgreSQL refuses to run as root, so root's servers run as uid 65534 and must be
able to reach their programs and their folder.
"""

import os
import pwd
from pathlib import Path
from typing import NamedTuple

from echo_ws.embedded.errors import EmbeddedError

NOBODY = 65534


class Account(NamedTuple):
    uid: int
    gid: int

    @property
    def is_mine(self) -> bool:
        return self.uid == os.geteuid()

    def can_enter(self, folder: Path) -> bool:
        """Whether every folder from the root down to this one may be passed through."""
        return all(self._has_permission(step, 0o1) for step in (folder, *folder.parents))

    def can_read(self, path: Path) -> bool:
        return self.can_enter(path.parent) and self._has_permission(path, 0o4)

    def _has_permission(self, path: Path, bit: int) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & bit << 6)
        if found.st_gid == self.gid:
            return bool(found.st_mode & bit << 3)
        return bool(found.st_mode & bit)


def current() -> Account:
    is_root = os.geteuid() == 0
    account = Account(NOBODY, NOBODY) if is_root else Account(os.geteuid(), os.getegid())
    if name_of(account.uid) is None:
        raise EmbeddedError(
            f"uid {account.uid} has no entry in the password file, which PostgreSQL needs: "
            "add one, or set ECHO_DATABASE_URL and ECHO_REDIS_URL",
        )
    return account


def name_of(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
