"""What the server does during a run, second by second."""

import asyncio
import time
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from .processes import Processes, Usage
from .results import Sample

EVERY_S = 1.0
PATIENCE_S = 2.0
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class Watch:
    """Takes samples while it is entered. It never fails a run: what it cannot learn, it leaves out and warns of once.

    With several workers, the page's figures are up to a second old: the cores of one sample may be too many, and those
    of the next too few.
    """

    def __init__(self, url: str, proc: Path = Path("/proc")) -> None:
        self.samples: list[Sample] = []
        self.warnings: list[str] = []
        self._url = url
        self._processes = Processes(proc) if urlsplit(url).hostname in _HERE else None
        self._began = time.monotonic()
        self._before: tuple[float, dict[str, Usage]] = (0.0, {})
        self._looking: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look_again_and_again())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking

    async def look(self) -> Sample:
        """Take one more sample now."""
        sample = await asyncio.to_thread(self._sample)
        self.samples.append(sample)
        return sample

    async def _look_again_and_again(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S - (time.monotonic() - self._began) % EVERY_S)

    def _sample(self) -> Sample:
        sample, usages = self._of_server()
        sample.at = time.monotonic() - self._began
        if self._processes:
            usages |= self._processes.look()
        sample.cpu = self._cores(sample.at, usages)
        sample.memory_bytes = {name: usage.memory_bytes for name, usage in usages.items()}
        return sample

    def _of_server(self) -> tuple[Sample, dict[str, Usage]]:
        """Return what the server's page says, of now."""
        try:
            return _understood(_fetched(self._url))
        except OSError as error:
            self._warn(f"the server's metrics cannot be read: {error}")
        except Exception:  # noqa: BLE001  # a page can be wrong in any way
            self._warn("what should be the server's metrics is something else")
        return Sample(0), {}

    def _cores(self, at: float, usages: dict[str, Usage]) -> dict[str, float]:
        """Return the cores in use since the sample before; of what began anew meanwhile, nothing is known."""
        then, before = self._before
        self._before = at, usages
        return {
            name: (usage.cpu_s - before[name].cpu_s) / (at - then)
            for name, usage in usages.items()
            if name in before and usage.cpu_s >= before[name].cpu_s
        }

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)


def _fetched(url: str) -> str:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    with closing(kind(parts.netloc, timeout=PATIENCE_S)) as connection:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != HTTPStatus.OK:
        raise OSError(f"HTTP status {answer.status}")
    return body.decode()


def _understood(page: str) -> tuple[Sample, dict[str, Usage]]:
    """Return what is known by the names of a page; an older server does not have them all."""
    families = text_string_to_metric_families(page)
    figures = {each.name: each.value for family in families for each in family.samples if not each.labels}
    sample = Sample(
        at=0,
        connections=_whole(figures.get("echo_connections")),
        loop_lag_s=figures.get("echo_loop_lag_recent_seconds"),
        writer_queue=_whole(figures.get("echo_writer_queue")),
        redis_queue=_whole(figures.get("echo_redis_queue")),
    )
    if sample.connections is None:
        raise ValueError("the page of something else")
    cpu_s, memory_bytes = figures.get("echo_cpu_seconds_total"), _whole(figures.get("echo_memory_bytes"))
    return sample, {"workers": Usage(cpu_s, memory_bytes)} if cpu_s is not None and memory_bytes is not None else {}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
