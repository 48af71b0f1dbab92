"""The interface of a broker."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

Hear: TypeAlias = Callable[[str, bytes], None]
"""Called with channel and payload."""

Resync: TypeAlias = Callable[[Iterable[str]], None]
"""Called with the channels that are subscribed from now on; what was published before may have been missed."""


class Broker(Protocol):
    """At most once, to whoever is subscribed: nothing may be correct because it was delivered."""

    async def start(self, hear: Hear, resync: Resync) -> None:
        """Begin to deliver. Returns at once, also when the other side is away; then it goes on trying."""

    async def close(self) -> None:
        """Stop, after what is queued has gone out, for a second at most."""

    def subscribe(self, channel: str) -> None:
        """Ask for a channel. It is in force when ``resync`` names it."""

    def unsubscribe(self, channel: str) -> None: ...

    def publish(self, channel: str, payload: bytes) -> bool:
        """Queue a payload and never wait; return False if an older one had to be dropped for it."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def queued(self) -> int:
        """How many payloads wait to go out."""
