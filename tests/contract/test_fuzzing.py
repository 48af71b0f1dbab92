"""Whatever is decoded anywhere: a value or the declared error, and nothing else. Commands are in test_bad_input.py."""

import json
import struct
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import MsgspecError, Struct
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from echo_ws import config, handshake
from echo_ws.broker import MemoryBroker
from echo_ws.client import _pause_asked
from echo_ws.config import ConfigError, JwtKey, Settings
from echo_ws.connection import shake_hands
from echo_ws.cursor import as_place
from echo_ws.errors import BadField
from echo_ws.events import Told, from_body
from echo_ws.feed import Feed
from echo_ws.frame import Frame, payload_of
from echo_ws.handshake import Head, Refusal, networks
from echo_ws.http.app import _frame, _Refused
from echo_ws.hub import Channel, Hub, Kind
from echo_ws.metrics import Metrics
from echo_ws.payload import change_of, checked, pack, unpack
from echo_ws.sessions import Sessions, Voice, revoked_payload
from echo_ws.tokens import AccessToken, AccessTokens, BadToken, digest
from echo_ws_db.pool import Store
from echo_ws_protocol.codec import BROKEN, CODECS, EVENTS, JSON, MSGPACK, BadFrame, Codec
from echo_ws_protocol.commands import Command
from echo_ws_protocol.events import Event, Message
from echo_ws_protocol.replies import Reply
from tests.support.listening import Device

from .strategies import structs

