"""Creating: a direct conversation is the pair's only one, groups and channels have the id that was chosen."""

import asyncio
import json
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import ConversationCreate, ConversationGet, MessageSend
from echo_ws_protocol.events import Membership, Message
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.types import ConversationType
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.roll import check_list, members, reluctant
from tests.support.waiting import heard, until
from tests.support.world import Worker, World


def direct_with(user: UUID) -> ConversationCreate:
    return ConversationCreate(conversation=uuid7(), type="direct", participants=[user])


async def test_a_group_has_the_id_that_was_chosen_and_its_creator_as_admin(alice: Client, bob: Client, db: Sql) -> None:
    chosen = uuid7()

    created = await alice.call(
        ConversationCreate(conversation=chosen, type="group", participants=[bob.user], name="Reading club")
    )

    assert (chosen, True) == (created.conversation, created.created)
    row = await db.fetchrow("SELECT * FROM messages.conversations WHERE id = $1", chosen)
    assert row is not None
    assert ("group", "Reading club", alice.user) == (row["type"], row["name"], row["created_by"])
    participants = json.loads(row["participants"])
    assert {str(alice.user), str(bob.user)} == set(participants["user_ids"])
    assert ([str(alice.user)], []) == (participants["admins"], participants["muted"])


async def test_all_who_take_part_are_told_at_once_on_every_device(
    alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    phone = await people.device(bob.user, worker, codec="msgpack")

    created = await alice.call(ConversationCreate(conversation=uuid7(), type="group", participants=[bob.user]))

    roles = {}
    for name, device in {"alice": alice, "bob": bob, "phone": phone}.items():
        told = await device.next(Membership)
        assert created.conversation == told.conversation
        roles[name] = told.role
    assert {"alice": "admin", "bob": "member", "phone": "member"} == roles


async def test_a_direct_conversation_has_two_equals(alice: Client, bob: Client) -> None:
    created = await alice.call(direct_with(bob.user))

    details = await bob.call(ConversationGet(conversation=created.conversation))

    assert {"member"} == {person.role for person in details.participants}
    assert alice.user == details.conversation.peer


async def test_a_pair_has_one_direct_conversation_whoever_asks(alice: Client, bob: Client) -> None:
    first = await alice.call(direct_with(bob.user))
    second = await bob.call(direct_with(alice.user))

    assert (first.conversation, False) == (second.conversation, second.created)


async def test_eight_racers_get_one_direct_conversation(alice: Client, bob: Client, db: Sql) -> None:
    racers = [(alice, bob.user), (bob, alice.user)] * 4

    created = await asyncio.gather(*(racer.call(direct_with(other)) for racer, other in racers))

    assert 1 == len({answer.conversation for answer in created})
    assert 1 == sum(answer.created for answer in created)
    assert 1 == await db.fetchval(
        "SELECT count(*) FROM messages.conversations WHERE participants -> 'user_ids' @> to_jsonb($1::text)",
        str(alice.user),
    )
    assert 1 == len(await heard(bob, Membership))


async def test_a_pair_that_another_service_brings_together_in_the_same_moment_has_one_conversation(
    alice: Client, bob: Client, people: World, db: Sql
) -> None:
    theirs = uuid7()
    async with db.transaction():
        await db.execute(
            """
            INSERT INTO messages.conversations (id, type, participants)
            VALUES ($1, 'direct', jsonb_build_object('user_ids', jsonb_build_array($2::text, $3::text)))
            """,
            theirs,
            str(alice.user),
            str(bob.user),
        )
        creating = asyncio.create_task(alice.call(direct_with(bob.user)))
        await until(lambda: people.store.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    created = await creating

    assert (theirs, False) == (created.conversation, created.created)


async def test_a_direct_conversation_with_oneself_is_a_notebook(alice: Client) -> None:
    created = await alice.call(direct_with(alice.user))
    await alice.next(Membership)

    await alice.call(MessageSend(conversation=created.conversation, message=uuid7(), content="buy milk"))

    assert "buy milk" == (await alice.next(Message)).content
    details = await alice.call(ConversationGet(conversation=created.conversation))
    assert alice.user == details.conversation.peer


async def test_a_deleted_direct_conversation_revives_for_both(
    direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    await other_service.close(db, direct)

    again = await alice.call(direct_with(bob.user))
    for person in (alice, bob):
        await person.next(Membership)
    sent = uuid7()
    await bob.call(MessageSend(conversation=direct, message=sent, content="still there?"))

    assert direct == again.conversation
    for person in (alice, bob):
        assert sent == (await person.next(Message)).message


async def test_creating_again_changes_nothing(alice: Client, bob: Client, db: Sql) -> None:
    command = ConversationCreate(conversation=uuid7(), type="group", participants=[bob.user], name="Reading club")
    await alice.call(command)
    before = await db.fetchrow("SELECT * FROM messages.heads WHERE conversation_id = $1", command.conversation)

    again = await alice.call(command)

    assert (command.conversation, False) == (again.conversation, again.created)
    assert before == await db.fetchrow("SELECT * FROM messages.heads WHERE conversation_id = $1", command.conversation)
    assert 1 == len(await heard(bob, Membership))


async def test_the_same_creation_eight_times_at_once_creates_once(alice: Client, bob: Client) -> None:
    command = ConversationCreate(conversation=uuid7(), type="group", participants=[bob.user])

    answers = await asyncio.gather(*(alice.call(command) for _ in range(8)))

    assert {command.conversation} == {answer.conversation for answer in answers}
    assert 1 == sum(answer.created for answer in answers)


@pytest.mark.parametrize("type_", ["direct", "group"])
async def test_a_retry_gets_the_first_answer_also_after_somebodys_account_is_gone(
    type_: ConversationType, alice: Client, people: World, db: Sql
) -> None:
    command = ConversationCreate(conversation=uuid7(), type=type_, participants=[await people.user("Going")])
    await alice.call(command)
    await db.execute("UPDATE auth.users SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1", command.participants[0])

    again = await alice.call(command)

    assert (command.conversation, False) == (again.conversation, again.created)


async def test_an_id_that_somebody_else_uses_is_a_conflict_that_tells_nothing(
    group: UUID, people: World, worker: Worker
) -> None:
    stranger = await people.person("Stranger", worker)

    with pytest.raises(CommandFailed) as failed:
        await stranger.call(ConversationCreate(conversation=group, type="group"))

    assert ("id_conflict", "rejected") == (failed.value.code, failed.value.outcome)
    assert str(group) not in str(failed.value)


async def test_with_somebody_who_does_not_exist_nothing_is_created(alice: Client, db: Sql) -> None:
    command = direct_with(uuid7())

    with pytest.raises(CommandFailed, match="not_found"):
        await alice.call(command)

    assert not await db.fetchval("SELECT count(*) FROM messages.conversations WHERE id = $1", command.conversation)


@pytest.mark.parametrize("type_", ["group", "channel"])
async def test_who_cannot_be_invited_is_named_and_the_others_come(
    type_: ConversationType, alice: Client, bob: Client, people: World, db: Sql
) -> None:
    unwilling = [*await reluctant(people, db, alice.user), uuid7()]
    command = ConversationCreate(conversation=uuid7(), type=type_, participants=[bob.user, *unwilling])

    answers = [await alice.call(command) for _ in range(2)]

    assert [(True, set(unwilling)), (False, set(unwilling))] == [(a.created, set(a.refused)) for a in answers]
    assert {alice.user, bob.user} == await members(db, command.conversation)
    await check_list(db, command.conversation)


async def test_a_channel_has_its_creator_as_admin_and_the_others_as_readers(
    alice: Client, bob: Client, people: World, db: Sql
) -> None:
    channel = await people.conversation("channel", alice, bob)

    with pytest.raises(CommandFailed, match="forbidden"):
        await bob.call(MessageSend(conversation=channel, message=uuid7(), content="may I?"))
    await alice.call(MessageSend(conversation=channel, message=uuid7(), content="hear, hear"))

    assert "hear, hear" == (await bob.next(Message)).content
    listed = json.loads(await db.fetchval("SELECT participants FROM messages.conversations WHERE id = $1", channel))
    assert {"user_ids": [str(alice.user)], "admins": [str(alice.user)], "muted": []} == listed


async def test_a_group_has_so_many_participants_and_no_more(people: World) -> None:
    small = await people.worker(group_max=3)
    alice = await people.person("Alice", small)
    others = [await people.user() for _ in range(3)]

    with pytest.raises(CommandFailed, match="more participants"):
        await alice.call(ConversationCreate(conversation=uuid7(), type="group", participants=others))

    assert (await alice.call(ConversationCreate(conversation=uuid7(), type="group", participants=others[:2]))).created
    assert (await alice.call(ConversationCreate(conversation=uuid7(), type="channel", participants=others))).created


async def test_nobody_can_begin_to_talk_to_a_deleted_account(alice: Client, people: World, db: Sql) -> None:
    gone = await people.user("Gone")
    await db.execute("UPDATE auth.users SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1", gone)

    with pytest.raises(CommandFailed, match="not_found"):
        await alice.call(direct_with(gone))


async def test_the_id_of_one_pair_is_a_conflict_for_another(alice: Client, bob: Client, carol: Client) -> None:
    with_bob = await alice.call(direct_with(bob.user))

    with pytest.raises(CommandFailed, match="id_conflict"):
        await alice.call(
            ConversationCreate(conversation=with_bob.conversation, type="direct", participants=[carol.user])
        )


@pytest.mark.parametrize("others", [0, 2])
async def test_a_direct_conversation_takes_exactly_one_other(alice: Client, others: int) -> None:
    with pytest.raises(CommandFailed) as failed:
        await alice.call(
            ConversationCreate(conversation=uuid7(), type="direct", participants=[uuid7() for _ in range(others)])
        )

    assert ("bad_field", "$.participants") == (failed.value.code, failed.value.field)


async def test_a_direct_conversation_has_no_name_of_its_own(alice: Client, bob: Client) -> None:
    with pytest.raises(CommandFailed) as failed:
        await alice.call(
            ConversationCreate(conversation=uuid7(), type="direct", participants=[bob.user], name="The two of us")
        )

    assert ("bad_field", "$.name") == (failed.value.code, failed.value.field)


async def test_somebody_named_twice_takes_part_once(alice: Client, bob: Client) -> None:
    created = await alice.call(
        ConversationCreate(conversation=uuid7(), type="group", participants=[bob.user, bob.user, alice.user])
    )

    details = await alice.call(ConversationGet(conversation=created.conversation))

    assert {alice.user, bob.user} == {person.user for person in details.participants}
    assert 2 == len(details.participants)
