"""Senders, and how notices are sent until they arrive or their time is over."""

import asyncio
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from echo_ws.config import ConfigError, Settings
from echo_ws.post import MOST_WAITING, Post
from echo_ws.senders import Notice, SendError, open_sender
from echo_ws.senders.console import ConsoleSender
from echo_ws.senders.webhook import WebhookSender, signature
from tests.support.mailbox import MAILBOX
from tests.support.waiting import until

SECRET = "the secret of the gateway in tests"
NOTICE = Notice("n1", "+4915123456789", "registration", "987654 is your code", "987654")


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Gateway:
    """A local HTTP server; it answers with ``statuses`` in turn, then with 200."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.statuses: list[int] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                gateway.received.append(Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(gateway.statuses.pop(0) if gateway.statuses else 200)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/send?from=echo"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


def webhook(url: str) -> WebhookSender:
    return WebhookSender(Settings(sender="webhook", webhook_url=url, webhook_secret=SECRET))


def test_the_console_shows_number_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleSender().send(NOTICE)

    assert "echo-ws: to +4915123456789: 987654 is your code\n" == capsys.readouterr().err


def test_a_webhook_is_posted_as_json_and_signed(gateway: Gateway) -> None:
    webhook(gateway.url).send(NOTICE)

    (got,) = gateway.received
    assert "/send?from=echo" == got.path
    assert {
        "id": "n1", "to": "+4915123456789", "purpose": "registration", "text": "987654 is your code", "code": "987654",
    } == json.loads(got.body)  # fmt: skip
    assert "application/json" == got.headers["content-type"]
    timestamp = got.headers["echo-timestamp"]
    assert abs(int(timestamp) - time.time()) < 10
    assert signature(SECRET, timestamp, got.body) == got.headers["echo-signature"]


def test_the_signature_holds_for_its_secret_time_and_body_alone() -> None:
    known = "v1=842b24d9575dee4b6ec460b7e3af7d683501d84fe6279102340787c79d2e2bab"

    assert known == signature("secret", "1", b"body")
    others = {signature("secreT", "1", b"body"), signature("secret", "2", b"body"), signature("secret", "1", b"bodY")}
    assert known not in others


@pytest.mark.parametrize(("status", "may_retry"), [(500, True), (503, True), (429, True), (400, False), (302, False)])
def test_what_a_webhook_answers_says_whether_to_try_again(status: int, may_retry: bool, gateway: Gateway) -> None:
    gateway.statuses = [status]

    with pytest.raises(SendError, match=f"answered {status}") as failed:
        webhook(gateway.url).send(NOTICE)

    assert may_retry is failed.value.may_retry
    assert 1 == len(gateway.received)


def test_a_webhook_that_is_away_may_come_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(SendError, match="cannot be reached") as failed:
        webhook(f"http://127.0.0.1:{port}/").send(NOTICE)

    assert failed.value.may_retry


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": "pigeon"},
        {"sender": "webhook"},
        {"sender": "webhook", "webhook_url": "https://sms.example.org"},
        {"sender": "webhook", "webhook_url": "https:///send", "webhook_secret": SECRET},
    ],
)
def test_a_sender_that_cannot_work_stops_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="ECHO_"):
        open_sender(Settings(**wrong))


def test_a_sender_is_found_by_its_name() -> None:
    assert open_sender(Settings()) is None
    assert isinstance(open_sender(Settings(sender="console")), ConsoleSender)
    assert open_sender(Settings(sender="mailbox")) is MAILBOX  # an entry point: tests/support/plugin


# In the background


async def test_what_a_gateway_cannot_take_now_is_tried_again_until_it_does(gateway: Gateway) -> None:
    gateway.statuses = [503, 500, 429]
    post = Post(webhook(gateway.url), deadline_s=5, first_pause_s=0.001)

    post.send(NOTICE)
    await until(lambda: soon(len(gateway.received) == 4 and not post._tasks))

    assert {"n1"} == {json.loads(got.body)["id"] for got in gateway.received}
    await post.close()


async def test_what_is_refused_for_good_is_not_tried_again_and_logged_without_its_secrets(
    gateway: Gateway, logged: io.StringIO
) -> None:
    gateway.statuses = [400]
    post = Post(webhook(gateway.url), deadline_s=5, first_pause_s=0.001)

    post.send(NOTICE)
    await until(lambda: soon("notice_not_sent" in logged.getvalue()))
    await post.close()

    assert 1 == len(gateway.received)
    assert "answered 400" in logged.getvalue()
    assert [] == [secret for secret in (NOTICE.to, "987654", SECRET) if secret in logged.getvalue()]


class Broken:
    """Fails as a plug-in may."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def send(self, _: Notice) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"), [(SendError("away"), "the time for it is over"), (ValueError("987654"), "ValueError")]
)
async def test_what_cannot_be_sent_is_given_up(error: Exception, said: str, logged: io.StringIO) -> None:
    post = Post(Broken(error), deadline_s=0.05, first_pause_s=0.001)

    post.send(NOTICE)
    await until(lambda: soon("notice_not_sent" in logged.getvalue()))
    await post.close()

    assert said in logged.getvalue()
    assert "987654" not in logged.getvalue()


async def test_no_more_wait_than_there_is_room_for_and_nobody_waits_for_them(logged: io.StringIO) -> None:
    post = Post(Broken(SendError("away")), deadline_s=60, first_pause_s=60)

    for _ in range(MOST_WAITING + 1):
        post.send(NOTICE)

    assert MOST_WAITING == len(post._tasks)
    assert "notice_dropped" in logged.getvalue()
    async with asyncio.timeout(1):
        await post.close()


async def soon(value: bool) -> bool:
    return value
