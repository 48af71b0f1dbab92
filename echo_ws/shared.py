"""Memory that the workers of one server share: a slot for each worker, written by it alone and read by all.

A slot has two halves; its version says which one is whole. A writer fills the other half and then moves the version
on, so a worker that dies in the middle of writing leaves the half before it untouched.
"""

import mmap
import os
import struct
import sys
import tempfile
import zlib

SLOT_BYTES = 256 * 1024
_VERSION = struct.Struct("<Q")
_HEAD = struct.Struct("<II")  # length and checksum of what follows
_HALF_BYTES = (SLOT_BYTES - _VERSION.size) // 2
_ATTEMPTS = 100


class SharedMemory:
    """``count`` slots in the memory behind ``fd``, which a worker inherits."""

    def __init__(self, fd: int, count: int) -> None:
        self.fd = fd
        self.count = count
        self._memory = mmap.mmap(fd, count * SLOT_BYTES)

    @classmethod
    def create(cls, count: int) -> "SharedMemory":
        fd = _anonymous_file()
        os.ftruncate(fd, count * SLOT_BYTES)
        return cls(fd, count)

    def write(self, slot: int, payload: bytes) -> None:
        """Replace what the slot holds."""
        if len(payload) > _HALF_BYTES - _HEAD.size:
            raise ValueError(f"{len(payload)} bytes do not fit into a slot of shared memory")
        version = self._version(slot) + 1
        at = self._half(slot, version)
        record = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        self._memory[at : at + len(record)] = record
        _VERSION.pack_into(self._memory, slot * SLOT_BYTES, version)

    def read(self, slot: int) -> bytes:
        """Return what was written last; nothing for a slot that was never written."""
        for _ in range(_ATTEMPTS):
            at = self._half(slot, self._version(slot))
            length, checksum = _HEAD.unpack_from(self._memory, at)
            payload = self._memory[at + _HEAD.size : at + _HEAD.size + length]
            if zlib.crc32(payload) == checksum:
                return payload
        return b""

    def close(self) -> None:
        self._memory.close()
        os.close(self.fd)

    def _version(self, slot: int) -> int:
        version: int = _VERSION.unpack_from(self._memory, slot * SLOT_BYTES)[0]
        return version

    @staticmethod
    def _half(slot: int, version: int) -> int:
        return slot * SLOT_BYTES + _VERSION.size + (version % 2) * _HALF_BYTES


def _anonymous_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("echo_ws")
    fd, path = tempfile.mkstemp(prefix="echo_ws-")
    os.unlink(path)  # noqa: PTH108
    return fd
