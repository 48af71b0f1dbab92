"""Whatever comes in is a command or a BadFrame. B01 to B15 are the cases of the table of bad input."""

import json
from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, msgpack
from msgspec.json import schema_components

from echo_ws_protocol import metadata
from echo_ws_protocol.codec import CODECS, COMMANDS, FORMS, JSON, MSGPACK, BadFrame, Codec
from echo_ws_protocol.commands import Command, MessageRead, MessageSend, ReactionSet, TypingSet
from echo_ws_protocol.errors import ErrorCode

from .strategies import structs

CONVERSATION = "019b8e2a-0000-7000-8000-00000000c001"
MESSAGE = "019b8e2a-0000-7000-8000-000000000001"
TYPING = {"op": "typing.set", "id": 7, "conversation": CONVERSATION}
SEND = {"op": "message.send", "id": 7, "conversation": CONVERSATION, "message": MESSAGE, "content": "hi"}
REACTION = {"op": "reaction.set", "id": 7, "conversation": CONVERSATION, "message": MESSAGE}
DEEP = 100_000

both = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)


def refused(codec: Codec, frame: bytes) -> tuple[int, str, str | None]:
    """Return whose request is refused, why, and for which field."""
    with pytest.raises(BadFrame) as caught:
        codec.decode_command(frame)
    failure = caught.value.failure
    assert "rejected" == failure.outcome
    assert 0 < len(failure.message) <= 200
    assert len(codec.encode(failure)) < 2_000
    return caught.value.id, failure.code.value, failure.field


def text(command: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({**command, **fields}).encode()


def with_field(name: str, value: bytes, command: dict[str, Any] = TYPING) -> bytes:
    """Return a command in JSON with one more field, whose value is put in as it is."""
    return json.dumps(command).encode()[:-1] + b',"' + name.encode() + b'":' + value + b"}"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b" ",
        b"{",
        text(TYPING)[:-1],
        with_field("unknown", b"1")[:-1],
        text(TYPING) + b"x",
        text(TYPING) + text(TYPING),
        b"\xef\xbb\xbf" + text(TYPING),
        text(TYPING).decode().encode("utf-16"),
        text(TYPING).replace(b'"', b"'"),
        b"{op: 1}",
        with_field("x", b"NaN"),
        with_field("x", b"Infinity"),
        with_field("kind", b'"\\ud800"'),
        with_field("x", b'"\\ud800"'),
        with_field("kind", b'"\\x"'),
        text(TYPING).replace(b",", b",,"),
        b"// a comment\n" + text(TYPING),
    ],
)
def test_what_is_not_json_is_bad_json(frame: bytes) -> None:
    """B01, B05"""
    assert (0, "bad_json", None) == refused(JSON, frame)


