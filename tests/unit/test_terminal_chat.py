from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from echo_ws_protocol.events import Contact, Conversation, Member, Message, Presence, Receipt, Typing
from scripts.terminal_chat import words
from scripts.terminal_chat.screen import Line, Screen
from scripts.terminal_chat.words import clean

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ME, BOB, CAROL, HERE = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=9)


@pytest.fixture
def screen() -> Screen:
    return Screen(ME, {ME: "alice", BOB: "bob", CAROL: "carol"})


def message(seq: int, sender: UUID = BOB, content: str = "hi", **changes: Any) -> Message:
    plain = Message(
        conversation=HERE,
        message=UUID(int=seq),
        seq=seq,
        rev=seq,
        sender=sender,
        type="text",
        content=content,
        created_at=NOON,
    )
    return replace(plain, **changes)


def receipt(user: UUID, delivered: int, read: int) -> Receipt:
    return Receipt(conversation=HERE, user=user, delivered_seq=delivered, read_seq=read)


def text(line: Line | None) -> str:
    assert line is not None
    return "".join(part for _, part in line)[6:]  # without the time


def test_a_message_that_stands_there_is_not_shown_again(screen: Screen) -> None:
    screen.show(message(1, ME, rev=0))

    again = screen.show(message(1, ME, rev=1))

    assert again is None


def test_an_edited_message_is_shown_again_as_it_now_is(screen: Screen) -> None:
    screen.show(message(1))

    line = screen.show(message(1, content="hello", rev=2, edited=True, reactions={"👍": 2}))

    assert "#1 ✎ bob  hello (edited)  👍2" == text(line)


def test_an_older_state_of_a_message_does_not_come_back(screen: Screen) -> None:
    screen.show(message(1, content="new", rev=3))

    line = screen.show(message(1, content="old", rev=2))

    assert line is None
    assert "new" == screen.messages[1].content


def test_a_deleted_message_shows_no_content(screen: Screen) -> None:
    line = screen.show(message(1, content="", deleted=True))

    assert "#1 bob  deleted" == text(line)


def test_a_reply_quotes_what_it_answers(screen: Screen) -> None:
    screen.show(message(1, content="shall we?"))

    line = screen.show(message(2, CAROL, "yes", reply_to=UUID(int=1)))

    assert "#2 carol  ↳ #1 shall we? │ yes" == text(line)


def test_a_reply_to_what_was_deleted_says_so(screen: Screen) -> None:
    screen.show(message(1, content="", deleted=True))

    line = screen.show(message(2, CAROL, "yes", reply_to=UUID(int=1)))

    assert "#2 carol  ↳ #1 deleted │ yes" == text(line)


def test_a_vote_without_a_number_is_for_the_last_poll(screen: Screen) -> None:
    for one in (message(1, type="poll"), message(2)):
        screen.show(one)

    picked, rest = screen.pick("2", type_="poll")

    assert (1, "2") == (picked and picked.seq, rest)


def test_a_message_is_marked_sent_then_delivered_then_read(screen: Screen) -> None:
    screen.show(message(1, ME))
    marks = [screen.status(0)]

    for one in (receipt(BOB, 1, 0), receipt(BOB, 1, 1), receipt(BOB, 1, 0)):
        screen.receipt(one)
        marks.append(screen.status(0))

    assert ["#1 ✓ sent", "#1 ✓✓ delivered", "#1 ✓✓ read", "#1 ✓✓ read"] == marks


def test_in_a_group_the_mark_counts_the_others(screen: Screen) -> None:
    screen.show(message(1, ME))

    for one in (receipt(ME, 1, 1), receipt(BOB, 1, 1), receipt(CAROL, 1, 0)):
        screen.receipt(one)

    assert "#1 ✓✓ read by 1 of 2" == screen.status(0)


def test_typing_is_over_after_its_time_or_with_a_message(screen: Screen) -> None:
    for user in (BOB, CAROL):
        screen.typing(Typing(conversation=HERE, user=user, kind="text", expires_ms=5000), now=100)
    both = screen.status(104)

    screen.show(message(1, CAROL))

    assert ["/help  ·  bob and carol typing…", "/help  ·  bob typing…", "/help"] == [
        both, screen.status(104), screen.status(106)
    ]  # fmt: skip


def test_the_toolbar_tells_what_somebody_is_about_and_where(screen: Screen) -> None:
    screen.presences = {BOB: Presence(user=BOB, status="online")}
    screen.typing(Typing(conversation=HERE, user=BOB, kind="voice", expires_ms=5000), now=100)
    alone = screen.status(100)

    screen.presences[CAROL] = Presence(user=CAROL, status="busy")

    assert ["/help  ·  bob recording…  ·  bob online", "/help  ·  2 online"] == [alone, screen.status(106)]


