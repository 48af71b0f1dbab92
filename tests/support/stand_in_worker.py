"""A worker that serves nobody: it tells the test what happens to it, and each caller its pid and how many called.

`STAND_IN_EVENTS` is the test's datagram socket, `STAND_IN` what goes wrong: `fail`, `die` or `hang`.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping

from echo_ws import worker
from echo_ws.config import JwtKey, Settings
from echo_ws.metrics import Metrics
from echo_ws_db.pool import Unavailable


class StandIn:
    def __init__(self, metrics: Metrics) -> None:
        self.mode = os.environ.get("STAND_IN", "")
        self._metrics = metrics
        self._events = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._events.connect(os.environ["STAND_IN_EVENTS"])

    def tell(self, event: str) -> None:
        self._events.send(f"{event} {os.getpid()}".encode())

    async def answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._metrics.count("errors", "calls")
        self._metrics.publish()
        calls = next(line for line in self._metrics.render().decode().splitlines() if "calls" in line)
        writer.write(f"{os.getpid()} {calls.split()[-1]}".encode())
        writer.close()

    def rekey(self, keys: Mapping[str, JwtKey]) -> None:
        self.tell(f"keys:{','.join(keys)}")

    async def drain(self) -> None:
        if self.mode == "hang":
            self.tell("hanging")
            await asyncio.Event().wait()
        self.tell("drained")


async def start(_: Settings, sock: socket.socket, metrics: Metrics) -> StandIn:
    stand_in = StandIn(metrics)
    if stand_in.mode == "fail":
        raise Unavailable("PostgreSQL cannot be reached: nobody there")
    await asyncio.start_server(stand_in.answer, sock=sock)
    stand_in.tell("started")
    if stand_in.mode == "die":
        asyncio.get_running_loop().call_soon(os._exit, 9)
    return stand_in


if __name__ == "__main__":
    sys.exit(worker.main(start))