@pytest.mark.parametrize("broken", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"])
@pytest.mark.parametrize("place", ["op", "kind", "content"])
def test_what_is_not_utf_8_is_bad_json(broken: bytes, place: str) -> None:
    """B02, B04. On a socket the connection closes with 1007 before."""
    command = {**SEND, "content": "?"} if place == "content" else {**TYPING, place: "?"}

    assert "bad_json" == refused(JSON, json.dumps(command).encode().replace(b'"?"', b'"' + broken + b'"'))[1]


@both
@pytest.mark.parametrize(
    ("command", "field"),
    [
        ({**SEND, "content": "a\0b"}, "content"),
        ({**REACTION, "emoji": "👍\0"}, "emoji"),
        ({"op": "session.start", "id": 7, "token": "a\0"}, "token"),
        ({"op": "session.start", "id": 7, "token": "a b"}, "token"),
        ({"op": "session.start", "id": 7, "token": "ä"}, "token"),
        ({"op": "session.start", "id": 7, "token": "a\n"}, "token"),
        *(
            (
                {"op": "conversation.create", "id": 7, "conversation": CONVERSATION, "type": "group", "name": name},
                "name",
            )
            for name in ["a\0", "a\nb", "a\n", "\x1b[31m", "\x7f", "", "a" * 256]
        ),
    ],
)
def test_text_with_nul_or_control_characters_where_there_may_be_none_is_a_bad_field(
    codec: Codec, command: dict[str, Any], field: str
) -> None:
    """B06"""
    assert (7, "bad_field", f"$.{field}") == refused(codec, codec.encoder.encode(command))


@both
@pytest.mark.parametrize("content", ["", "a" * 4097, "👍" * 4097, "a" * 2**20])
def test_content_outside_its_length_is_a_bad_field(codec: Codec, content: str) -> None:
    """B07"""
    assert (7, "bad_field", "$.content") == refused(codec, codec.encoder.encode({**SEND, "content": content}))


@both
@pytest.mark.parametrize("content", ["a" * 4096, "👍" * 4096, "line\nline\ttab", " ", "\u202e", "\u200d"])
def test_content_of_up_to_4096_characters_is_taken_as_it_is(codec: Codec, content: str) -> None:
    command = codec.decode_command(codec.encoder.encode({**SEND, "content": content}))

    assert isinstance(command, MessageSend)
    assert content == command.content


INTEGERS = [b"1e400", b"9" * 400, b"9" * 65_000, b"-" + b"9" * 65_000, b"-1", b"1.0", b"1e3", b"true", b"false", b'"1"']
INTEGERS += [b"null", b"[]", b"{}", b"9007199254740992", b"9223372036854775808", b"18446744073709551615", b"0.5"]


@pytest.mark.parametrize("value", INTEGERS, ids=lambda value: value[:20].decode())
def test_what_is_not_an_integer_in_range_is_a_bad_field(value: bytes) -> None:
    """B08"""
    read = {"op": "message.read", "id": 7, "conversation": CONVERSATION}
    without_id = {name: part for name, part in TYPING.items() if name != "id"}

    assert (7, "bad_field", "$.seq") == refused(JSON, with_field("seq", value, read))
    assert (0, "bad_field", "$.id") == refused(JSON, with_field("id", value, without_id))


@both
@pytest.mark.parametrize("value", [True, 1.0, -1, 2**53, 2**64 - 1, "1", None, b"1", [1]])
def test_msgpack_is_as_strict_about_integers_as_json(codec: Codec, value: object) -> None:
    command = {"op": "message.read", "id": 7, "conversation": CONVERSATION, "seq": value}

    assert (7, "bad_field", "$.seq") == refused(codec, codec.encoder.encode(command))


@both
@pytest.mark.parametrize("seq", [0, 1, 2**31, 2**53 - 1])
def test_integers_that_every_json_reader_keeps_exact_are_taken(codec: Codec, seq: int) -> None:
    command = codec.decode_command(
        codec.encoder.encode({"op": "message.read", "conversation": CONVERSATION, "seq": seq})
    )

    assert isinstance(command, MessageRead)
    assert seq == command.seq


@pytest.mark.parametrize(
    "frame",
    [
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"op":' * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        with_field("unknown", b"[" * DEEP + b"]" * DEEP),
        with_field("kind", b"[" * DEEP + b"]" * DEEP),
    ],
    ids=["open arrays", "arrays", "open objects", "objects", "in an unknown field", "in a field"],
)
def test_deep_nesting_in_json_is_bad_json(frame: bytes) -> None:
    """B09"""
    assert (0, "bad_json", None) == refused(JSON, frame)


@pytest.mark.parametrize(
    "frame",
    [
        b"\x91" * DEEP,
        b"\x81" * DEEP,
        b"\x81\xa1x" + b"\x91" * DEEP + b"\x90",
        b"\x82\xa2op\xaatyping.set\xa1x" + b"\x91" * DEEP + b"\x90",
    ],
    ids=["open arrays", "open maps", "before the op", "in an unknown field"],
)
def test_deep_nesting_in_msgpack_is_bad_msgpack(frame: bytes) -> None:
    """B09, B12"""
    assert (0, "bad_msgpack", None) == refused(MSGPACK, frame)


@pytest.mark.parametrize("depth", [10, 500])
def test_moderate_nesting_in_an_unknown_field_is_a_bad_field(depth: int) -> None:
    assert (7, "bad_field", "$.x") == refused(JSON, with_field("x", b"[" * depth + b"]" * depth))


def test_of_a_repeated_key_the_last_one_wins() -> None:
    """B10"""
    command = JSON.decode_command(with_field("kind", b'"voice"', {**TYPING, "kind": "upload"}))

    assert isinstance(command, TypingSet)
    assert "voice" == command.kind


@pytest.mark.parametrize(
    ("first", "second"), [("nope", "typing.set"), ("typing.set", "nope"), ("typing.set", "message.read")]
)
def test_two_different_ops_are_refused(first: str, second: str) -> None:
    """B10"""
    frame = with_field("op", json.dumps(second).encode(), {**TYPING, "op": first})

    assert (7, "$.op") == refused(JSON, frame)[::2]


@both
@pytest.mark.parametrize(
    "op", ["nope", "", "reply", "message", "hello", "MESSAGE.SEND", "message.send ", 1, None, True, [], {}]
)
def test_an_op_that_is_no_command_is_an_unknown_op(codec: Codec, op: object) -> None:
    """B11"""
    assert (7, "unknown_op", "$.op") == refused(codec, codec.encoder.encode({**TYPING, "op": op}))


@both
def test_a_missing_op_is_an_unknown_op(codec: Codec) -> None:
    """B11"""
    frame = codec.encoder.encode({"id": 7, "conversation": CONVERSATION})

    assert (7, "unknown_op", "$.op") == refused(codec, frame)
    with pytest.raises(BadFrame, match="a command is an object with an `op`"):
        codec.decode_command(frame)


@both
def test_the_op_may_come_last(codec: Codec) -> None:
    """B11"""
    command = codec.decode_command(codec.encoder.encode({"id": 7, "conversation": CONVERSATION, "op": "typing.set"}))

    assert TypingSet(id=7, conversation=UUID(CONVERSATION)) == command


@both
@pytest.mark.parametrize("op", COMMANDS)
def test_an_unknown_field_is_named(codec: Codec, op: str) -> None:
    """B11"""
    assert (7, "bad_field", "$.surplus") == refused(codec, codec.encoder.encode({"op": op, "id": 7, "surplus": 1}))


@both
@pytest.mark.parametrize(
    "name", ["a b", "`", "$", "x" * 60_000, "- at `", " - at `" + "x" * 60_000, "", "\u202e", "\x1b[31m"]
)
def test_an_unknown_field_of_any_name_is_refused_in_few_words(codec: Codec, name: str) -> None:
    assert (7, "bad_field") == refused(codec, codec.encoder.encode({**TYPING, name: 1}))[:2]


@both
def test_a_missing_field_is_named(codec: Codec) -> None:
    assert (7, "bad_field", "$.conversation") == refused(codec, codec.encoder.encode({"op": "typing.set", "id": 7}))


@both
@pytest.mark.parametrize("value", ["x" * 60_000, "", "Voice", 1, None])
def test_a_value_outside_the_choice_is_a_bad_field(codec: Codec, value: object) -> None:
    assert (7, "bad_field", "$.kind") == refused(codec, codec.encoder.encode({**TYPING, "kind": value}))


@both
def test_the_path_of_a_key_names_the_object(codec: Codec) -> None:
    frame = codec.encoder.encode({"op": "session.resume", "id": 7, "conversations": {"bob": 1}})

    assert (7, "bad_field", "$.conversations") == refused(codec, frame)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"op": "contact.set", "user": MESSAGE, "nickname": "\x1b"}, "no control characters"),
        ({"op": "email.verify", "verification": MESSAGE, "code": "12345"}, "the six digits that were sent"),
        ({**SEND, "content": "a\0"}, "no NUL"),
        ({**SEND, "type": "image", "metadata": {"file_url": "http://example.org"}}, "a URL with https, in ASCII"),
    ],
)  # fmt: skip
def test_what_a_text_has_to_be_is_said_in_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadFrame) as caught:
        JSON.decode_command(json.dumps(fields).encode())

    assert f"expected `str` of this form: {words}" == caught.value.failure.message


