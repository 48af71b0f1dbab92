"""The floor of fan-out: accept sockets, then write frames to all of them, tick by tick, and print the CPU used."""

import asyncio
import sys
import time

import uvloop


class Socket(asyncio.Protocol):
    def __init__(self, transports: list[asyncio.BaseTransport]) -> None:
        self._transports = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transports.append(transport)


async def main(sockets: int, events: int, every_s: float, size: int, at_once: int) -> None:
    transports: list[asyncio.WriteTransport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Socket(transports), "127.0.0.1", 0, backlog=sockets)  # type: ignore[arg-type]  # any protocol will do
    print(server.sockets[0].getsockname()[1], flush=True)
    while len(transports) < sockets:  # noqa: ASYNC110  # a bench may look now and then
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    frames = b"x" * size * at_once
    before = time.process_time()
    for _ in range(events // at_once):
        for transport in transports:
            transport.write(frames)
        await asyncio.sleep(every_s * at_once)
    print(time.process_time() - before, flush=True)


if __name__ == "__main__":
    counts = sys.argv[1:]
    uvloop.run(main(int(counts[0]), int(counts[1]), float(counts[2]), int(counts[3]), int(counts[4])))
