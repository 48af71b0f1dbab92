"""How a client moves along: what is news to it, what it asks, and what it hands to the next program."""

from datetime import UTC, datetime
from uuid import UUID

from msgspec import json

from echo_ws.position import MAX_ASKED, Follower, Position, Reset
from echo_ws_protocol.events import Conversation, Event, Member, Membership, Message, Typing
from echo_ws_protocol.replies import ConversationChanges, Resumed

ME, HERE, THERE = UUID(int=1), UUID(int=10), UUID(int=11)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def message(rev: int, conversation: UUID = HERE) -> Message:
    return Message(
        conversation=conversation,
        message=UUID(int=rev),
        seq=rev,
        rev=rev,
        sender=ME,
        type="text",
        content=str(rev),
        created_at=NOON,
    )


def member(rev: int, *, left: bool) -> Member:
    return Member(conversation=HERE, rev=rev, user=ME, role="member", left=left)


def membership(rev: int, since: int, *, left: bool = False) -> Membership:
    return Membership(conversation=HERE, rev=rev, role="member", since=since, left=left)


def answer(*conversations: ConversationChanges, rev: int = 0, memberships: tuple[Membership, ...] = ()) -> Resumed:
    return Resumed("e", NOON, rev, list(memberships), conversations=list(conversations))


def following(**places: int) -> Follower:
    """Return one who has been told everything up to these revs."""
    follower = Follower(
        Position("e", 0, NOON, {{"here": HERE, "there": THERE}[name]: rev for name, rev in places.items()})
    )
    told(follower, answer())
    return follower


def told(follower: Follower, *answers: Resumed) -> list[Event]:
    """Interrupt, and give an answer to each question."""
    follower.interrupted(ME)
    return [news for one in answers for question in follower.questions() for news in follower.take(question, one)]


def heard(follower: Follower, *events: Event) -> list[Event]:
    return [news for event in events for news in follower.hear(event)]


def test_events_in_order_are_news_and_move_the_position() -> None:
    follower = following(here=3)

    assert [message(4), message(6)] == heard(follower, message(4), message(6))
    assert {HERE: 6} == follower.position.conversations


def test_what_comes_before_the_answer_is_left_to_the_answer() -> None:
    follower = following(here=3)
    follower.interrupted(ME)
    (question,) = follower.questions()

    early = heard(follower, message(5))
    page = ConversationChanges(HERE, 5, [message(4), message(5)])
    news = follower.take(question, answer(page))
    late = heard(follower, message(5), message(6))

    assert ([], [message(4), message(5)], [message(6)]) == (early, news, late)


def test_a_conversation_with_more_is_asked_for_again_from_its_page_on() -> None:
    follower = following(here=3, there=7)
    first = told(follower, answer(ConversationChanges(HERE, 5, [message(5)], more=True)))

    assert not follower.is_current
    assert [] == heard(follower, message(6))
    assert [message(8, THERE)] == heard(follower, message(8, THERE))
    (question,) = follower.questions()
    rest = follower.take(question, answer(ConversationChanges(HERE, 6, [message(6)])))

    assert {HERE: 5} == question.conversations
    assert ([message(5)], [message(6)], True) == (first, rest, follower.is_current)


def test_many_conversations_are_asked_for_in_several_questions() -> None:
    follower = Follower(Position("e", 0, NOON, {UUID(int=n): 1 for n in range(MAX_ASKED + 1)}))
    follower.interrupted(ME)

    questions = [*follower.questions()]

    assert [MAX_ASKED, 1] == [len(question.conversations) for question in questions]
    assert [NOON, None] == [question.since for question in questions]


def test_a_reset_moves_the_position_and_is_handed_out() -> None:
    follower = following(here=3)

    news = told(follower, answer(ConversationChanges(HERE, 99, reset=True)))

    assert [Reset(conversation=HERE, rev=99)] == news
    assert ([], [message(100)]) == (heard(follower, message(99)), heard(follower, message(100)))


