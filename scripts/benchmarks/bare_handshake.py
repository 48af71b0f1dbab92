"""The floor of connecting: answer every request as a WebSocket is opened, and say one frame."""

import asyncio
import base64
import hashlib
import re

import uvloop

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"Sec-WebSocket-Key: (\S+)")
_HELLO = b"\x81\x7e" + (200).to_bytes(2, "big") + b"x" * 200


class Door(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if found := _KEY.search(data):
            accept = base64.b64encode(hashlib.sha1(found[1] + _GUID).digest())
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            self._transport.write(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + _HELLO)  # type: ignore[attr-defined]  # a transport that writes


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Door, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
