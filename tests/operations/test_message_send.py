"""Sending: stored, numbered, and seen by every device of every participant."""

import asyncio
from uuid import UUID

import pytest
from asyncpg import Connection, Record

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageSend
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support.world import Worker, World


async def test_a_sent_message_reaches_everybody_once_and_in_order(
    group: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    ids = [uuid7() for _ in range(20)]

    await asyncio.gather(*(alice.call(MessageSend(conversation=group, message=id_, content="hi")) for id_ in ids))

    for person in (alice, bob, carol):
        heard = [await person.next(Message) for _ in ids]
        assert ids == [message.message for message in heard]
        assert list(range(1, 21)) == [message.seq for message in heard]


async def test_every_device_of_a_participant_hears(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    phone = await people.device(bob.user, worker, codec="msgpack")
    sent = uuid7()

    await alice.call(MessageSend(conversation=direct, message=sent, content="hi"))

    assert sent == (await bob.next(Message)).message
    assert sent == (await phone.next(Message)).message


async def test_a_stranger_is_told_that_there_is_no_such_conversation(
    direct: UUID, carol: Client, alice: Client
) -> None:
    with pytest.raises(CommandFailed, match="not_found"):
        await carol.call(MessageSend(conversation=direct, message=uuid7(), content="hi"))


async def test_the_rows_are_right_after_a_send(
    direct: UUID, alice: Client, bob: Client, db: "Connection[Record]"
) -> None:
    sent = uuid7()

    reply = await alice.call(MessageSend(conversation=direct, message=sent, content="hi"))

    row = await db.fetchrow("SELECT * FROM messages.messages WHERE id = $1", sent)
    assert row is not None
    assert (alice.user, bob.user, "hi", 1) == (row["from_user_id"], row["to_user_id"], row["content"], row["seq"])
    assert [(bob.user, "sent")] == [
        (r["user_id"], r["status"])
        for r in await db.fetch("SELECT * FROM messages.delivery_tracking WHERE message_id = $1", sent)
    ]
    conversation = await db.fetchrow("SELECT * FROM messages.conversations WHERE id = $1", direct)
    assert conversation is not None
    assert (sent, reply.created_at.replace(tzinfo=None)) == (
        conversation["last_message_id"],
        conversation["last_message_at"],
    )
