"""Redis as it may not behave and does: pub/sub messages dropped, doubled and swapped, all other replies intact."""

from random import Random

CRLF = b"\r\n"
SIMPLE = b"+-:_#,("
"""Types of RESP that are one line."""
BULK = b"$=!"
LISTS = b"*>~"
MAPS = b"%|"
HEARD = (b"$7\r\nmessage\r\n",)


class Scrambler:
    """Takes the bytes from Redis as they come and returns those that a subscriber gets."""

    def __init__(self, random: Random, *, drop: float = 0.1, double: float = 0.1, swap: float = 0.1) -> None:
        self._random = random
        self.drop = drop
        self.double = double
        self.swap = swap
        self._buffer = b""
        self._held = b""
        """A message that comes after the next one."""

    def feed(self, received: bytes) -> bytes:
        self._buffer += received
        out = b""
        start = 0
        while (end := end_of_value(self._buffer, start)) is not None:
            value = self._buffer[start:end]
            out += self._scrambled(value) if is_message(value) else value
            start = end
        self._buffer = self._buffer[start:]
        return out

    def _scrambled(self, message: bytes) -> bytes:
        chance = self._random.random()
        if chance < self.drop:
            return b""
        if chance < self.drop + self.double:
            message *= 2
        elif chance < self.drop + self.double + self.swap and not self._held:
            self._held = message
            return b""
        held, self._held = self._held, b""
        return message + held


def is_message(value: bytes) -> bool:
    """Return whether a value of RESP2 or RESP3 is a message of pub/sub."""
    return value[:1] in {b"*", b">"} and value[value.find(CRLF) + 2 :].startswith(HEARD)


def end_of_value(buffer: bytes, start: int) -> int | None:
    """Return where the value that begins at ``start`` ends, or None while it is not all there."""
    line_end = buffer.find(CRLF, start)
    if line_end < 0:
        return None
    kind, end = buffer[start : start + 1], line_end + 2
    if kind in SIMPLE:
        return end
    size = int(buffer[start + 1 : line_end])
    if kind in BULK:
        end += size + 2 if size >= 0 else 0
        return end if end <= len(buffer) else None
    for _ in range(size * (2 if kind in MAPS else 1)):
        if (end := end_of_value(buffer, end)) is None:  # type: ignore[assignment]  # and returned at once
            return None
    return end
