"""Listeners for a hub or a feed, in place of connections."""

from typing import Any
from uuid import UUID

from echo_ws.frame import payload_of
from echo_ws_protocol.codec import JSON, Codec
from echo_ws_protocol.events import Event
from echo_ws_protocol.replies import Reply


class Device:
    """A listener that keeps what is written to it."""

    is_closed = False

    def __init__(self, user: UUID, codec: Codec = JSON) -> None:
        self.user = user
        self.codec = codec
        self.written: list[bytes] = []

    def write(self, wire: bytes, /) -> None:
        self.written.append(wire)

    def mention(self, wire: bytes, _: object, /) -> None:
        self.write(wire)

    def renewed(self) -> None:
        """A token that never ends."""

    def hold(self) -> None:
        """Nothing is answered here."""

    @property
    def told(self) -> list[Event | Reply | None]:
        """What was written, as a client reads it."""
        return [self.codec.decode_server_frame(payload_of(wire)) for wire in self.written]

    def heard(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]
