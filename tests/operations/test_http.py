"""HTTP as clients see it, over a real port; what commands do is tested elsewhere."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import uvicorn
from msgspec import Raw, json

from echo_ws.http.app import app
from echo_ws.metrics import Metrics
from echo_ws_protocol.errors import HTTP_STATUS, ErrorCode
from echo_ws_protocol.replies import Failure, Reply


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.decode(self.body)


class Site:
    """The HTTP app on a port, with a stand-in behind POST that answers ``reply`` and keeps what it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.begin()

    def begin(self) -> None:
        self.reply = Reply(7, ok=Raw(b'{"seq":1}'))
        self.asked: list[tuple[bytes, str | None, str, str]] = []
        self.is_ready = True

    async def run_command(self, frame: bytes, token: str | None, address: str, user_agent: str) -> Reply:
        self.asked.append((frame, token, address, user_agent))
        return self.reply

    async def health(self) -> dict[str, object]:
        return {"status": "ok"}

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"{method} {path} HTTP/1.1", "Host: here", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        status, *fields = head.decode().split("\r\n")
        return Answer(int(status.split()[1]), dict(field.lower().split(": ", 1) for field in fields), answer)

    async def post(self, op: str, body: bytes = b"{}", **headers: str) -> Answer:
        return await self.request("POST", f"/v1/{op}", body, **{"Authorization": "Bearer t0ken", **headers})


@pytest.fixture(scope="module")
async def open_site() -> AsyncIterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site = Site(listener.getsockname()[1])
        metrics = Metrics()
        metrics.command("message.send", "ok", 0.001)
        asgi = app(site.health, lambda: site.is_ready, metrics, site.run_command, max_body_bytes=1000)
        server = uvicorn.Server(uvicorn.Config(asgi, lifespan="off", log_config=None, http="httptools", ws="none"))
        serving = asyncio.create_task(server.serve([listener]))
        yield site
        server.should_exit = True
        await serving


@pytest.fixture
def site(open_site: Site) -> Site:
    open_site.begin()
    return open_site


async def test_health_is_json(site: Site) -> None:
    answer = await site.request("GET", "/healthz")

    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"


async def test_ready_says_503_while_the_worker_starts_or_drains(site: Site) -> None:
    before = await site.request("GET", "/readyz")
    site.is_ready = False
    after = await site.request("GET", "/readyz")

    assert (before.status, before.json) == (200, {"ready": True})
    assert (after.status, after.json) == (503, {"ready": False})
    assert after.headers["retry-after"] == "1"


async def test_metrics_are_for_prometheus(site: Site) -> None:
    answer = await site.request("GET", "/metrics")

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'echo_commands_total{op="message.send",outcome="ok"} 1.0' in answer.body


async def test_a_command_is_run_as_if_it_came_over_a_websocket(site: Site) -> None:
    answer = await site.post("message.send", b'{"id": 7, "content": "hi"}', User_Agent="curl/8")

    assert (answer.status, answer.json) == (200, {"op": "reply", "id": 7, "ok": {"seq": 1}})
    ((frame, token, address, user_agent),) = site.asked
    assert json.decode(frame) == {"op": "message.send", "id": 7, "content": "hi"}
    assert (token, address, user_agent) == ("t0ken", "127.0.0.1", "curl/8")


async def test_a_command_without_fields_needs_no_body(site: Site) -> None:
    await site.post("conversation.list", b"")

    assert site.asked[0][0] == b'{"op":"conversation.list"}'


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_an_error_has_a_status_that_fits(site: Site, code: ErrorCode) -> None:
    site.reply = Reply(7, error=Failure(code, "rejected", "no"))

    answer = await site.post("message.send")

    assert answer.status == HTTP_STATUS[code]
    assert answer.json["error"]["code"] == code


async def test_when_to_try_again_is_told_in_whole_seconds(site: Site) -> None:
    site.reply = Reply(7, error=Failure(ErrorCode.BUSY, "retry", "later", retry_after_ms=1200))

    answer = await site.post("message.send")

    assert (answer.status, answer.headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "bad_json"),
        (b"[]", {}, 400, "bad_json"),
        (b"\xff", {}, 400, "bad_json"),
        (b'{"op": "message.read"}', {}, 400, "bad_field"),
        (b'{"content": "%s"}' % (b"x" * 1000), {}, 413, "bad_field"),
        (b"{}", {"Content_Type": "text/plain"}, 415, "bad_json"),
        (b"{}", {"Authorization": "Basic t0ken"}, 401, "unauthenticated"),
        (b"{}", {"Authorization": "Bearer "}, 401, "unauthenticated"),
    ],
)
async def test_what_is_no_command_is_refused_before_it_is_run(
    site: Site, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await site.post("message.send", body, **headers)

    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert site.asked == []


async def test_a_token_in_the_url_is_refused(site: Site) -> None:
    answer = await site.post("message.send?token=t0ken")

    assert answer.status == 400
    assert "Authorization" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/v1/message.send", 405), ("POST", "/v1/message.send/", 404)],
)
async def test_what_is_not_there_is_explained(site: Site, method: str, path: str, status: int) -> None:
    answer = await site.request(method, path)

    assert answer.status == status
    assert "/v1/COMMAND" in answer.json["error"]["message"]
