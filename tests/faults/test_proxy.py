"""The tools of the suite do what they say: a fault that is not injected proves nothing."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random
from typing import NamedTuple

import pytest

from .proxy import Proxy
from .scramble import Scrambler, end_of_value, is_message


class Line(NamedTuple):
    proxy: Proxy
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, payload: bytes) -> bytes:
        self.writer.write(payload)
        async with asyncio.timeout(5):
            return await self.reader.readexactly(len(payload))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while received := await reader.read(1000):
            writer.write(received)
    writer.close()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        yield Line(proxy, reader, writer)
        writer.transport.abort()


@pytest.mark.parametrize(("delay_s", "piece"), [(0.0, 65536), (0.0, 1), (0.02, 65536)])
async def test_bytes_pass_split_and_late(line: Line, delay_s: float, piece: int) -> None:
    line.proxy.delay_s, line.proxy.piece = delay_s, piece

    assert b"some words" == await line.ask(b"some words")


async def test_a_throttle_takes_its_time(line: Line) -> None:
    line.proxy.bytes_per_s = 1000
    started = asyncio.get_running_loop().time()

    await line.ask(bytes(100))

    assert asyncio.get_running_loop().time() - started >= 0.1


async def test_what_was_frozen_arrives_when_it_thaws(line: Line) -> None:
    line.proxy.freeze()
    asked = asyncio.create_task(line.ask(b"hello"))
    done, _ = await asyncio.wait([asked], timeout=0.1)
    assert not done

    line.proxy.thaw()

    assert b"hello" == await asked


async def test_a_reset_is_a_reset(line: Line) -> None:
    await line.ask(b"hello")

    line.proxy.reset()

    with pytest.raises(ConnectionResetError):
        await line.reader.readexactly(1)


async def test_a_half_closed_connection_ends_one_way(line: Line) -> None:
    await line.ask(b"hello")

    line.proxy.half_close()

    assert b"" == await line.reader.read()
    line.writer.write(b"still taken")
    await line.writer.drain()


async def test_a_closed_port_opens_again(line: Line) -> None:
    await line.proxy.close()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", line.proxy.port)

    await line.proxy.open()

    reader, writer = await asyncio.open_connection("127.0.0.1", line.proxy.port)
    again = Line(line.proxy, reader, writer)
    assert b"hello" == await again.ask(b"hello")
    writer.transport.abort()


def message(number: int, *, mark: bytes = b"*") -> bytes:
    payload = b"%d\r\n" % number
    return mark + b"3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%d\r\n%s\r\n" % (len(payload), payload)


OTHERS = [
    b"+OK\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b":12\r\n",
    b"%1\r\n+a\r\n$3\r\nbee\r\n",
    b"*2\r\n*1\r\n:1\r\n_\r\n",
]


@pytest.mark.parametrize("value", [*OTHERS, message(7), message(7, mark=b">")])
def test_a_value_ends_where_it_ends(value: bytes) -> None:
    assert [len(value)] == [end for cut in range(len(value) + 1) if (end := end_of_value(value[:cut], 0))]
    assert (value not in OTHERS) == is_message(value)


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_only_messages_are_scrambled_however_the_bytes_come(size: int) -> None:
    sent = b"".join(OTHERS[number % len(OTHERS)] + message(number) for number in range(1000))
    scrambler = Scrambler(Random(1))

    out = b"".join(scrambler.feed(sent[start : start + size]) for start in range(0, len(sent), size))

    values = []
    while out:
        end = end_of_value(out, 0)
        assert end
        values.append(out[:end])
        out = out[end:]
    told = [int(value.split(b"\r\n")[6]) for value in values if is_message(value)]
    assert 1000 == len([value for value in values if not is_message(value)])
    assert 70 < 1000 - len(set(told)) < 130, "about 10 % are dropped"
    assert 70 < len(told) - len(set(told)) < 130, "about 10 % are doubled"
    assert 60 < sum(later < earlier for earlier, later in itertools.pairwise(told)) < 130, "about 10 % swapped"
