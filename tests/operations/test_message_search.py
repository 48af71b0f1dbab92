"""Searching finds what one may read, as people type it, and nothing else."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    ContactBlock,
    MessageDelete,
    MessageEdit,
    MessageHide,
    MessageSearch,
)
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.doors import line
from tests.support.other_service import Sql
from tests.support.talk import say_each
from tests.support.world import UNLIMITED, Worker, World


async def found(person: Client, query: str, **where: object) -> list[str]:
    page = await person.call(MessageSearch(query=query, **{"order": "newest", **where}))  # type: ignore[arg-type]  # fields
    return [hit.message.content for hit in page.found]


async def marked(person: Client, query: str) -> list[list[str]]:
    page = await person.call(MessageSearch(query=query))
    return [[hit.message.content[mark.start : mark.end] for mark in hit.marks] for hit in page.found]


async def refusal(person: Client, query: str) -> str | None:
    """Return the code of the error, if a query is refused."""
    try:
        assert [] == await found(person, query)
    except CommandFailed as failed:
        return failed.code
    return None


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("we were running late", "run"),
        ("we were running late", "running late"),
        ("we were running late", "LATE"),
        ("a run in the park", "running "),
        ("conversations", "conv"),
        ("conversations", "conversation "),
        ("the", "the"),
        ("to be or not to be", '"or not to"'),
        ("Grüße aus München", "munchen"),
        ("Grüße aus Munchen", "MÜNCHEN"),
        ("die Straße", "strasse"),
        ("cafe\u0301 au lait", "café"),
        ("кошки и собаки", "кошка "),
        ("ёлка", "елка"),
        ("今日は天気がいい", "天気"),
        ("今日は天気がいい", "天"),
        ("วันนี้อากาศดี", "อากาศ"),
        ("학교에서 만나요", "학교"),
        ("see https://example.org/some/path_to?x=1", "path"),
        ("see https://example.org/some/path_to?x=1", "example.org"),
        ("mail to foo.bar@example.org", "foo.bar@example.org "),
        ("an e-mail", "e-mail"),
        ("<b>bold</b> &amp; so on", "bold"),
        ("room 42", "42"),
        ("it's mine", "it's"),
        ("מה שלומך", "שלומך"),
        ("tea and cake", "coffee OR cake"),
        ("tea and cake", "tea -milk"),
        ("tea and cake", "“and cake”"),
    ],
)
async def test_a_message_is_found_by_what_people_type(text: str, query: str, direct: UUID, alice: Client) -> None:
    await say_each(alice, direct, "something else", text)

    assert [text] == await found(alice, query)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("running", "late"),
        ("running late", "running early"),
        ("late running", '"running late"'),
        ("tea with milk", "tea -milk"),
        ("tea with milk", 'tea -"with milk"'),
        ("conversations", "conv "),
        ("天文", "天気"),
        ("runway", "running "),
    ],
)
async def test_a_message_is_not_found_by_something_else(text: str, query: str, direct: UUID, alice: Client) -> None:
    await say_each(alice, direct, text)

    assert [] == await found(alice, query)


@pytest.mark.parametrize(
    ("text", "query", "marks"),
    [
        ("We ran, are running, will run.", "run", ["running", "run"]),
        ("Grüße aus MÜNCHEN!", "munch", ["MÜNCHEN"]),
        ("👍🏽 tea — and more tea", "tea ", ["tea", "tea"]),
        ("今日は天気がいい", "天気", ["天気"]),
        ("foo.bar@example.org", "foo.bar@example.org ", ["foo", "bar", "example", "org"]),
        ("tea and cake", "tea -milk", ["tea"]),
        ("<b>teapot</b>", "tea", ["teapot"]),
    ],
)
async def test_what_was_asked_for_is_marked(
    text: str, query: str, marks: list[str], direct: UUID, alice: Client
) -> None:
    await say_each(alice, direct, text)

    assert marks == [mark for hit in await marked(alice, query) for mark in hit]


async def test_the_best_come_first_and_of_equals_the_newest(direct: UUID, alice: Client) -> None:
    await say_each(
        alice, direct, "tea", "a lot of words that have to do with tea and little else", "tea tea tea", "tea"
    )

    page = await alice.call(MessageSearch(query="tea"))

    assert [3, 4, 1, 2] == [hit.message.seq for hit in page.found]


@pytest.mark.parametrize("order", ["best", "newest"])
async def test_pages_meet_every_message_once_while_others_write(
    order: str, direct: UUID, group: UUID, alice: Client, bob: Client
) -> None:
    await say_each(alice, direct, *(f"tea {n}" for n in range(5)))
    await say_each(alice, group, *(f"tea tea {n}" for n in range(5)))

    seen: list[str] = []
    cursor = None
    while True:
        page = await bob.call(MessageSearch(query="tea", order=order, limit=3, cursor=cursor))  # type: ignore[arg-type]  # a word of the protocol
        seen += [hit.message.content for hit in page.found]
        await say_each(alice, direct, "tea, later")
        if not (cursor := page.next):
            break

    assert {*(f"tea {n}" for n in range(5)), *(f"tea tea {n}" for n in range(5))} == set(seen)
    assert 10 == len(seen)


async def test_messages_that_were_written_at_once_are_each_met_once(direct: UUID, alice: Client, db: Sql) -> None:
    await say_each(alice, direct, *(f"tea {n}" for n in range(30)))
    await db.execute("UPDATE messages.messages SET created_at = '2026-01-01' WHERE conversation_id = $1", direct)

    seen: list[int] = []
    cursor, more = None, True
    while more:
        page = await alice.call(MessageSearch(query="tea", order="newest", limit=7, cursor=cursor))
        seen += [hit.message.seq for hit in page.found]
        cursor, more = page.next, page.next is not None

    assert list(range(30, 0, -1)) == seen


async def test_filters_narrow_the_search(direct: UUID, group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await say_each(alice, direct, "tea in two")
    await say_each(alice, group, "tea in three")
    (picture,) = await say_each(bob, group, "tea by Bob")
    await db.execute(
        "UPDATE messages.messages SET type = 'image', created_at = '2020-02-02 12:00' WHERE id = $1", picture
    )
    noon = datetime(2020, 2, 2, 12, tzinfo=UTC)

    assert ["tea in two"] == await found(alice, "tea", conversation=direct)
    assert ["tea by Bob"] == await found(alice, "tea", sender=bob.user)
    assert ["tea by Bob"] == await found(alice, "tea", type="image")
    assert ["tea by Bob"] == await found(alice, "tea", before=noon + timedelta(seconds=1))
    assert [] == await found(alice, "tea", before=noon)
    assert ["tea by Bob"] == await found(alice, "tea", after=noon, before=noon + timedelta(seconds=1))
    assert ["tea in three", "tea in two"] == await found(alice, "tea", after=noon + timedelta(seconds=1))
    assert [] == await found(alice, "tea", sender=uuid7())


async def test_a_stranger_finds_nothing_and_is_told_nothing(
    direct: UUID, alice: Client, people: World, worker: Worker
) -> None:
    await say_each(alice, direct, "xyzzy")
    stranger = await people.person("Stranger", worker)

    assert [] == await found(stranger, "xyzzy")
    for conversation in (direct, uuid7()):
        with pytest.raises(CommandFailed, match="not_found"):
            await found(stranger, "xyzzy", conversation=conversation)


async def test_an_edit_is_found_by_what_it_says_now(direct: UUID, alice: Client) -> None:
    (message,) = await say_each(alice, direct, "tea")

    await alice.call(MessageEdit(conversation=direct, message=message, content="coffee"))

    assert [] == await found(alice, "tea")
    assert ["coffee"] == await found(alice, "coffee")


async def test_what_was_deleted_hidden_or_erased_is_not_found(
    direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    deleted, hidden, erased, _ = await say_each(alice, direct, "tea 1", "tea 2", "tea 3", "tea 4")

    await alice.call(MessageDelete(conversation=direct, message=deleted))
    await bob.call(MessageHide(conversation=direct, message=hidden))
    await other_service.erase(db, erased)

    assert ["tea 4"] == await found(bob, "tea")
    assert ["tea 4", "tea 2"] == await found(alice, "tea")


async def test_what_was_withheld_is_not_even_counted(direct: UUID, alice: Client, bob: Client) -> None:
    await say_each(alice, direct, "tea before")
    await bob.call(ContactBlock(user=alice.user))
    await say_each(alice, direct, "tea meanwhile")
    await bob.call(ContactBlock(user=alice.user, on=False))

    page = await bob.call(MessageSearch(query="tea", limit=1))

    assert (["tea before"], None) == ([hit.message.content for hit in page.found], page.next)
    assert ["tea meanwhile", "tea before"] == await found(alice, "tea")


async def test_one_who_left_finds_what_was_there_until_then(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    _, changed = await say_each(alice, group, "tea early", "tea changed later")
    await other_service.remove(db, group, bob.user)
    await say_each(alice, group, "tea late")
    await alice.call(MessageEdit(conversation=group, message=changed, content="tea changed"))

    assert ["tea early"] == await found(bob, "tea")
    assert ["tea early"] == await found(bob, "tea", conversation=group)


async def test_where_the_past_is_closed_it_is_not_found(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await say_each(alice, group, "tea before", "tea after")
    await db.execute("UPDATE messages.members SET joined_seq = 1 WHERE user_id = $1", bob.user)

    assert ["tea after"] == await found(bob, "tea")


async def test_one_who_came_back_finds_each_message_once(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await say_each(alice, group, "tea 1")
    await other_service.remove(db, group, bob.user)
    await say_each(alice, group, "tea 2")
    await other_service.add(db, group, bob.user)

    assert ["tea 2", "tea 1"] == await found(bob, "tea")


async def test_a_deleted_conversation_is_not_searched(direct: UUID, alice: Client, db: Sql) -> None:
    await say_each(alice, direct, "tea")
    await other_service.close(db, direct)

    assert [] == await found(alice, "tea")
    with pytest.raises(CommandFailed, match="not_found"):
        await found(alice, "tea", conversation=direct)


async def test_what_another_service_writes_is_found(direct: UUID, alice: Client, db: Sql) -> None:
    await other_service.post(db, direct, alice.user, "tea from elsewhere")

    assert ["tea from elsewhere"] == await found(alice, "tea")


async def test_a_very_long_text_of_another_service_is_stored_and_found_by_its_beginning(
    direct: UUID, alice: Client, db: Sql
) -> None:
    await other_service.post(db, direct, alice.user, "tea " + "w\u00e4sser " * 500_000)

    page = await alice.call(MessageSearch(query="tea"))

    assert 1 == len(page.found)


@pytest.mark.parametrize(
    ("query", "expected"),
    [("👍", "name a word"), ("-tea", "name a word"), ('""', "name a word"), ("a " * 100, "at most 16")],
)
async def test_a_query_without_a_word_or_with_too_many_is_refused(query: str, expected: str, alice: Client) -> None:
    with pytest.raises(CommandFailed, match=expected) as failed:
        await found(alice, query)

    assert ("bad_field", "$.query") == (failed.value.code, failed.value.field)


@pytest.mark.parametrize("cursor", ["x", "1|2|3|4|5", "||||", f"0|2026-01-01|{UUID(int=1)}|{2**70}|2026-01-01"])
async def test_a_cursor_of_ones_own_is_refused(cursor: str, alice: Client) -> None:
    with pytest.raises(CommandFailed) as failed:
        await found(alice, "tea", cursor=cursor)

    assert ("bad_field", "$.cursor") == (failed.value.code, failed.value.field)


async def test_searches_have_a_limit_of_their_own(people: World, alice: Client) -> None:
    worker = await people.worker(**UNLIMITED | {"searches_per_s": 1, "searches_burst": 2})
    async with line(worker, await people.token(alice.user)) as script:
        replies = [await script.ask({"op": "message.search", "query": "tea"}) for _ in range(3)]
        other = await script.ask({"op": "conversation.list"})

    assert [None, None, "rate_limited"] == [reply.get("error", {}).get("code") for reply in replies]
    assert "ok" in other


async def test_a_search_that_takes_too_long_says_what_to_do(
    direct: UUID, people: World, alice: Client, db: Sql
) -> None:
    worker = await people.worker(statement_timeout_ms=50)
    searching = await people.device(alice.user, worker)
    await say_each(alice, direct, "tea")
    async with db.transaction():
        await db.execute("LOCK TABLE messages.hidden IN ACCESS EXCLUSIVE MODE")

        with pytest.raises(CommandFailed, match="took too long") as failed:
            await found(searching, "tea")

    assert ("busy", "retry") == (failed.value.code, failed.value.outcome)


STRANGE = st.text(
    st.one_of(
        st.sampled_from("\"'-&|!<>():*\\ \t\nORaäß天ก👍\u202e\u0301%;$ǂ"), st.characters(exclude_categories=["Cs"])
    ),
    min_size=1,
    max_size=256,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=STRANGE.filter(lambda text: "\0" not in text))
async def test_no_query_is_an_error_of_the_server(query: str, direct: UUID, alice: Client) -> None:
    assert await refusal(alice, query) in {None, "bad_field"}


@pytest.mark.parametrize(
    "query",
    [
        "'",
        "''",
        "\\",
        "-- ;",
        "tea'; DROP TABLE x; --",
        "a:*",
        "!" * 256,
        "(((a",
        "a & | b",
        "OR OR OR a",
        "\u202eaet",
        "<->",
        "a <-> b",
    ],
)
async def test_operators_of_postgresql_mean_nothing(query: str, direct: UUID, alice: Client) -> None:
    await say_each(alice, direct, "something")

    assert await refusal(alice, query) in {None, "bad_field"}
