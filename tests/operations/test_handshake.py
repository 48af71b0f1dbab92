import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.support.sockets import BINARY, TEXT, Echo, Raw, client_frame, opened, serving

JSON_HEADER, MSGPACK_HEADER = "echo.v1.json", "echo.v1.msgpack"


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with serving() as service:
        yield service


@pytest.fixture
async def raw(echo: Echo) -> AsyncIterator[Raw]:
    async with Raw.connect(echo.port) as connection:
        yield connection


@pytest.mark.parametrize(
    ("offered", "chosen", "opcode"),
    [
        ("", None, TEXT),
        (JSON_HEADER, JSON_HEADER, TEXT),
        (MSGPACK_HEADER, MSGPACK_HEADER, BINARY),
        (f"future.v9, {MSGPACK_HEADER}, {JSON_HEADER}", MSGPACK_HEADER, BINARY),
    ],
)
async def test_the_first_known_subprotocol_is_chosen(raw: Raw, offered: str, chosen: str | None, opcode: int) -> None:
    answer = await raw.upgrade(headers=[("Sec-WebSocket-Protocol", offered)])
    raw.send(opcode, b"hi")

    assert (101, chosen) == (answer.status, answer.headers.get("sec-websocket-protocol"))
    assert answer.headers["sec-websocket-accept"] == "ICX+Yqv66kxgM0FcWaLWlFLwTAI="
    assert await raw.frame() == (opcode, b"hi")


async def test_compression_is_not_agreed_on(raw: Raw) -> None:
    """B23"""
    answer = await raw.upgrade(headers=[("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=99")])

    assert answer.status == 101
    assert "sec-websocket-extensions" not in answer.headers


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (("Sec-WebSocket-Protocol", "graphql-ws, mqtt"), 400),
        (("Sec-WebSocket-Protocol", "\xe9\xff"), 400),
        (("Sec-WebSocket-Version", "8"), 426),
        (("Sec-WebSocket-Version", ""), 400),
        (("Sec-WebSocket-Key", "short"), 400),
        (("Sec-WebSocket-Key", ""), 400),
        (("Content-Length", "5"), 400),
        (("Connection", "keep-alive"), 426),
        (("Upgrade", "h2c"), 426),
        (("Origin", "https://evil.example.org"), 403),
        (("X-Long", "x" * 20_000), 431),
        (("X-Nul", "a\0b"), 400),
        (("X-Folded", "a\r\n b"), 400),
    ],
)
async def test_a_wrong_header_is_refused(raw: Raw, header: tuple[str, str], status: int) -> None:
    """B26"""
    answer = await raw.upgrade(headers=[header])
    if status == 400 and header[0] == "Content-Length":
        raw.writer.write(b"hello")

    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert await raw.rest() == b""


async def test_another_version_is_told_which_one_is_spoken(raw: Raw) -> None:
    answer = await raw.upgrade(headers=[("Sec-WebSocket-Version", "8")])

    assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize(
    ("method", "target", "version", "status"),
    [
        ("POST", "/ws", "1.1", 405),
        ("GET", "/ws", "1.0", 505),
        ("GET", "/", "1.1", 404),
        ("GET", "/ws/", "1.1", 404),
        ("GET", "//ws", "1.1", 404),
        ("GET", "/%77s", "1.1", 404),
        ("GET", "/ws/../ws", "1.1", 404),
        ("GET", "/%00%0d%0a", "1.1", 404),
        ("GET", "/ws?token=secret", "1.1", 400),
        ("GET", "/ws?v=1&Access_Token=secret", "1.1", 400),
        ("GET", "/ws?v=1", "1.1", 101),
    ],
)
async def test_a_request_line_decides(raw: Raw, method: str, target: str, version: str, status: int) -> None:
    """B26"""
    answer = await raw.upgrade(target, method=method, version=version)

    assert answer.status == status
    assert "secret" not in answer.body


async def test_two_origins_are_refused(raw: Raw) -> None:
    """B26"""
    answer = await raw.upgrade(headers=[("Origin", "http://chat.example.org")] * 2)

    assert answer.status == 400


async def test_two_hosts_are_refused(raw: Raw) -> None:
    answer = await raw.upgrade(headers=[("Host", "chat.example.org"), ("Host", "evil.example.org")])

    assert answer.status == 400


