"""Sending: stored, numbered, and seen by every device of every participant."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import ConversationCreate, MessageDelete, MessageEdit, MessageSend
from echo_ws_protocol.events import Membership, Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import heard
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


async def test_the_rows_are_right_after_a_send(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
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


async def test_sending_again_stores_nothing_and_gets_the_first_answer(
    direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    """B16"""
    command = MessageSend(conversation=direct, message=uuid7(), content="hi")
    first = await alice.call(command)

    again = await alice.call(command)

    assert first == again
    assert 1 == await db.fetchval("SELECT count(*) FROM messages.messages WHERE conversation_id = $1", direct)
    assert 1 == len(await heard(bob, Message))


async def test_the_same_send_eight_times_at_once_is_one_message(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    """B16"""
    phone = await people.device(alice.user, worker)
    command = MessageSend(conversation=direct, message=uuid7(), content="hi")

    answers = await asyncio.gather(*(device.call(command) for device in (alice, phone) * 4))

    assert {1} == {answer.seq for answer in answers}
    assert 1 == len({answer.created_at for answer in answers})
    assert 1 == len(await heard(bob, Message))


@pytest.mark.parametrize("change", ["edited", "deleted", "left", "silenced"])
async def test_a_retry_gets_the_first_answer_whatever_happened_since(
    change: str, group: UUID, bob: Client, db: Sql
) -> None:
    command = MessageSend(conversation=group, message=uuid7(), content="hi")
    first = await bob.call(command)
    match change:
        case "edited":
            await bob.call(MessageEdit(conversation=group, message=command.message, content="hello"))
        case "deleted":
            await bob.call(MessageDelete(conversation=group, message=command.message))
        case "left":
            await other_service.remove(db, group, bob.user)
        case "silenced":
            await other_service.silence(db, group, bob.user)

    assert first == await bob.call(command)


async def test_somebody_elses_id_is_a_conflict_that_tells_nothing(
    group: UUID, alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    """B16"""
    taken = uuid7()
    await alice.call(MessageSend(conversation=group, message=taken, content="a secret"))
    stranger = await people.person("Stranger", worker)
    elsewhere = await people.conversation("group", stranger)

    for person, conversation in ((bob, group), (stranger, elsewhere), (stranger, group)):
        with pytest.raises(CommandFailed) as failed:
            await person.call(MessageSend(conversation=conversation, message=taken, content="a secret"))

        assert ("id_conflict", "rejected", None) == (failed.value.code, failed.value.outcome, failed.value.field)
        assert "secret" not in str(failed.value)


async def test_ones_own_id_in_another_conversation_is_a_conflict(group: UUID, direct: UUID, alice: Client) -> None:
    """B16"""
    taken = uuid7()
    await alice.call(MessageSend(conversation=group, message=taken, content="hi"))

    with pytest.raises(CommandFailed, match="id_conflict"):
        await alice.call(MessageSend(conversation=direct, message=taken, content="hi"))


async def test_a_stranger_cannot_tell_a_conversation_from_none(direct: UUID, carol: Client, alice: Client) -> None:
    failures = []
    for conversation in (direct, uuid7()):
        with pytest.raises(CommandFailed) as failed:
            await carol.call(MessageSend(conversation=conversation, message=uuid7(), content="hi"))
        failures.append(failed.value.failure)

    assert failures[0] == failures[1]


async def test_a_silenced_member_is_forbidden_to_speak(group: UUID, bob: Client, alice: Client, db: Sql) -> None:
    await other_service.silence(db, group, bob.user)

    with pytest.raises(CommandFailed, match="forbidden"):
        await bob.call(MessageSend(conversation=group, message=uuid7(), content="hi"))

    assert [] == await heard(alice, Message)


async def test_a_channels_reader_hears_and_is_forbidden_to_speak(
    people: World, alice: Client, bob: Client, db: Sql
) -> None:
    channel = await people.conversation("channel", alice)
    await other_service.add_reader(db, channel, bob.user)
    await bob.next(Membership)

    with pytest.raises(CommandFailed, match="forbidden"):
        await bob.call(MessageSend(conversation=channel, message=uuid7(), content="hi"))
    await alice.call(MessageSend(conversation=channel, message=uuid7(), content="news"))

    assert "news" == (await bob.next(Message)).content


async def test_one_who_was_removed_can_speak_no_more(group: UUID, bob: Client, alice: Client, db: Sql) -> None:
    await other_service.remove(db, group, bob.user)

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(MessageSend(conversation=group, message=uuid7(), content="hi"))


async def test_nobody_speaks_in_a_deleted_conversation(group: UUID, alice: Client, db: Sql) -> None:
    await other_service.close(db, group)

    with pytest.raises(CommandFailed, match="not_found"):
        await alice.call(MessageSend(conversation=group, message=uuid7(), content="hi"))


async def test_a_reply_says_to_what_and_is_found_in_the_thread(
    direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    question, reply = uuid7(), uuid7()
    await alice.call(MessageSend(conversation=direct, message=question, content="tea?"))

    await bob.call(MessageSend(conversation=direct, message=reply, content="yes", reply_to=question))

    assert question == (await alice.next(Message, lambda message: message.message == reply)).reply_to
    assert question == await db.fetchval("SELECT reply_to_id FROM messages.messages WHERE id = $1", reply)
    assert [(question, reply)] == [
        tuple(row)
        for row in await db.fetch(
            "SELECT parent_message_id, reply_message_id FROM messages.threads WHERE parent_message_id = $1", question
        )
    ]


async def test_a_reply_across_conversations_is_refused_as_if_there_were_no_such_message(
    group: UUID, direct: UUID, alice: Client, bob: Client
) -> None:
    elsewhere = uuid7()
    await alice.call(MessageSend(conversation=group, message=elsewhere, content="hi"))

    failures = []
    for target in (elsewhere, uuid7()):
        with pytest.raises(CommandFailed, match="not_found") as failed:
            await bob.call(MessageSend(conversation=direct, message=uuid7(), content="what?", reply_to=target))
        failures.append(failed.value.failure)

    assert failures[0] == failures[1]
    assert "$.reply_to" == failures[0].field


async def test_what_one_may_not_read_cannot_be_replied_to(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    before = uuid7()
    await alice.call(MessageSend(conversation=group, message=before, content="hi"))
    await db.execute("UPDATE messages.members SET joined_seq = 1 WHERE user_id = $1", bob.user)

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(MessageSend(conversation=group, message=uuid7(), content="what?", reply_to=before))


async def test_a_refused_send_takes_no_number(direct: UUID, alice: Client, bob: Client, carol: Client) -> None:
    for sender, reply_to in ((carol, None), (alice, uuid7())):
        with pytest.raises(CommandFailed):
            await sender.call(MessageSend(conversation=direct, message=uuid7(), content="hi", reply_to=reply_to))

    answer = await alice.call(MessageSend(conversation=direct, message=uuid7(), content="hi"))

    assert 1 == answer.seq


async def test_text_comes_out_as_it_went_in(direct: UUID, alice: Client, bob: Client) -> None:
    texts = ["👩‍👩‍👧 \u202egnirts", "'; DROP TABLE users; --", "\n\t\r\x7f\x01", "ﷺ" * 4096, "\ufeff \u2028 e\u0301"]

    for text in texts:
        await alice.call(MessageSend(conversation=direct, message=uuid7(), content=text))

    assert texts == [(await bob.next(Message)).content for _ in texts]


async def test_a_channel_writes_no_delivery_rows(people: World, alice: Client, bob: Client, db: Sql) -> None:
    channel = await people.conversation("channel", alice, bob)
    sent = uuid7()

    await alice.call(MessageSend(conversation=channel, message=sent, content="news"))

    assert 0 == await db.fetchval("SELECT count(*) FROM messages.delivery_tracking WHERE message_id = $1", sent)


async def test_in_a_notebook_the_message_is_for_oneself(alice: Client, db: Sql) -> None:
    notebook = await alice.call(ConversationCreate(conversation=uuid7(), type="direct", participants=[alice.user]))
    sent = uuid7()

    await alice.call(MessageSend(conversation=notebook.conversation, message=sent, content="buy milk"))

    assert alice.user == await db.fetchval("SELECT to_user_id FROM messages.messages WHERE id = $1", sent)
    assert 0 == await db.fetchval("SELECT count(*) FROM messages.delivery_tracking WHERE message_id = $1", sent)