def test_there_are_words_for_every_pattern() -> None:
    patterns = {
        one["pattern"]
        for one in _schemas(schema_components([*COMMANDS.values(), *metadata.METADATA.values()])[1])
        if "pattern" in one
    }

    assert patterns
    assert set() == {repr(pattern) for pattern in patterns} - set(FORMS)


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Return every object in a schema."""
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _schemas(part)


@both
def test_the_path_leads_into_a_list(codec: Codec) -> None:
    command = {"op": "conversation.create", "id": 7, "conversation": CONVERSATION, "type": "group"}

    frame = codec.encoder.encode({**command, "participants": [CONVERSATION, "bob"]})

    assert (7, "bad_field", "$.participants[1]") == refused(codec, frame)


@both
@pytest.mark.parametrize("value", [[], [1], "typing.set", 1, None, True, 0.5])
def test_what_is_no_object_is_a_bad_field(codec: Codec, value: object) -> None:
    assert (0, "bad_field", "$") == refused(codec, codec.encoder.encode(value))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        msgpack.encode(TYPING)[:-1],
        msgpack.encode(TYPING) + b"\x00",
        b"\x82\xa2id\x07\xa2op\xdd\xff\xff\xff\xff",
        b"\x82\xa2id\x07\xa2op\xdb\xff\xff\xff\xff",
        b"\x82\xa2id\x07\xa2op\xa1\xff",
        b"\x83\xa2op\xaatyping.set\xa2id\x07\xa1x\xdf\xff\xff\xff\xff",
        b"\x83\xa2op\xaatyping.set\xa2id\x07\xacparticipants\xdd\xff\xff\xff\xff",
    ],
)
def test_what_is_not_msgpack_is_bad_msgpack(frame: bytes) -> None:
    """B12: lengths that are not there cost nothing."""
    assert (0, "bad_msgpack", None) == refused(MSGPACK, frame)


@pytest.mark.parametrize(
    "value",
    [
        msgpack.encode(msgpack.Ext(5, b"abc")),
        b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\xd7\xff" + b"\xff" * 8,
        b"\x81\x90\x01",
        b"\x81\x80\x01",
        b"\xc4\x02hi",
    ],
    ids=["ext", "timestamp overflow", "timestamp", "array as key", "map as key", "bin"],
)
@pytest.mark.parametrize("field", ["id", "kind", "x"])
def test_odd_msgpack_values_are_a_bad_field(value: bytes, field: str) -> None:
    """B12"""
    frame = b"\x83\xa2op\xaatyping.set\xacconversation" + msgpack.encode(CONVERSATION) + msgpack.encode(field) + value

    assert (0, "bad_field", f"$.{field}") == refused(MSGPACK, frame)


def test_a_msgpack_key_that_is_no_string_is_a_bad_field() -> None:
    assert "bad_field" == refused(MSGPACK, b"\x82\xa2op\xaatyping.set\x01\x02")[1]


@both
@pytest.mark.parametrize("item", [{}, []])
def test_thousands_of_empty_things_are_refused_at_the_first(codec: Codec, item: object) -> None:
    """B13"""
    create = {"op": "conversation.create", "id": 7, "conversation": CONVERSATION, "type": "group"}

    frame = codec.encoder.encode({**create, "participants": [item] * 20_000})

    assert (7, "bad_field") == refused(codec, frame)[:2]


@both
def test_a_conversation_begins_with_at_most_1000_others(codec: Codec) -> None:
    create = {"op": "conversation.create", "id": 7, "conversation": CONVERSATION, "type": "group"}

    frame = codec.encoder.encode({**create, "participants": [CONVERSATION] * 1001})

    assert (7, "bad_field", "$.participants") == refused(codec, frame)


GOOD_EMOJIS = {
    "thumb": "👍",
    "with skin tone": "👍🏽",
    "heart as text": "❤",
    "heart as emoji": "❤️",
    "family of 7 code points": "👩‍👩‍👧‍👦",
    "kiss of 10 code points": "👩🏻‍❤️‍💋‍👨🏻",
    "handshake in two skin tones": "🫱🏻‍🫲🏿",
    "flag": "🇩🇪",
    "flag of England": "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "rainbow flag": "🏳️‍🌈",
    "transgender flag": "🏳️‍⚧️",
    "keycap 1": "1️⃣",
    "keycap 1 without selector": "1\u20e3",
    "keycap #": "#️⃣",
    "keycap *": "*️⃣",
    "copyright": "©️",
    "double exclamation": "‼️",
    "squared ok": "🆗",
    "japanese here": "🈁",
    "congratulations": "㊗️",
    "mahjong": "🀄",
    "newest": "🫩",
}
BAD_EMOJIS = {
    "nothing": "",
    "ten letters": "aaaaaaaaaa",
    "11 code points": "👩🏻‍❤️‍💋‍👨🏻🏻",
    "right-to-left override": "\u202e",
    "right-to-left override before": "\u202e👍",
    "right-to-left override after": "👍\u202e",
    "isolate": "\u2067",
    "isolate after": "👍\u2067",
    "nul": "\0",
    "nul after": "👍\0",
    "space after": "👍 ",
    "spaces up to 10": "👍" + " " * 9,
    "newline after": "👍\n",
    "digit": "1",
    "digit with selector": "1\ufe0f",
    "hash": "#",
    "asterisk": "*",
    "letter as keycap": "a\ufe0f\u20e3",
    "combining marks": "\u0301" * 10,
    "combining marks after": "👍" + "\u0301" * 9,
    "enclosing marks": "\u20d0" * 10,
    "two": "👍👍",
    "ten": "👍" * 10,
    "two flags": "🇩🇪🇫🇷",
    "half a flag": "🇩",
    "joiner alone": "\u200d",
    "joiner at the end": "👍\u200d",
    "two joiners": "👩‍\u200d👩",
    "selector alone": "\ufe0f",
    "tags without end": "🏴\U000e0067\U000e0062",
    "tags alone": "\U000e0067\U000e007f",
    "word joiner": "\u2060",
    "hiragana": "あ",
    "ideograph": "愛",
    "arabic digit": "\u0661",
    "private use": "\ue000",
    "unassigned plane": "\U0003ffff",
}


@both
@pytest.mark.parametrize("emoji", GOOD_EMOJIS.values(), ids=GOOD_EMOJIS)
def test_one_emoji_is_taken_as_it_is(codec: Codec, emoji: str) -> None:
    """B14"""
    command = codec.decode_command(codec.encoder.encode({**REACTION, "emoji": emoji}))

    assert isinstance(command, ReactionSet)
    assert emoji == command.emoji


@both
@pytest.mark.parametrize("emoji", BAD_EMOJIS.values(), ids=BAD_EMOJIS)
def test_what_is_not_one_emoji_is_a_bad_field(codec: Codec, emoji: str) -> None:
    """B14"""
    assert (7, "bad_field", "$.emoji") == refused(codec, codec.encoder.encode({**REACTION, "emoji": emoji}))


@both
@pytest.mark.parametrize(
    "spelled",
    [CONVERSATION, CONVERSATION.upper(), CONVERSATION.replace("-", ""), CONVERSATION.replace("-", "").upper()],
)
def test_a_uuid_is_the_same_however_it_is_spelled(codec: Codec, spelled: str) -> None:
    """B15: compare and cache UUIDs, never their text."""
    command = codec.decode_command(codec.encoder.encode({**TYPING, "conversation": spelled}))

    assert TypingSet(id=7, conversation=UUID(CONVERSATION)) == command


def test_msgpack_takes_the_16_bytes_of_a_uuid() -> None:
    command = MSGPACK.decode_command(msgpack.encode({**TYPING, "conversation": UUID(CONVERSATION).bytes}))

    assert TypingSet(id=7, conversation=UUID(CONVERSATION)) == command


@both
@pytest.mark.parametrize(
    "spelled", ["", "{%s}", "urn:uuid:%s", "%s0", " %s", "%s\n", "%s\0", 1, None, "g", "-", b"\x00" * 15]
)
def test_what_is_not_a_uuid_is_a_bad_field(codec: Codec, spelled: object) -> None:
    """B15"""
    conversation = spelled.replace("%s", CONVERSATION) if isinstance(spelled, str) else spelled

    frame = codec.encoder.encode({**TYPING, "conversation": conversation})

    assert (7, "bad_field", "$.conversation") == refused(codec, frame)


@pytest.mark.parametrize("cut", range(1, 36))
def test_a_uuid_that_is_cut_is_a_bad_field(cut: int) -> None:
    """B15"""
    assert (7, "bad_field", "$.conversation") == refused(JSON, text(TYPING, conversation=CONVERSATION[:cut]))


@both
@pytest.mark.parametrize("request_id", [0, 1, 2**53 - 1])
def test_a_refusal_names_the_request_that_it_answers(codec: Codec, request_id: int) -> None:
    assert request_id == refused(codec, codec.encoder.encode({**TYPING, "id": request_id, "kind": 1}))[0]


@both
@pytest.mark.parametrize("request_id", [-1, 2**53, 1.5, "1", True, None, [1]])
def test_a_refusal_of_a_request_without_a_usable_id_answers_0(codec: Codec, request_id: object) -> None:
    assert 0 == refused(codec, codec.encoder.encode({**TYPING, "id": request_id}))[0]


CODES = {ErrorCode.BAD_JSON, ErrorCode.BAD_MSGPACK, ErrorCode.BAD_FIELD, ErrorCode.UNKNOWN_OP}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.sampled_from(["op", "id", "conversation", "message", "content", "emoji", "seq", "kind", "token", "x"])
ALMOST = st.builds(
    lambda op, fields: {"op": op, **fields},
    st.sampled_from(list(COMMANDS)),
    st.dictionaries(FIELDS, ANYTHING, max_size=6),
)
fuzz = settings(max_examples=150, deadline=None)


def verdict(codec: Codec, frame: bytes) -> Command[Any] | ErrorCode:
    """Return the command, or why it is refused; what else is raised fails the test."""
    try:
        return codec.decode_command(frame)
    except BadFrame as refusal:
        codec.encode(refusal.failure)
        return refusal.failure.code


@both
@given(frame=st.binary(max_size=200))
@fuzz
def test_any_bytes_are_a_command_or_a_bad_frame(codec: Codec, frame: bytes) -> None:
    answer = verdict(codec, frame)

    assert isinstance(answer, Command) or answer in CODES


@both
@given(value=st.one_of(ANYTHING, ALMOST))
@fuzz
def test_any_value_is_a_command_or_a_bad_frame(codec: Codec, value: object) -> None:
    answer = verdict(codec, codec.encoder.encode(value))

    assert isinstance(answer, Command) or answer in CODES


@both
@given(data=st.data())
@fuzz
def test_any_damage_to_a_command_leaves_a_command_or_a_bad_frame(codec: Codec, data: st.DataObject) -> None:
    cls = cast("type[Struct]", data.draw(st.sampled_from(list(COMMANDS.values()))))
    frame = bytearray(codec.encode(data.draw(structs(cls))))

    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    answer = verdict(codec, bytes(frame))

    assert isinstance(answer, Command) or answer in CODES