def test_where_somebody_is_not_shown_nothing_is_said() -> None:
    shown = [
        words.presence(None),
        words.presence(Presence(user=BOB)),
        words.presence(Presence(user=BOB, status="away", last_seen=NOON)),
        words.presence(Presence(user=BOB, status="offline", last_seen=NOON)),
    ]

    assert ["", "", "away", f"last seen {NOON.astimezone():%d %b %H:%M}"] == shown


@pytest.mark.parametrize(
    ("type_", "metadata", "shown"),
    [
        ("image", {"file_url": "https://x.org/a.png", "width": 1}, "[image] hi · https://x.org/a.png"),
        ("audio", {"file_url": "https://x.org/a.ogg", "duration": 3.5}, "[audio] hi · 3.5 s · https://x.org/a.ogg"),
        ("contact", {"name": "zed", "phones": ["1", "2"]}, "[contact] hi · zed · 1 · 2"),
        ("document", None, "[document] hi"),
        ("poll", {"question": "where?", "options": ["here", "there"]}, "[poll] hi · where? · 1) here: 0 · 2) there: 3"),
        ("poll", {"question": "a\x1b[2J", "options": 5, "multiple": True}, "[poll] hi · a\ufffd[2J (several answers)"),
        ("of another service", {}, "[of another service] hi"),
    ],
)
def test_a_message_that_is_no_text_tells_what_it_holds(type_: str, metadata: Any, shown: str) -> None:
    assert shown == words.content(message(1, type=type_, metadata=metadata, votes={"1": 3}))


def test_a_line_tells_forwards_mentions_pins_and_what_is_kept_back(screen: Screen) -> None:
    forwarded = screen.show(message(1, forwarded_from=UUID(int=7), mentions=[CAROL], pinned_at=NOON))
    kept_back = screen.show(message(2, content="", hidden=True))

    assert "#1 bob  forwarded │ hi @carol 📌" == text(forwarded)
    assert "#2 bob  not shown, since you blocked the sender" == text(kept_back)


@pytest.mark.parametrize("change", [{"votes": {"0": 1}}, {"pinned_at": NOON}])
def test_a_vote_and_a_pin_show_a_message_again(screen: Screen, change: dict[str, Any]) -> None:
    poll = message(1, type="poll", metadata={"question": "?", "options": ["a", "b"]})
    screen.show(poll)

    assert screen.show(replace(poll, rev=2, **change))


def test_a_hidden_message_is_not_shown_again_whatever_becomes_of_it(screen: Screen) -> None:
    screen.show(message(1))
    screen.hide(1)

    line = screen.show(message(1, content="edited", rev=2, edited=True))

    assert line is None
    assert (None, "") == screen.pick("#1")


def test_who_comes_changes_and_goes_is_told_by_name(screen: Screen) -> None:
    steps: list[dict[str, Any]] = [{}, {"silenced": True}, {}, {"role": "admin"}, {"left": True}]

    told = [
        screen.member(Member(conversation=HERE, rev=rev, user=BOB, **{"role": "member", **step}))
        for rev, step in enumerate(steps)
    ]

    assert [
        "bob joined as member", "bob was silenced", "bob may write again", "bob is now admin", "bob left"
    ] == told  # fmt: skip


def test_what_becomes_of_the_conversation_is_told(screen: Screen) -> None:
    plain = Conversation(conversation=HERE, rev=1, type="group", created_at=NOON, name="lunch")
    steps = [plain, replace(plain, description="food"), replace(plain, deleted=True)]

    assert [
        "this conversation is now called lunch",
        "description: food · newcomers read: all",
        "this conversation was deleted",
    ] == [screen.conversation(step) for step in steps]


def test_a_person_is_named_by_name_or_id(screen: Screen) -> None:
    assert [BOB, CAROL, None, None] == [screen.person(who) for who in ("BOB", str(CAROL), "zed", "")]


def test_a_block_is_told(screen: Screen) -> None:
    blocked = Contact(user=BOB, rev=1, blocked=True)

    assert "you block bob" in words.standing(blocked, "bob")
    assert "neither" in words.standing(replace(blocked, blocked=False), "bob")
    assert "a contact" in words.standing(Contact(user=BOB, rev=1, contact=True), "bob")


def test_a_number_names_a_message_and_none_means_the_last(screen: Screen) -> None:
    for one in (message(1, ME), message(2), message(3)):
        screen.show(one)

    picked = [screen.pick(text, mine=mine) for text, mine in (("#2 yes", False), ("yes", False), ("no", True))]

    assert [(2, "yes"), (3, "yes"), (1, "no")] == [(one and one.seq, rest) for one, rest in picked]
    assert (None, "") == screen.pick("#7", mine=False)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("a\x1b[2Jb", "a\ufffd[2Jb"),
        ("\u202ecba", "\ufffdcba"),
        ("👨\u200d👩\u200d👧 né", "👨\u200d👩\u200d👧 né"),
        ("a\nb", "a\nb"),
    ],
)
def test_text_cannot_steer_the_terminal(sent: str, shown: str) -> None:
    assert shown == clean(sent)
