"""Between workers: what one publishes, those that subscribed may hear. May drop, repeat and reorder."""

from .base import Broker
from .memory import MemoryBroker
from .redis import RedisBroker

__all__ = ["Broker", "MemoryBroker", "RedisBroker", "open_broker"]


def open_broker(url: str) -> Broker:
    """Return the broker that ``redis_url`` names."""
    return MemoryBroker() if url == "memory:" else RedisBroker(url)
