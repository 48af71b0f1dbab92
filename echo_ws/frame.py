"""Frames ready for the socket: encoded once, framed once, written to many."""

import struct
from typing import TYPE_CHECKING, Final

from msgspec import Struct, json

from echo_ws_protocol.codec import JSON, MSGPACK, Codec

if TYPE_CHECKING:
    from echo_ws_protocol.events import Event

_TEXT, _BINARY = 0x81, 0x82  # FIN and the opcode; a server neither masks nor needs to fragment
_TWO_BYTES, _EIGHT_BYTES = 126, 127  # in place of a length: it follows in so many bytes
_SHORT: Final = struct.Struct("!BB").pack
_MIDDLE: Final = struct.Struct("!BBH").pack
_LONG: Final = struct.Struct("!BBQ").pack


def wire(payload: bytes, *, text: bool) -> bytes:
    """Return ``payload`` as one complete WebSocket frame from a server."""
    opcode = _TEXT if text else _BINARY
    size = len(payload)
    if size < _TWO_BYTES:
        return _SHORT(opcode, size) + payload
    if size < 1 << 16:
        return _MIDDLE(opcode, _TWO_BYTES, size) + payload
    return _LONG(opcode, _EIGHT_BYTES, size) + payload


def payload_of(wire: bytes) -> bytes:
    """Return what ``wire`` framed."""
    length = wire[1]
    return wire[2 if length < _TWO_BYTES else 4 if length == _TWO_BYTES else 10 :]


class Frame:
    """An event as it goes to many. ``json`` is also what other workers get; ``msgpack`` is made when asked for."""

    __slots__ = ("_event", "_msgpack", "json")

    def __init__(self, json: bytes, event: "Event | None" = None) -> None:
        self.json = json
        self._event = event
        self._msgpack: bytes | None = None

    @classmethod
    def of(cls, event: "Event") -> "Frame":
        return cls(wire(JSON.encode(event), text=True), event)

    @property
    def msgpack(self) -> bytes:
        if self._msgpack is None:
            self._msgpack = wire(self._transcoded(), text=False)
            self._event = None
        return self._msgpack

    def wire(self, codec: Codec) -> bytes:
        return self.json if codec is JSON else self.msgpack

    def _transcoded(self) -> bytes:
        payload = b"" if self._event else payload_of(self.json)
        event: Struct | None = self._event or JSON.decode_server_frame(payload)
        if event is None:  # from a newer worker: its timestamps stay strings
            return MSGPACK.encoder.encode(json.decode(payload))
        return MSGPACK.encode(event)
