"""The golden examples are true: every frame is what the structs say, to the letter."""

import json
from typing import Any, cast
from uuid import UUID

import pytest
from msgspec import Raw, Struct

from echo_ws_protocol.codec import CODECS, COMMANDS, EVENTS, JSON, MSGPACK, BadFrame, Codec
from echo_ws_protocol.commands import result_of
from echo_ws_protocol.errors import ErrorCode
from echo_ws_protocol.replies import Failure, Reply
from scripts.generators.examples import Example, Frame, Step, load

EXAMPLES = load()
DECODED_REFUSALS = {ErrorCode.BAD_FIELD}

every_example = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)


def over(codec: Codec, frame: Frame) -> bytes:
    """Return a JSON frame as this codec's bytes: for MessagePack by way of the struct."""
    raw = json.dumps(frame).encode()
    if codec is JSON:
        return raw
    value = EVENTS[frame["op"]] if frame["op"] in EVENTS else COMMANDS[frame["op"]]
    return codec.encode(JSON.decode(raw, type=value))


def as_json(value: Struct) -> Any:
    return json.loads(JSON.encode(value))


def is_refused_by_the_decoder(step: Step) -> bool:
    try:
        JSON.decode_command(json.dumps(step.send).encode())
    except BadFrame:
        return True
    return False


def well_formed_commands(example: Example) -> list[Frame]:
    refused = [step.send for step in example.story if step.send and is_refused_by_the_decoder(step)]
    return [command for command in example.commands if command not in refused]


def replies(example: Example) -> list[tuple[Frame, Frame]]:
    return [(step.send, step.reply) for step in example.story if step.send and step.reply]


def test_every_command_has_an_example_and_every_example_a_command() -> None:
    assert set(COMMANDS) == set(EXAMPLES)
    assert all(name == example.command for name, example in EXAMPLES.items())


def test_every_event_appears_in_an_example() -> None:
    assert set(EVENTS) == {event["op"] for example in EXAMPLES.values() for event in example.events}


@every_example
def test_an_example_shows_success_and_failure(example: Example) -> None:
    outcomes = {tuple(reply)[-1] for sent, reply in replies(example) if sent["op"] == example.command}

    assert {"ok", "error"} == outcomes


@every_example
@every_codec
def test_commands_are_encoded_exactly_as_shown(example: Example, codec: Codec) -> None:
    for shown in well_formed_commands(example):
        command = codec.decode_command(over(codec, shown))

        assert shown == as_json(command)


@every_example
def test_commands_that_the_decoder_refuses_are_answered_as_shown(example: Example) -> None:
    for step in example.story:
        if step.send is None or not is_refused_by_the_decoder(step):
            continue

        with pytest.raises(BadFrame) as caught:
            JSON.decode_command(json.dumps(step.send).encode())

        assert step.reply == as_json(Reply(caught.value.id, error=caught.value.failure))


@every_example
def test_replies_are_encoded_exactly_as_shown(example: Example) -> None:
    for sent, shown in replies(example):
        reply = JSON.decode_server_frame(json.dumps(shown).encode())

        assert isinstance(reply, Reply)
        assert sent["id"] == reply.id
        if isinstance(reply.ok, Raw):
            result = JSON.decode_result(result_of(COMMANDS[sent["op"]]), bytes(reply.ok))
            assert shown["ok"] == as_json(cast("Struct", result))
        else:
            assert isinstance(reply.error, Failure)
            assert shown == as_json(reply)


@every_example
def test_errors_have_a_code_that_is_listed(example: Example) -> None:
    codes = {reply["error"]["code"] for _, reply in replies(example) if "error" in reply}

    assert codes <= {code.value for code in ErrorCode}


@every_example
@every_codec
def test_events_are_encoded_exactly_as_shown(example: Example, codec: Codec) -> None:
    for shown in example.events:
        event = codec.decode_server_frame(over(codec, shown))

        assert isinstance(event, EVENTS[shown["op"]])
        assert shown == as_json(event)


@every_example
def test_only_the_cast_acts_and_is_spoken_of(example: Example) -> None:
    people = {str(user) for user in example.cast.values()}
    roles = [given.role for given in example.given] + [step.role for step in example.story if step.role]
    roles += [role for step in example.story for seen in step.seen for role in seen.by]
    frames = [*example.commands, *example.events, *(reply for _, reply in replies(example))]

    assert set(roles) <= set(example.cast)
    assert {user for frame in frames for user in users_in(frame)} <= people


def users_in(value: Any) -> list[str]:
    if isinstance(value, list):
        return [user for part in value for user in users_in(part)]
    if not isinstance(value, dict):
        return []
    named = [value[key] for key in ("user", "from", "created_by", "peer") if key in value]
    listed = [user for user in value.get("participants", []) if isinstance(user, str)]
    return named + listed + [user for part in value.values() for user in users_in(part)]


@every_example
def test_a_step_is_sent_by_somebody_or_happens_by_itself(example: Example) -> None:
    for step in example.story:
        parts = (step.role is not None, step.send is not None, step.reply is not None, step.when is None)

        assert parts in {(True,) * 4, (False,) * 4}


@every_example
def test_ids_in_an_example_are_real_uuids(example: Example) -> None:
    for command in well_formed_commands(example):
        for name in {"conversation", "message", "reply_to"} & set(command):
            assert command[name] == str(UUID(command[name]))


def test_msgpack_commands_are_smaller_than_json_ones() -> None:
    command = JSON.decode_command(json.dumps(EXAMPLES["message.send"].success[0]).encode())

    assert len(MSGPACK.encode(command)) < len(JSON.encode(command))
