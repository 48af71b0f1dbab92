"""An async WebSocket chat server: PostgreSQL is the truth, Redis is only speed."""

__version__ = "0.1.0"
