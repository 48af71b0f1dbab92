"""An event loop whose time passes only while everybody waits: an hour takes as long as what happens in it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready in the order in which it became so; with nothing ready, it is the time of the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1.0
        self.failure: BaseException | None = None

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]  # of BaseEventLoop, as the next ones
            if not self._scheduled:  # type: ignore[attr-defined]
                raise RuntimeError("everybody waits, and nobody for the time")
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.stop()
        self.failure = self.failure or context.get("exception") or RuntimeError(context["message"])


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or to the first exception that nobody handles."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        try:
            return runner.run(work)
        finally:
            if loop.failure:
                raise loop.failure
