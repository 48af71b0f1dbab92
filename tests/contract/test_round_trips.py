from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from echo_ws_protocol.codec import CODECS, COMMANDS, EVENTS, JSON, MSGPACK, Codec
from echo_ws_protocol.commands import result_of
from echo_ws_protocol.errors import ErrorCode
from echo_ws_protocol.events import Bye
from echo_ws_protocol.replies import Failure, Reply

from .strategies import structs

quick = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
both = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
RESULTS = sorted({result_of(command) for command in COMMANDS.values()}, key=lambda result: result.__name__)


def ids(cls: type[Struct]) -> str:
    return cls.__name__


@both
@pytest.mark.parametrize("cls", COMMANDS.values(), ids=ids)
@given(data=st.data())
@quick
def test_a_command_survives_the_way_to_the_server(codec: Codec, cls: type[Struct], data: st.DataObject) -> None:
    command = data.draw(structs(cls))

    assert command == codec.decode_command(codec.encode(command))


@both
@pytest.mark.parametrize("cls", EVENTS.values(), ids=ids)
@given(data=st.data())
@quick
def test_an_event_survives_the_way_to_the_client(codec: Codec, cls: type[Struct], data: st.DataObject) -> None:
    event = data.draw(structs(cls))

    assert event == codec.decode_server_frame(codec.encode(event))


@both
@pytest.mark.parametrize("cls", RESULTS, ids=ids)
@given(data=st.data())
@quick
def test_a_result_survives_the_way_within_a_reply(codec: Codec, cls: type[Struct], data: st.DataObject) -> None:
    result = data.draw(structs(cls))

    reply = codec.decode_server_frame(codec.encode(Reply(7, ok=Raw(codec.encode(result)))))

    assert isinstance(reply, Reply)
    assert isinstance(reply.ok, Raw)
    assert (7, result) == (reply.id, codec.decode_result(cls, bytes(reply.ok)))


@both
@pytest.mark.parametrize("code", ErrorCode)
def test_a_failure_survives_the_way_within_a_reply(codec: Codec, code: ErrorCode) -> None:
    reply = Reply(7, error=Failure(code, "retry", "later", "$.content", 1500))

    assert reply == codec.decode_server_frame(codec.encode(reply))


@pytest.mark.parametrize("cls", [*COMMANDS.values(), *EVENTS.values()], ids=ids)
@given(data=st.data())
@quick
def test_both_subprotocols_carry_the_same_fields(cls: type[Struct], data: st.DataObject) -> None:
    value = data.draw(structs(cls))

    in_json: dict[str, Any] = JSON.decode(JSON.encode(value))
    in_msgpack: dict[str, Any] = MSGPACK.decode(MSGPACK.encode(value))

    assert list(in_json) == list(in_msgpack)


@both
def test_a_client_skips_an_event_that_is_newer_than_itself(codec: Codec) -> None:
    frame = codec.encoder.encode({"op": "hologram", "user": "somebody", "is_lifelike": True})

    assert codec.decode_server_frame(frame) is None


@both
def test_a_client_skips_a_field_that_is_newer_than_itself(codec: Codec) -> None:
    frame = codec.encoder.encode({"op": "bye", "after_ms": 5, "because": "deploy"})

    assert Bye(after_ms=5) == codec.decode_server_frame(frame)


@both
def test_a_client_keeps_an_error_code_that_is_newer_than_itself(codec: Codec) -> None:
    error = {"code": "quota_exceeded", "outcome": "rejected", "message": "no room"}
    frame = codec.encoder.encode({"op": "reply", "id": 1, "error": error})

    reply = codec.decode_server_frame(frame)

    assert isinstance(reply, Reply)
    assert isinstance(reply.error, Failure)
    assert ("quota_exceeded", "rejected") == (reply.error.code, reply.error.outcome)
    assert frame == codec.encode(reply)
