import os
from collections.abc import Iterator

import pytest

from echo_ws.shared import SLOT_BYTES, SharedMemory


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    memory = SharedMemory.create(2)
    yield memory
    memory.close()


def test_each_slot_keeps_what_was_written_last(memory: SharedMemory) -> None:
    memory.write(0, b"first")
    memory.write(0, b"second")
    memory.write(1, b"other")

    assert (memory.read(0), memory.read(1)) == (b"second", b"other")


def test_a_slot_that_was_never_written_is_empty(memory: SharedMemory) -> None:
    assert memory.read(1) == b""


def test_another_process_with_the_same_descriptor_reads_it(memory: SharedMemory) -> None:
    other = SharedMemory(os.dup(memory.fd), 2)

    memory.write(1, b"seen by all")

    assert other.read(1) == b"seen by all"
    other.close()


def test_a_writer_that_died_half_way_leaves_what_was_there(memory: SharedMemory) -> None:
    memory.write(0, b"whole")

    memory._memory[memory._half(0, 2) + 8 : memory._half(0, 2) + 12] = b"half"  # and no new version

    assert memory.read(0) == b"whole"


def test_what_is_torn_is_not_returned(memory: SharedMemory) -> None:
    memory.write(0, b"whole")

    memory._memory[memory._half(0, 1) + 8 : memory._half(0, 1) + 12] = b"torn"

    assert memory.read(0) == b""


def test_too_much_for_a_slot_is_refused_and_what_was_there_stays(memory: SharedMemory) -> None:
    memory.write(0, b"small")

    with pytest.raises(ValueError, match="do not fit"):
        memory.write(0, bytes(SLOT_BYTES // 2))

    assert memory.read(0) == b"small"