def test_one_who_begins_is_told_nothing_of_what_was() -> None:
    follower = Follower()

    news = told(follower, answer(ConversationChanges(HERE, 9, reset=True), rev=1, memberships=(membership(1, 1),)))

    assert ([], False) == (news, follower.is_new)
    assert Position("e", 1, NOON, {HERE: 9}) == follower.position
    assert [message(10)] == heard(follower, message(9), message(10))


def test_another_epoch_makes_every_rev_worthless() -> None:
    follower = following(here=3)
    follower.position.rev = 50

    news = told(
        follower,
        Resumed("other", NOON, 1, [membership(1, 1)], conversations=[ConversationChanges(HERE, 1, reset=True)]),
    )

    assert [membership(1, 1), Reset(conversation=HERE, rev=1)] == news
    assert Position("other", 1, NOON, {HERE: 1}) == follower.position


def test_a_conversation_begins_with_a_membership_and_ends_with_a_departure() -> None:
    follower = following()

    begun = heard(follower, membership(1, 5), message(6))
    ended = heard(follower, member(7, left=True), message(8), membership(2, 0, left=True))

    assert [membership(1, 5), Reset(conversation=HERE, rev=5), message(6)] == begun
    assert [member(7, left=True), Reset(conversation=HERE, rev=0), membership(2, 0, left=True)] == ended
    assert {} == follower.position.conversations


def test_one_who_came_back_while_away_begins_anew() -> None:
    follower = following(here=3)
    page = ConversationChanges(HERE, 9, [message(4), member(5, left=True), member(8, left=False), message(9)])

    news = told(follower, answer(page, rev=2, memberships=(membership(1, 0, left=True), membership(2, 8))))

    resets = [event.rev for event in news if isinstance(event, Reset)]
    assert ([0, 8], message(9)) == (resets, news[-1])
    assert len(news) == 5


def test_one_who_left_while_away_is_told_what_was_before() -> None:
    follower = following(here=3)
    page = ConversationChanges(HERE, 5, [message(4), member(5, left=True)])

    news = told(follower, answer(page, rev=1, memberships=(membership(1, 0, left=True),)))

    assert [message(4), member(5, left=True), Reset(conversation=HERE, rev=0), membership(1, 0, left=True)] == news


def test_a_deleted_conversation_is_over() -> None:
    follower = following(here=3)
    gone = Conversation(conversation=HERE, rev=4, type="group", created_at=NOON, deleted=True)

    assert [gone, Reset(conversation=HERE, rev=0)] == heard(follower, gone, message(5))


def test_a_new_role_is_no_new_beginning() -> None:
    follower = following(here=9)

    assert [membership(1, 9)] == heard(follower, membership(1, 9))
    assert [message(10)] == heard(follower, message(10))


def test_a_membership_that_was_told_is_no_news() -> None:
    follower = following()

    assert [] == heard(follower, membership(1, 5), membership(1, 5))[2:]


def test_what_is_momentary_is_handed_out_as_it_comes() -> None:
    follower = following(here=3)
    follower.interrupted(ME)
    typing = Typing(conversation=HERE, user=ME, kind="text", expires_ms=1)

    assert [typing] == heard(follower, typing)


def test_what_is_unread_does_not_count() -> None:
    position = Position("e", 7, NOON, {HERE: 9, THERE: 4})

    kept = position.before([message(8), message(9), membership(6, 5)])

    assert Position("e", 5, NOON, {HERE: 7, THERE: 4}) == kept


def test_an_unread_reset_comes_again() -> None:
    kept = Position("e", 0, NOON, {}).before([Reset(conversation=HERE, rev=9)])

    news = told(Follower(kept), answer(ConversationChanges(HERE, 12, reset=True)))

    assert [Reset(conversation=HERE, rev=12)] == news


def test_a_position_can_be_written_down() -> None:
    position = Position("e", 7, NOON, {HERE: 9})

    assert position == json.decode(json.encode(position), type=Position)