fuzz = settings(max_examples=200, deadline=None)
both = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
CONVERSATION, ALICE = UUID(int=1), UUID(int=2)
DEEP = b"[" * 100_000 + b"]" * 100_000
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
TEXT = st.one_of(st.text(), st.text("0123456789+-:.TZ|abcdef ", max_size=80))


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Draw bytes in which a few are wrong, or that end too early."""
    some = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 3))):
        if some:
            some[draw(st.integers(0, len(some) - 1))] = draw(st.integers(0, 255))
    return bytes(some[: draw(st.integers(0, len(some)))]) if draw(st.booleans()) else bytes(some)


def an_event(codec: Codec) -> st.SearchStrategy[bytes]:
    events = st.sampled_from(sorted(EVENTS)).flatmap(lambda op: structs(cast("type[Struct]", EVENTS[op])))
    return events.map(codec.encode)


# What a client reads


@both
@given(data=st.data())
@fuzz
def test_a_servers_frame_is_a_reply_or_an_event_or_news_or_broken(codec: Codec, data: st.DataObject) -> None:
    frame = data.draw(st.one_of(st.binary(max_size=200), damaged(an_event(codec)), ANY_VALUE.map(codec.encoder.encode)))

    with suppress(*BROKEN):
        assert isinstance(codec.decode_server_frame(frame), Reply | Event | None)


@pytest.mark.parametrize(
    "frame", [DEEP, b'{"op":"news","x":' + DEEP + b"}", b'{"op":"message","metadata":' + DEEP + b"}"]
)
def test_a_deep_frame_is_broken(frame: bytes) -> None:
    with pytest.raises(BROKEN):
        JSON.decode_server_frame(frame)


@given(reason=st.one_of(st.text(max_size=123), st.text('retry_after_ms": 0123456789{}', max_size=123)))
@example('{"retry_after_ms":' + "9" * 100 + "}")
@fuzz
def test_any_reason_of_a_close_names_a_pause_or_none(reason: str) -> None:
    assert _pause_asked(ConnectionClosedError(Close(4006, reason), None)) >= 0


# What workers tell each other


PAYLOADS = st.one_of(
    st.binary(max_size=100),
    damaged(
        st.builds(
            lambda kind, rev, frame: struct.pack("!BBQ16s", 1, kind, rev, bytes(16)) + frame,
            st.sampled_from([*Kind, 99]),
            st.integers(0, 2**64 - 1) | st.integers(0, 5),
            st.one_of(st.binary(max_size=60), an_event(JSON).map(lambda payload: Frame.of(_as_event(payload)).json)),
        )
    ),
)


def _as_event(payload: bytes) -> Event:
    return cast("Event", JSON.decode_server_frame(payload))


@given(payload=PAYLOADS)
@example(b"")
@example(struct.pack("!BBQ16s", 1, Kind.MEMBER, 1, bytes(16)))
@example(struct.pack("!BBQ16s", 1, Kind.MESSAGE, 1, bytes(16)) + b"\x81\x7f" + bytes(8) + DEEP)
@fuzz
def test_a_payload_from_another_worker_is_a_change_that_all_clients_can_read_or_broken(payload: bytes) -> None:
    """B12: what comes from Redis is input, too."""
    with suppress(ValueError):
        change = checked(unpack(payload))
        if change.kind is not Kind.POKE:
            event = JSON.decode_server_frame(payload_of(change.frame.json))
            assert isinstance(event, Event | None)
            assert event == MSGPACK.decode_server_frame(payload_of(change.frame.msgpack))


@given(payload=PAYLOADS)
@fuzz
def test_no_payload_stops_a_worker_from_listening(payload: bytes) -> None:
    feed = Feed(cast("Store", None), MemoryBroker(), hub := Hub(), Metrics(), sweep_s=1)
    listeners = [Device(ALICE, codec) for codec in CODECS.values()]
    for listener in listeners:
        hub.join(listener, Channel("c", CONVERSATION), 0)
    feed._names[f"echo:c:{CONVERSATION}"] = Channel("c", CONVERSATION)
    feed._repair_soon = lambda _topic: None  # type: ignore[method-assign,assignment]  # there is no loop here

    feed._hear(f"echo:c:{CONVERSATION}", payload)

    for listener in listeners:
        assert all(isinstance(frame, Event) or frame is None for frame in listener.told)


def test_what_is_whole_is_heard() -> None:
    message = Message(
        conversation=CONVERSATION, message=ALICE, seq=1, rev=1, sender=ALICE, type="text", content="hi",
        created_at=datetime.fromisoformat("2026-01-01T00:00:00Z"),
    )  # fmt: skip

    heard = checked(unpack(pack(change_of(Told(message)))))

    assert (Kind.MESSAGE, 1, message) == (heard.kind, heard.rev, JSON.decode_server_frame(payload_of(heard.frame.json)))


@given(
    kind=st.sampled_from(["message", "conversation", "member", "news"]),
    body=st.one_of(st.binary(), ANY_JSON.map(JSON.encoder.encode)),
)
@example("message", DEEP)
@example("message", b'{"metadata":' + DEEP + b"}")
@fuzz
def test_a_changed_row_is_an_event_or_cannot_be_told(kind: str, body: bytes) -> None:
    with suppress(*BROKEN):
        assert isinstance(from_body(kind, body), Event)


@given(payload=st.one_of(st.binary(), ANY_JSON.map(lambda value: json.dumps(value).encode())))
@example(DEEP)
@example(b"[5]")
@example(b"{}")
@example(b'["' + b"9" * 10_000 + b'"]')
@example(b"9" * 10_000)
@fuzz
def test_a_word_about_revocation_ends_sessions_or_is_broken(payload: bytes) -> None:
    ended: list[Any] = []
    sessions = Sessions(cast("Store", None), Settings(), [], lambda: 0.0, cast("Voice", None), TOKENS)
    sessions._end = ended.append  # type: ignore[method-assign,assignment]

    sessions.hear_revoked(payload)

    assert all(isinstance(id_, UUID) for ids in ended for id_ in ids)


@given(ids=st.lists(st.uuids(), max_size=5))
def test_a_whole_word_about_revocation_is_understood(ids: list[UUID]) -> None:
    ended: list[Any] = []
    sessions = Sessions(cast("Store", None), Settings(), [], lambda: 0.0, cast("Voice", None), TOKENS)
    sessions._end = ended.append  # type: ignore[method-assign,assignment]

    sessions.hear_revoked(revoked_payload(ids))

    assert [set(ids)] == ended


# What a client sends besides commands


@given(cursor=TEXT)
@example("2026-01-01T00:00:00|" + "0" * 32)
@example("0001-01-01T00:00:00+23:59|" + "0" * 32)
@example("0001-01-01T00:00:00|" + "0" * 32)
@example("9999-12-31T23:59:59-23:59|" + "0" * 32)
@example("10000-01-01T00:00:00Z|" + "0" * 32)
@example("-0001-01-01T00:00:00Z|" + "0" * 32)
@example("1767225600.5|" + "0" * 32)
@example("2026-01-01T00:00:00Z|" + "\u0660" * 32)
@fuzz
def test_a_cursor_is_a_place_in_utc_or_a_bad_field(cursor: str) -> None:
    """B28"""
    with suppress(BadField):
        time, conversation = as_place(cursor)
        assert time.tzinfo is None
        assert isinstance(conversation, UUID)


NAMES = (
    "host origin connection upgrade sec-websocket-key sec-websocket-version sec-websocket-protocol authorization"
    " sec-websocket-extensions x-forwarded-for user-agent content-length transfer-encoding"
)
VALUES = ["websocket", "Upgrade", "13", "AAAAAAAAAAAAAAAAAAAAAA==", "echo.v1.json", "Bearer x", "::1"]
LATIN = st.text(st.characters(max_codepoint=255), max_size=40)
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES.split()), st.one_of(st.sampled_from(VALUES), LATIN)), max_size=12)


@given(
    method=st.sampled_from(["GET", "POST", ""]),
    target=st.text(st.characters(max_codepoint=255)).map("/ws".__add__),
    headers=HEADERS,
)
@fuzz
def test_the_head_of_a_handshake_is_answered_or_refused(
    method: str, target: str, headers: list[tuple[str, str]]
) -> None:
    """B26"""
    head = Head(method, target, "HTTP/1.1", headers)

    answer = handshake.refusal(head, ()) or shake_hands(head)

    assert isinstance(answer, Refusal | tuple)
    assert len(handshake.user_agent(head)) <= 256
    assert handshake.user_agent(head).isprintable()
    assert handshake.bearer(head) != ""


@given(peer=TEXT, forwarded=st.lists(TEXT, max_size=4))
@fuzz
def test_any_forwarded_header_leads_to_an_address_or_leaves_the_peers(peer: str, forwarded: list[str]) -> None:
    address = handshake.client_address(peer, forwarded, networks(["0.0.0.0/0", "::/0"]))

    assert handshake.plain_address(address) == address or address == peer


@given(op=st.text(), body=st.one_of(st.binary(), ANY_JSON.map(lambda value: json.dumps(value).encode())))
@example("message.send", DEEP)
@example("message.send", b'{"x":"\xff"}')
@fuzz
def test_the_body_of_a_post_is_a_frame_that_can_be_judged_or_refused(op: str, body: bytes) -> None:
    """B03, B27"""
    with suppress(_Refused):
        frame = _frame(op, body)
        with suppress(BadFrame):
            assert isinstance(JSON.decode_command(frame), Command)


TOKENS = AccessTokens({"a": JwtKey(alg="HS256", key="0123456789abcdef0123456789abcdef")}, "issuer")


@given(token=st.one_of(st.text(), st.lists(st.text("abcdefABCDEF0189-_="), max_size=4).map(".".join)))
@fuzz
def test_a_token_is_verified_or_bad(token: str) -> None:
    assert 64 == len(digest(token))
    with suppress(BadToken):
        assert isinstance(TOKENS.verify(token), AccessToken)


# What an operator writes


def complaint(environ: dict[str, str], file: Path | None) -> str:
    """Return what is wrong with settings; nothing, if they are good."""
    try:
        assert isinstance(config.load(environ, file, {}), Settings)
    except ConfigError as error:
        return str(error)
    return ""


VARIABLES = [setting.variable for setting in config.describe()]


@given(variable=st.sampled_from(VARIABLES), value=st.one_of(TEXT, ANY_JSON.map(json.dumps)))
@example("ECHO_JWT_KEYS", "[" * 100_000)
@example("ECHO_PORT", "9" * 10_000)
@example("ECHO_TRUSTED_NETWORKS", "1.2.3.4/99999999999")
@fuzz
def test_a_variable_is_a_setting_or_one_line_that_names_it(variable: str, value: str) -> None:
    said = complaint({variable: value}, None)

    assert not said or (variable in said and "\n" not in said)


@given(line=st.one_of(st.binary(), damaged(st.just(config.encode(Settings())))))
@fuzz
def test_the_line_that_a_worker_gets_is_its_settings_or_broken(line: bytes) -> None:
    with suppress(MsgspecError, UnicodeDecodeError):
        assert isinstance(config.decode(line), Settings)


@given(
    content=st.one_of(st.binary(), st.text().map(str.encode), damaged(st.just(b'port = 1\nhost = "x"\n[jwt_keys.a]\n')))
)
@example(b"x = " + b"[" * 5000)
@settings(max_examples=100, deadline=None)
def test_a_file_is_settings_or_one_line_that_names_it(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    file.write_bytes(content)

    said = complaint({}, file)

    assert not said or str(file) in said
