"""A real PostgreSQL and Redis for one machine, from wheels (docs/operating.md: production names its own)."""

from echo_ws.embedded.errors import EmbeddedError
from echo_ws.embedded.postgres import EmbeddedPostgres
from echo_ws.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedError", "EmbeddedPostgres", "EmbeddedRedis"]