async def test_131_headers_are_refused(raw: Raw) -> None:
    """B26"""
    answer = await raw.upgrade(headers=[(f"X-{n}", "1") for n in range(126)])

    assert answer.status == 431


async def test_an_endless_head_is_refused(raw: Raw) -> None:
    """B26"""
    raw.writer.write(b"GET /ws HTTP/1.1\r\nX-Endless: ")
    await raw.writer.drain()
    for _ in range(20):
        raw.writer.write(b"x" * 1024)
        await raw.writer.drain()

    assert (await raw.answer()).status == 431


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", bytes(100)])
async def test_what_is_not_http_is_refused(raw: Raw, junk: bytes) -> None:
    """B26"""
    answer = await raw.ask(junk)

    assert answer.status == 400
    assert await raw.rest() == b""


async def test_a_browser_at_the_websocket_path_is_told_what_to_do(raw: Raw) -> None:
    answer = await raw.ask(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (426, "websocket") == (answer.status, answer.headers["upgrade"])
    assert "connect with a WebSocket client" in answer.body


async def test_frames_right_behind_the_handshake_are_not_lost(echo: Echo, raw: Raw) -> None:
    head = (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )

    answer = await raw.ask(head + client_frame(TEXT, b"early"))

    assert answer.status == 101
    assert await raw.frame() == (TEXT, b"early")


async def test_the_service_learns_token_and_user_agent(echo: Echo) -> None:
    async with opened(echo, ("Authorization", "Bearer abc"), ("User-Agent", "bot\t\x9b" + "x" * 300)):
        (connection,) = echo.connections

        assert (connection.bearer, connection.user_agent) == ("abc", "bot" + "x" * 253)
        assert connection.address == "127.0.0.1"


async def test_a_trusted_proxy_tells_the_address(echo: Echo) -> None:
    async with opened(echo, ("X-Forwarded-For", "6.6.6.6, 198.51.100.7, 127.0.0.3")):
        assert echo.connections[0].address == "198.51.100.7"


async def test_nobody_else_tells_an_address() -> None:
    async with serving(trusted_networks=()) as echo, opened(echo, ("X-Forwarded-For", "198.51.100.7")):
        assert echo.connections[0].address == "127.0.0.1"


async def test_http_requests_carry_the_forwarded_address_too(raw: Raw) -> None:
    answer = await raw.ask(b"GET /describe HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n")

    assert answer.body == '{"client":"198.51.100.7","body":0}'


@pytest.mark.parametrize("start", [b"", b"GET", b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr", b"\r\n\r\n"])
async def test_half_a_handshake_is_cut(start: bytes) -> None:
    """B24"""
    async with serving(handshake_timeout_s=0.2) as echo, Raw.connect(echo.port) as raw:
        raw.writer.write(start)

        answer = await raw.rest()

        assert (b"408" in answer[:20]) is bool(start)


async def test_a_head_that_drips_is_cut() -> None:
    """B24"""
    async with serving(handshake_timeout_s=0.2) as echo, Raw.connect(echo.port) as raw:
        raw.writer.write(b"GET /describe HTTP/1.1\r\n")

        end = asyncio.ensure_future(raw.rest())
        dripping = asyncio.create_task(drip_until(end, raw))
        answer = await end
        dripping.cancel()

        assert b"408" in answer[:20]


async def drip_until(end: "asyncio.Future[bytes]", raw: Raw) -> None:
    while not end.done():
        raw.writer.write(b"X: 1\r\n")
        await asyncio.wait([end], timeout=0.05)


async def test_a_body_that_drips_is_cut() -> None:
    """B27"""
    async with serving(handshake_timeout_s=0.05) as echo, Raw.connect(echo.port) as raw:
        answer = await raw.ask(b"POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")

        assert answer.status == 408


async def test_a_second_request_has_a_deadline_of_its_own() -> None:
    async with serving(handshake_timeout_s=0.2) as echo, Raw.connect(echo.port) as raw:
        first = await raw.ask(b"GET /describe HTTP/1.1\r\nHost: x\r\n\r\n")
        second = await raw.ask(b"GET /desc")

        assert (200, 408) == (first.status, second.status)


async def test_empty_lines_do_not_keep_a_connection_open() -> None:
    async with serving(handshake_timeout_s=0.2) as echo, Raw.connect(echo.port) as raw:
        await raw.ask(b"GET /describe HTTP/1.1\r\nHost: x\r\n\r\n")

        assert (await raw.ask(b"\r\n")).status == 408


async def test_a_head_right_behind_a_long_body_is_no_long_head(raw: Raw) -> None:
    body = b"x" * 30_000
    head = b"POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n"

    first = await raw.ask(head + body + head[:20])
    second = await raw.ask(head[20:] + body)

    assert (200, 200) == (first.status, second.status)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n",
        b"POST /describe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 40,
    ],
)
async def test_a_body_over_1_mib_is_refused(raw: Raw, request_bytes: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """B27"""
    answer = await raw.ask(request_bytes)

    assert answer.status == 413
    assert not caplog.records


async def test_a_body_of_1_mib_is_taken(raw: Raw) -> None:
    answer = await raw.ask(b"POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n" + bytes(1048576))

    assert answer.body == '{"client":"127.0.0.1","body":1048576}'


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: -1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_an_ambiguous_body_is_refused(raw: Raw, smuggled: bytes) -> None:
    """B27"""
    answer = await raw.ask(b"POST /describe HTTP/1.1\r\nHost: x\r\n" + smuggled)

    assert answer.status == 400


async def test_a_full_server_says_so_and_takes_the_next_when_one_has_left() -> None:
    async with serving(max_connections=1) as echo:
        async with opened(echo), Raw.connect(echo.port) as second:
            refused = await second.upgrade()
        await echo.next_gone()

        async with opened(echo):
            assert refused.status == 503
            assert 1 <= int(refused.headers["retry-after"]) <= 5


async def test_strangers_are_limited_and_users_do_not_count_among_them() -> None:
    """B25"""
    async with serving(max_unauthenticated=1) as echo, opened(echo) as first, Raw.connect(echo.port) as second:
        refused = await second.upgrade()
        first.send(TEXT, b"authenticate")
        await first.frame()

        async with opened(echo):
            assert refused.status == 503


async def test_too_many_who_are_refused_are_cut_without_a_word() -> None:
    async with serving(max_unauthenticated=1) as echo, opened(echo), Raw.connect(echo.port) as told:
        async with Raw.connect(echo.port) as cut:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await cut.upgrade()

        assert (await told.upgrade()).status == 503


async def test_one_address_may_have_20_without_a_session() -> None:
    """B25"""
    async with serving(trusted_networks=()) as echo:
        async with asyncio.TaskGroup() as group:
            leave = asyncio.Event()
            for _ in range(20):
                group.create_task(hold(echo, leave))
            await come(echo, 20)
            async with Raw.connect(echo.port) as raw:
                refused = await raw.upgrade()
            leave.set()

        assert refused.status == 429


async def test_a_trusted_address_may_have_more(echo: Echo) -> None:
    leave = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(hold(echo, leave))
        await come(echo, 30)
        leave.set()


async def hold(echo: Echo, leave: asyncio.Event, *headers: tuple[str, str]) -> None:
    async with opened(echo, *headers):
        await leave.wait()


async def come(echo: Echo, count: int) -> None:
    async with asyncio.timeout(5):
        for _ in range(count):
            await echo.come.get()


async def test_one_forwarded_address_may_have_20_without_a_session(echo: Echo) -> None:
    forwarded = ("X-Forwarded-For", "198.51.100.7")
    leave = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(hold(echo, leave, forwarded))
        await come(echo, 20)
        async with Raw.connect(echo.port) as raw:
            refused = await raw.upgrade(headers=[forwarded])
        async with opened(echo, ("X-Forwarded-For", "198.51.100.8")):
            pass
        leave.set()

    assert refused.status == 429


async def test_accepted_sockets_give_up_on_a_dead_peer_after_15_s(echo: Echo) -> None:
    async with opened(echo):
        sock = echo.connections[0]._transport.get_extra_info("socket")

        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_a_request_at_work_is_answered_while_the_listener_finishes(echo: Echo, raw: Raw) -> None:
    raw.writer.write(b"POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha")
    async with asyncio.timeout(5):
        while not echo.listener.state.tasks:  # noqa: ASYNC110  # uvicorn tells nobody
            await asyncio.sleep(0)

    finishing = asyncio.create_task(echo.listener.finish(5))
    answer = await raw.ask(b"lf")
    await finishing

    assert (200, "close") == (answer.status, answer.headers["connection"])
