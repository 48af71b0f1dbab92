"""Both doors without a client's manners: what is given goes out as it is."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from .world import Worker

PATIENCE_S = 5.0
DOORS = ("socket", "post")

Door = Callable[..., Awaitable[Any]]
"""Called with a command's name and fields, returns its reply."""


class Line:
    """A WebSocket, and how to look at what comes over it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, frame: Any) -> None:
        """Send text, bytes, or anything else as JSON."""
        await self.socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def ask(self, frame: Any) -> Any:
        """Say something and return the next reply."""
        await self.say(frame)
        return await self.hear("reply")

    async def hear(self, op: str) -> Any:
        """Return the next frame with this ``op``."""
        while (frame := await self.next_frame())["op"] != op:
            pass
        return frame

    async def next_frame(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.socket.recv())

    async def close_code(self) -> int:
        """Return the code with which the server closes, whatever comes before."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006


@asynccontextmanager
async def line(worker: Worker, token: str | None = None, **headers: str) -> AsyncIterator[Line]:
    """Open a WebSocket, with a token in its header if one is given."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with connect(
        worker.url,
        subprotocols=[Subprotocol("echo.v1.json")],
        additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
        user_agent_header=None,
        proxy=None,
    ) as socket:
        yield Line(socket)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    json: Any


async def post(worker: Worker, token: str | None, op: str, /, **fields: Any) -> Answer:
    """Send a command through the other door."""
    body = json.dumps(fields, default=str).encode()
    head = [f"POST /v1/{op} HTTP/1.1", "Host: here", "Connection: close", f"Content-Length: {len(body)}"]
    head += [f"Authorization: Bearer {token}"] if token else []
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    async with asyncio.timeout(PATIENCE_S):
        answer, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = answer.decode().split("\r\n")
    return Answer(
        int(status.split()[1]), dict(field.lower().split(": ", 1) for field in lines), json.loads(content or "null")
    )


@asynccontextmanager
async def opened(worker: Worker, door: str) -> AsyncIterator[Door]:
    """Open one of the two doors to somebody without a session."""
    if door == "post":

        async def by_post(op: str, **fields: Any) -> Any:
            return (await post(worker, None, op, **fields)).json

        yield by_post
        return
    async with line(worker) as socket:

        async def by_socket(op: str, **fields: Any) -> Any:
            return await socket.ask(json.dumps({"op": op, **fields}, default=str))

        yield by_socket


def in_order(value: Any) -> Any:
    """Put lists into one order: some come by ids, which are random, and of one rev in any."""
    if isinstance(value, dict):
        return {key: in_order(part) for key, part in value.items()}
    return sorted(map(in_order, value), key=str) if isinstance(value, list) else value
