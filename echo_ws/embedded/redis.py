import signal
import socket
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from echo_ws.embedded import programs
from echo_ws.embedded.server import EmbeddedServer


class EmbeddedRedis(EmbeddedServer):
    """Redis from a wheel. It keeps nothing: what must not be lost is in PostgreSQL."""

    name: ClassVar[str] = "redis"
    title: ClassVar[str] = "Redis"
    stop_signal: ClassVar[int] = signal.SIGTERM

    @property
    def socket(self) -> Path:
        return self._home.run / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"

    def _command(self) -> list[str | Path]:
        settings: dict[str, str | Path] = {
            "port": "0",
            "unixsocket": self.socket,
            "unixsocketperm": "700",
            "dir": self._home.run,
            "save": "",
            "appendonly": "no",
        }
        arguments = [word for key, value in settings.items() for word in (f"--{key}", value)]
        return [programs.redis(self._home), *arguments]

    def _is_ready(self, pid: int) -> bool:  # noqa: ARG002 - the claim rules out another server on this socket
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(5) == b"+PONG"
            except OSError:
                return False
