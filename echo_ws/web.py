"""Requests to other people's servers: a small answer in JSON, in time, or an error. Only this module imports httpx2.

Redirects are not followed, cookies not kept, proxies and passwords of the environment not used: a request goes where
the operator said, with what it was given.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx2
from msgspec import DecodeError, json

MOST_AT_ONCE = 16
LONGEST = 262_144
"""Bytes of an answer."""

_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "echo_ws"}


class WebError(Exception):
    """There is no answer that says yes or no; there may be one later."""


class Answer(NamedTuple):
    is_ok: bool
    """Whether the server says that all is well; if not, it refused for good."""
    content: dict[str, Any]
    """Empty where a refusal is no JSON object."""


class Web:
    """Asks, so many at once and for so long."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self._at_work = 0
        self._client = httpx2.AsyncClient(
            headers=_HEADERS,
            timeout=deadline_s,
            trust_env=False,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=MOST_AT_ONCE),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, url: str, fields: Mapping[str, str] | None = None, bearer: str | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return await self._ask(self._client.build_request("GET", url, params=fields, headers=headers))

    async def post(self, url: str, fields: Mapping[str, str]) -> Answer:
        """Send a form."""
        return await self._ask(self._client.build_request("POST", url, data=fields))

    async def _ask(self, request: httpx2.Request) -> Answer:
        if self._at_work >= MOST_AT_ONCE:
            raise WebError("too many requests are under way")
        self._at_work += 1
        try:
            async with asyncio.timeout(self.deadline_s):
                return await self._send(request)
        except TimeoutError:
            raise WebError("no answer in time") from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError, ValueError) as error:
            raise WebError(f"no answer: {type(error).__name__}") from None  # its text may quote what was sent
        finally:
            self._at_work -= 1

    async def _send(self, request: httpx2.Request) -> Answer:
        response = await self._client.send(request, stream=True)
        self._client.cookies.clear()
        try:
            status = response.status_code
            is_ok = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
            if not is_ok and (
                status in _BUSY or not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
            ):
                raise WebError(f"answered {status}")
            content = _object(await _read(response))
        finally:
            await response.aclose()
        if content is None and is_ok:
            raise WebError("answered something else than a JSON object")
        return Answer(is_ok, content or {})


async def _read(response: httpx2.Response) -> bytes:
    """Return the body as it is: what was compressed unasked could be of any size."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise WebError("answered in an encoding that was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > LONGEST:
            raise WebError(f"answered more than {LONGEST:,} bytes")
    return bytes(body)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        return json.decode(body, type=dict[str, Any])
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
