"""What a message said before it was edited."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageEdit, MessageEdits, MessageHide
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import kept_back, say


async def versions(person: Client, conversation: UUID, message: UUID) -> list[str]:
    page = await person.call(MessageEdits(conversation=conversation, message=message))
    return [edit.content for edit in page.edits]


async def edit(person: Client, conversation: UUID, message: UUID, content: str) -> None:
    await person.call(MessageEdit(conversation=conversation, message=message, content=content))


async def test_all_versions_are_kept_with_their_times(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    message = await say(alice, direct, "one")
    for content in ("two", "two", "three"):
        await edit(alice, direct, message, content)

    edits = (await bob.call(MessageEdits(conversation=direct, message=message))).edits

    assert ["one", "two"] == [each.content for each in edits]
    sent_at = await db.fetchval("SELECT created_at FROM messages.messages WHERE id = $1", message)
    assert sent_at == edits[0].written_at.replace(tzinfo=None) < edits[1].written_at.replace(tzinfo=None)


async def test_a_message_that_was_never_edited_has_none(direct: UUID, alice: Client, bob: Client) -> None:
    assert [] == await versions(bob, direct, await say(alice, direct, "one"))


async def test_what_another_service_rewrites_is_kept_too(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    message = await say(alice, direct, "one")

    await other_service.rewrite(db, message, "two")

    assert ["one"] == await versions(bob, direct, message)


async def test_no_more_than_a_hundred_are_kept(direct: UUID, alice: Client, db: Sql) -> None:
    message = await say(alice, direct, "0")

    for n in range(1, 106):
        await other_service.rewrite(db, message, str(n))

    assert [str(n) for n in range(5, 105)] == await versions(alice, direct, message)


async def test_they_are_gone_with_the_message(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    message = await say(alice, direct, "one")
    await edit(alice, direct, message, "two")

    await alice.call(MessageDelete(conversation=direct, message=message))

    assert 0 == await db.fetchval("SELECT count(*) FROM messages.edits WHERE message_id = $1", message)
    with pytest.raises(CommandFailed, match="not_found"):
        await versions(bob, direct, message)


async def test_who_may_not_read_the_message_reads_no_version_of_it(
    direct: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    early, hidden = await say(alice, direct, "early"), await say(alice, direct, "hidden")
    withheld = await kept_back(alice, bob, direct)
    for message in (early, hidden, withheld):
        await edit(alice, direct, message, "changed")  # by one who is blocked: kept back from now on
    await bob.call(MessageHide(conversation=direct, message=hidden))

    assert ["early"] == await versions(alice, direct, early)
    for person, message in ((bob, early), (bob, hidden), (bob, withheld), (carol, early)):
        with pytest.raises(CommandFailed, match="not_found"):
            await versions(person, direct, message)
