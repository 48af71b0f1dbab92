"""Become a program: as another account, in an own session, and gone when the parent is gone.

Run as a script by `child`, before anything of echo_ws could be imported. It is a
process of its own because code between fork and exec is not safe beside threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death_signal, uid, gid, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)  # now: the account may not be allowed to read this Python's files
    os.umask(0o077)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        die_with(libc, int(parent), int(death_signal))
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


def die_with(libc: ctypes.CDLL, parent: int, death_signal: int) -> None:
    """Must be called after setuid, which takes it back."""
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent ended while this was starting")


if __name__ == "__main__":
    main()
