"""One's conversations, the one with the latest message first."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import ConversationList, MessageRead, MessageSend
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.world import Worker, World


async def test_a_newcomer_has_none(alice: Client) -> None:
    page = await alice.call(ConversationList())

    assert ([], None) == (page.conversations, page.next)


async def test_the_one_with_the_latest_message_comes_first(people: World, alice: Client, bob: Client) -> None:
    older = await people.conversation("group", alice, bob)
    newer = await people.conversation("group", alice, bob)
    before = [summary.conversation for summary in (await alice.call(ConversationList())).conversations]

    await bob.call(MessageSend(conversation=older, message=uuid7(), content="up again"))

    after = [summary.conversation for summary in (await alice.call(ConversationList())).conversations]
    assert ([newer, older], [older, newer]) == (before, after)


async def test_a_summary_tells_where_one_stands(direct: UUID, alice: Client, bob: Client) -> None:
    sent = uuid7()
    for message in (uuid7(), sent):
        reply = await bob.call(MessageSend(conversation=direct, message=message, content="hi"))
    await alice.call(MessageRead(conversation=direct, seq=1))

    (summary,) = (await alice.call(ConversationList())).conversations

    assert (direct, "direct", "member", bob.user) == (
        summary.conversation,
        summary.type,
        summary.role,
        summary.peer,
    )
    assert (2, 1, 1) == (summary.last_seq, summary.read_seq, summary.delivered_seq)
    assert (sent, reply.created_at) == (summary.last_message, summary.last_message_at)


async def test_pages_cover_all_of_them_once(people: World, alice: Client, bob: Client) -> None:
    created = [await people.room("group", alice.user, bob.user) for _ in range(5)]

    listed, pages, after = [], 0, None
    while pages == 0 or after:
        page = await alice.call(ConversationList(limit=2, after=after))
        listed += [summary.conversation for summary in page.conversations]
        pages, after = pages + 1, page.next

    assert 3 == pages
    assert created[::-1] == listed


async def test_what_one_left_and_what_is_deleted_is_not_listed(
    people: World, alice: Client, bob: Client, db: Sql
) -> None:
    left, deleted, kept = [await people.room("group", alice.user, bob.user) for _ in range(3)]

    await other_service.remove(db, left, bob.user)
    await other_service.close(db, deleted)

    page = await bob.call(ConversationList())
    assert [kept] == [summary.conversation for summary in page.conversations]


async def test_others_conversations_are_not_listed(group: UUID, people: World, worker: Worker) -> None:
    stranger = await people.person("Stranger", worker)

    assert [] == (await stranger.call(ConversationList())).conversations


@pytest.mark.parametrize(
    "after", ["nonsense", "2026-01-01T00:00:00+00:00|nobody", "|", "9999-12-31T23:59:59-23:59|" + "0" * 32]
)
async def test_a_place_that_is_none_is_refused_by_name(alice: Client, after: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        await alice.call(ConversationList(after=after))

    assert ("bad_field", "$.after") == (failed.value.code, failed.value.field)
