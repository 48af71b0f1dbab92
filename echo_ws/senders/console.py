import sys

from . import Notice


class ConsoleSender:
    """Writes to stderr what would be sent: for development, where whoever reads it is whoever asked."""

    def send(self, notice: Notice) -> None:
        sys.stderr.write(f"echo-ws: to {notice.to}: {notice.text}\n")
        sys.stderr.flush()
