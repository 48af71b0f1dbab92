"""All nine types: what is sent is checked by its type, and told live as it is read later."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from echo_ws.client import Client
from echo_ws_protocol.codec import JSON, MSGPACK, BadFrame, Codec
from echo_ws_protocol.commands import MessageHistory, MessageSend, SessionResume
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.contract.strategies import sends
from tests.support.other_service import Sql
from tests.support.talk import IMAGE, POLL
from tests.support.world import World

URL = "https://cdn.example.org/a"
DOCUMENT = {"file_url": URL, "file_name": "a.pdf", "size": 1, "mime_type": "application/pdf"}


@given(drawn=sends())
@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
async def test_a_message_of_any_type_is_told_as_it_is_read(
    drawn: MessageSend, direct: UUID, alice: Client, bob: Client
) -> None:
    """The event of the send is made in the server, that of history and resume from the database."""
    named = [alice.user, bob.user, *drawn.mentions]
    sent = replace(drawn, conversation=direct, message=uuid7(), mentions=named, id=0)

    await alice.call(sent)

    told = await bob.next(Message, lambda message: message.message == sent.message)
    read = (await bob.call(MessageHistory(conversation=direct, after=told.seq - 1))).messages
    resumed = await bob.call(SessionResume(epoch=bob.hello.epoch, conversations={direct: told.rev - 1}))
    assert [told] == read == resumed.conversations[0].events
    assert (sent.type, sent.content, sent.metadata) == (told.type, told.content, told.metadata)
    assert sorted([alice.user, bob.user]) == told.mentions


@pytest.mark.parametrize(
    ("type_", "metadata", "field"),
    [
        ("text", {}, ""),
        ("image", None, ""),
        ("image", {}, ".file_url"),
        ("image", {**IMAGE, "width": "wide"}, ".width"),
        ("image", {**IMAGE, "width": 0}, ".width"),
        ("image", {**IMAGE, "colour": "red"}, ".colour"),
        ("image", {**IMAGE, "caption": "another"}, ".caption"),
        *(("image", {"file_url": url}, ".file_url") for url in ("http://a/b", "javascript:1", "https://a b", "//a/b")),
        ("video", {**IMAGE, "duration": -1}, ".duration"),
        ("audio", {"file_url": URL}, ".duration"),
        ("audio", {"file_url": URL, "duration": 1, "waveform": [256]}, ".waveform[0]"),
        ("document", {**DOCUMENT, "file_name": "a\nb"}, ".file_name"),
        ("location", {"latitude": 90.1, "longitude": 0}, ".latitude"),
        ("location", {"latitude": 0, "longitude": -180.1}, ".longitude"),
        ("contact", {"name": "Bob", "phones": ["call me"]}, ".phones[0]"),
        ("contact", {"name": "Bob", "user": "bob"}, ".user"),
        ("sticker", {}, ""),
        ("sticker", {"emoji": "no emoji"}, ".emoji"),
        ("poll", {**POLL, "options": ["one"]}, ".options"),
        ("poll", {**POLL, "options": [str(n) for n in range(11)]}, ".options"),
        ("poll", {**POLL, "options": ["same", "same"]}, ""),
        ("poll", {**POLL, "closes_at": "tomorrow"}, ".closes_at"),
        ("poll", {**POLL, "closes_at": "2026-01-01T00:00:00"}, ".closes_at"),
        ("poll", {**POLL, "closes_at": "9999-12-31T23:59:59-10:00"}, ""),
        ("document", {**DOCUMENT, "file_url": URL + "a" * 1900, "file_name": "ä" * 255, "x": "y" * 2000}, ""),
    ],
)
@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_what_does_not_belong_to_the_type_is_named(
    codec: Codec, type_: str, metadata: dict[str, Any] | None, field: str
) -> None:
    command = {"op": "message.send", "id": 7, "conversation": str(uuid7()), "message": str(uuid7()), "content": "hi"}

    with pytest.raises(BadFrame) as refused:
        codec.decode_command(codec.encoder.encode({**command, "type": type_, "metadata": metadata}))

    assert (7, f"$.metadata{field}") == (refused.value.id, refused.value.failure.field)


def test_a_number_that_json_has_not_is_refused() -> None:
    command = {"op": "message.send", "conversation": str(uuid7()), "message": str(uuid7()), "type": "location"}

    with pytest.raises(BadFrame) as refused:
        MSGPACK.decode_command(
            MSGPACK.encoder.encode({**command, "metadata": {"latitude": float("nan"), "longitude": 0}})
        )

    assert "$.metadata.latitude" == refused.value.failure.field


def test_metadata_of_more_than_four_kilobytes_is_refused() -> None:
    options = ["ä" * 100 for _ in range(10)]
    with pytest.raises(ValueError, match="4,096 bytes"):
        MessageSend(
            conversation=uuid7(), message=uuid7(), type="contact", metadata={"name": "n" * 255, "phones": options * 3}
        )


@pytest.mark.parametrize(("content", "caption"), [("cake", None), ("", "cake"), ("cake", "cake")])
def test_a_caption_stands_in_the_content(content: str, caption: str | None) -> None:
    metadata = {**IMAGE, "caption": caption} if caption else IMAGE

    sent = MessageSend(conversation=uuid7(), message=uuid7(), content=content, type="image", metadata=metadata)

    assert ("cake", metadata) == (sent.content, sent.metadata)


async def test_the_row_has_the_references_shape(direct: UUID, alice: Client, people: World, db: Sql) -> None:
    sent = MessageSend(conversation=direct, message=uuid7(), type="image", metadata={**IMAGE, "caption": "cake"})

    await alice.call(sent)

    row = await db.fetchrow("SELECT type, content, metadata::text FROM messages.messages WHERE id = $1", sent.message)
    assert row is not None
    assert ("image", "cake") == (row["type"], row["content"])
    assert {**IMAGE, "caption": "cake"} == JSON.decode(row["metadata"].encode())
