"""A broker for one process, or for several workers in one test."""

from .base import Hear, Resync


class Bus:
    """What the brokers of one test share in Redis's place."""

    def __init__(self) -> None:
        self.brokers: set[MemoryBroker] = set()


class MemoryBroker:
    """Delivers to all brokers on the same bus, at once."""

    is_connected = True
    queued = 0

    def __init__(self, bus: Bus | None = None) -> None:
        self._bus = bus or Bus()
        self._channels: set[str] = set()

    async def start(self, hear: Hear, resync: Resync) -> None:
        self._hear, self._resync = hear, resync
        self._bus.brokers.add(self)
        self._resync(tuple(self._channels))

    async def close(self) -> None:
        self._bus.brokers.discard(self)

    def subscribe(self, channel: str) -> None:
        self._channels.add(channel)
        if self in self._bus.brokers:
            self._resync((channel,))

    def unsubscribe(self, channel: str) -> None:
        self._channels.discard(channel)

    def publish(self, channel: str, payload: bytes) -> bool:
        for broker in tuple(self._bus.brokers):
            if channel in broker._channels:  # noqa: SLF001  # brokers on one bus
                broker._hear(channel, payload)  # noqa: SLF001
        return True
