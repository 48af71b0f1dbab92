from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec import json, msgpack

from echo_ws.frame import Frame, payload_of, wire
from echo_ws_protocol.codec import JSON, MSGPACK
from echo_ws_protocol.events import Message

EVENT = Message(
    conversation=UUID(int=1),
    message=UUID(int=2),
    seq=3,
    rev=4,
    sender=UUID(int=5),
    type="text",
    content="hi",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65_535, "817effff"),
        (65_536, "817f0000000000010000"),
    ],
)
def test_a_frame_has_the_shortest_length_that_fits(size: int, head: str) -> None:
    payload = b"x" * size

    framed = wire(payload, text=True)

    assert bytes.fromhex(head) + payload == framed
    assert payload == payload_of(framed)


def test_a_binary_frame_says_so() -> None:
    assert b"\x82\x01x" == wire(b"x", text=False)


def test_an_event_is_framed_for_each_subprotocol() -> None:
    frame = Frame.of(EVENT)

    assert wire(JSON.encode(EVENT), text=True) == frame.wire(JSON)
    assert wire(MSGPACK.encode(EVENT), text=False) == frame.wire(MSGPACK)


def test_what_another_worker_framed_becomes_the_same_msgpack() -> None:
    frame = Frame(Frame.of(EVENT).json)

    assert Frame.of(EVENT).msgpack == frame.msgpack


def test_each_encoding_is_made_once() -> None:
    frame = Frame.of(EVENT)

    assert frame.msgpack is frame.msgpack
    assert frame.json is frame.json


def test_an_event_of_a_newer_worker_is_passed_on() -> None:
    news = {"op": "poll", "at": "2026-01-02T00:00:00Z"}

    frame = Frame(wire(json.encode(news), text=True))

    assert news == msgpack.decode(payload_of(frame.msgpack))
