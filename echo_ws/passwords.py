"""Passwords: argon2id with OWASP's least cost, verified exactly as received.

A hash takes tens of milliseconds, so a server computes them on one thread of their own.
"""

import asyncio
import functools
import os
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

P = ParamSpec("P")
T = TypeVar("T")

SHORTEST = 8
LONGEST = 128
LONGEST_BYTES = 512
NICE = 5
"""By how much the thread for passwords gives way to the event loop."""

_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, salt_len=16)


class BadPassword(Exception):
    """A password that cannot be set; the message says why."""


def check(password: str, phone: str = "") -> None:
    """Raise ``BadPassword`` for one that is too short, too long, cannot be written as UTF-8, or is tried first."""
    if not SHORTEST <= len(password) <= LONGEST or not _is_hashable(password):
        raise BadPassword(f"a password has {SHORTEST} to {LONGEST} characters")
    if password.strip().lower() in common_passwords():
        raise BadPassword("many people have this password, and it is tried first; choose another")
    if _is_phone(password, phone):
        raise BadPassword("this is the phone number; choose another password")


def hash_password(password: str, phone: str = "") -> str:
    check(password, phone)
    return _HASHER.hash(password)


def verify(password_hash: str | None, password: str) -> bool:
    """Tell whether the password is right. No such user or no password set takes as long as a wrong password."""
    if not _is_hashable(password):
        return False
    stored = password_hash if password_hash and password_hash.startswith("$argon2") else None
    try:
        return _HASHER.verify(stored or _nobody(), password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(password_hash: str) -> bool:
    """Tell whether the hash was made with another cost; hash anew at the next login."""
    return _HASHER.check_needs_rehash(password_hash)


class PasswordThread:
    """Hashes and verifies off the event loop, one at a time."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "passwords", initializer=_give_way)

    async def hash(self, password: str) -> str:
        """Return the hash of a password that was checked."""
        return await self._run(_HASHER.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        return await self._run(verify, password_hash, password)

    def warm_up(self) -> None:
        """Make what passwords are compared with, so that the first one takes no longer than the others."""
        self._executor.submit(_nobody)
        self._executor.submit(common_passwords)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, functools.partial(function, *args, **kwargs))


def _give_way() -> None:
    """Let the event loop go first where cores are scarce. On Linux each thread has a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICE)


def _is_hashable(password: str) -> bool:
    try:
        return len(password) <= LONGEST and len(password.encode()) <= LONGEST_BYTES
    except UnicodeEncodeError:
        return False


@functools.cache
def common_passwords() -> frozenset[str]:
    """Return the list beside this file, which says where it comes from."""
    text = resources.files(__package__).joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(text.partition("\n---\n")[2].splitlines())


def _is_phone(password: str, phone: str) -> bool:
    """Tell whether it is the number, with or without country code, however it is written."""
    digits = re.sub(r"[ ()+./-]", "", password)
    return digits.isdecimal() and phone.endswith(digits.lstrip("0") or "none")


@functools.cache
def _nobody() -> str:
    return _HASHER.hash("nobody has this password")
