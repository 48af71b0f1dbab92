"""HTTP beside WebSocket: health, metrics, and every command by POST."""

import math
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from msgspec import UNSET, DecodeError, Raw, json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from echo_ws.handshake import plain_agent
from echo_ws.metrics import CONTENT_TYPE, Metrics
from echo_ws_protocol.codec import COMMANDS, op_of
from echo_ws_protocol.commands import WITHOUT_SESSION
from echo_ws_protocol.errors import HTTP_STATUS, ErrorCode
from echo_ws_protocol.replies import Failure, Reply
from echo_ws_protocol.types import Outcome

Health: TypeAlias = Callable[[], Awaitable[Mapping[str, object]]]
RunCommand: TypeAlias = Callable[[bytes, str | None, str, str], Awaitable[Reply]]
"""Called with a command's frame as JSON, the bearer token, the client's address and user agent."""

WITH_SESSION = COMMANDS.keys() - {op_of(command) for command in WITHOUT_SESSION}
"""What is asked with a token. For all else none counts: who asks for what does not exist is told just that."""

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def app(
    health: Health,
    ready: Callable[[], bool],
    metrics: Metrics,
    run_command: RunCommand,
    *,
    max_body_bytes: int,
) -> Starlette:
    async def healthz(_: Request) -> Response:
        return _json(await health())

    async def readyz(_: Request) -> Response:
        if ready():
            return _json({"ready": True})
        return _json({"ready": False}, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "1"})

    async def page(_: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE, headers=_HEADERS)

    async def command(request: Request) -> Response:
        try:
            op = request.path_params["op"]
            _refuse_query(request)
            token = _token(request) if op in WITH_SESSION else None
            frame = _frame(op, await _body(request, max_body_bytes))
        except _Refused as refused:
            return _json(Reply(0, error=refused.failure), refused.status, refused.headers)
        address = request.client.host if request.client else ""
        agent = plain_agent(request.headers.get("user-agent", ""))
        return _reply(await run_command(frame, token, address, agent))

    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", page),
            Route("/v1/{op}", command, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _explain},
    )
    app.router.redirect_slashes = False  # it would send the token on, without TLS where a proxy ends it
    return app


class _Refused(Exception):
    """A request that is no command yet."""

    def __init__(
        self,
        status: HTTPStatus,
        code: ErrorCode,
        message: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.failure = Failure(code, "rejected", message, field)
        self.headers = headers or {}


def _refuse_query(request: Request) -> None:
    if request.url.query:  # a token in a URL ends up in logs and histories
        raise _Refused(
            HTTPStatus.BAD_REQUEST,
            ErrorCode.BAD_FIELD,
            "a command takes no query string; send the token as `Authorization: Bearer`",
        )


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _Refused(
            HTTPStatus.UNAUTHORIZED,
            ErrorCode.UNAUTHENTICATED,
            "send `Authorization: Bearer` and a session token or access token",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return token.strip()


async def _body(request: Request, most: int) -> bytes:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            ErrorCode.BAD_JSON,
            "send the command as JSON, with `Content-Type: application/json`",
        )
    body = bytearray()
    async for chunk in request.stream():
        if len(body) <= most:  # what is too much is read as well: a reset would take the answer from who still sends
            body += chunk
    if len(body) > most:
        raise _Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ErrorCode.BAD_FIELD, f"a command has at most {most:,} bytes"
        )
    return bytes(body)


def _frame(op: str, body: bytes) -> bytes:
    """Return the command as it would come over a WebSocket: the path names the ``op``, and nothing else does."""
    try:
        fields = json.decode(body or b"{}", type=dict[str, Raw])
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise _Refused(HTTPStatus.BAD_REQUEST, ErrorCode.BAD_JSON, "the body is not a JSON object") from None
    if "op" in fields:
        raise _Refused(
            HTTPStatus.BAD_REQUEST, ErrorCode.BAD_FIELD, "the path names the command, leave out `op`", field="$.op"
        )
    return json.encode({"op": op, **fields})


def _reply(reply: Reply) -> Response:
    if reply.error is UNSET:
        return _json(reply)
    headers: dict[str, str] = {}
    status = HTTPStatus(HTTP_STATUS[reply.error.code])
    if reply.error.retry_after_ms is not None:
        headers["Retry-After"] = str(max(1, math.ceil(reply.error.retry_after_ms / 1000)))
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _json(reply, status, headers)


async def _explain(_: Request, error: Exception) -> Response:
    """Answer what no route answers in the form of a reply, too."""
    assert isinstance(error, HTTPException)
    code = ErrorCode.NOT_FOUND if error.status_code == HTTPStatus.NOT_FOUND else ErrorCode.BAD_FIELD
    outcome: Outcome = "rejected"
    failure = Failure(
        code, outcome, f"{error.detail.lower()}; there are /ws, POST /v1/COMMAND, /healthz, /readyz, /metrics"
    )
    return _json(Reply(0, error=failure), HTTPStatus(error.status_code), error.headers or {})


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.encode(value) + b"\n", status, {**_HEADERS, **(headers or {})}, media_type="application/json")
