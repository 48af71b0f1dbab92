"""The keys that a provider publishes, kept for a while. Asked for rarely, whatever comes in."""

import asyncio
import math
from collections.abc import Callable

from .id_tokens import PublicKey, public_keys
from .logs import get_logger
from .web import Web, WebError

log = get_logger(__name__)

FRESH_S = 3600.0
"""Seconds after which the keys are asked for again."""

STALE_S = 86_400.0
"""Seconds for which they are used on while the provider cannot be asked."""

BETWEEN_MISSES_S = 60.0
"""Seconds between two looks for a key that is not among them: anybody can name one."""

PAUSE_S = 10.0
"""Seconds before a provider that did not answer is asked again."""


class KeySet:
    """One provider's keys; the clock is passed in, in seconds."""

    def __init__(self, url: str, algorithms: tuple[str, ...], web: Web, clock: Callable[[], float]) -> None:
        self._url = url
        self._algorithms = algorithms
        self._web = web
        self._clock = clock
        self._keys: dict[str, PublicKey] = {}
        self._fetched_at = self._failed_at = self._missed_at = -math.inf
        self._fetch: asyncio.Task[bool] | None = None

    async def find(self, key_id: str) -> PublicKey | None:
        """Return a key, or None if the provider has none by this name.

        Raises:
            WebError: the provider cannot be asked, and the keys that are here are too old, or not enough.
        """
        now = self._clock()
        is_old = now - self._fetched_at > FRESH_S
        may_look = self._fetch is not None or now - self._missed_at >= BETWEEN_MISSES_S
        if is_old or (key_id not in self._keys and may_look):
            if not is_old:
                self._missed_at = now
            if not await self._refresh():
                self._missed_at = -math.inf
                if key_id not in self._keys or now - self._fetched_at > STALE_S:
                    raise WebError("the keys cannot be had")
        return self._keys.get(key_id)

    async def _refresh(self) -> bool:
        """Ask for the keys, all who wait together, and tell whether they came."""
        if self._fetch is None:
            if self._clock() - self._failed_at < PAUSE_S:
                return False
            self._fetch = asyncio.create_task(self._ask())
            self._fetch.add_done_callback(self._done)
        return await asyncio.shield(self._fetch)

    def _done(self, _: "asyncio.Task[bool]") -> None:
        self._fetch = None

    async def _ask(self) -> bool:
        try:
            answer = await self._web.get(self._url)
            keys, error = public_keys(answer.content, self._algorithms), "answered no key that can be used"
        except WebError as failed:
            keys, error = {}, str(failed)
        if not keys:
            self._failed_at = self._clock()
            log.warning("keys_not_fetched", url=self._url, error=error)
            return False
        self._keys, self._fetched_at = keys, self._clock()
        return True
