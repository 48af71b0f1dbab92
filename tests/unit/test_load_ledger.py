"""The verdict of the load tester: every anomaly is found as what it is, and a good history has none."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from echo_ws_protocol.events import Message
from scripts.loadtest.ledger import MAX_EXAMPLES, MAX_REMEMBERED, Ledger, Reader, Room, Source, meant_us, summed, text
from scripts.loadtest.results import Verdict

HERE, ME = UUID(int=10), UUID(int=1)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
CLEAN = Verdict()


class Heard(NamedTuple):
    """An event, and how it came."""

    event: Message
    source: Source = "live"


def message(seq: int, rev: int | None = None, *, edited: bool = False, id_: int | None = None) -> Message:
    return Message(
        conversation=HERE,
        message=UUID(int=1000 + (seq if id_ is None else id_)),
        seq=seq,
        rev=rev or seq,
        sender=ME,
        type="text",
        content=text(seq, 40),
        created_at=NOON,
        edited=edited,
    )


class Listening:
    """A ledger, a room and one reader of it."""

    def __init__(self, seq: int = 0, rev: int = 0) -> None:
        self.ledger = Ledger()
        self.room: Room = self.ledger.room(HERE)
        self.room.seq = seq
        self.reader = Reader(seq, rev)
        self.room.readers.append(("bot 1", self.reader))

    def hear(self, *events: Message, source: Source = "live", is_whole: bool = True) -> list[bool]:
        """Return which of them are messages that were not heard before."""
        return [
            self.ledger.heard(self.room, "bot 1", self.reader, event, source, is_whole=is_whole) for event in events
        ]

    def verdict(self) -> Verdict:
        self.ledger.close()
        return self.ledger.verdict


def judged(*events: Message) -> Verdict:
    """Return the verdict on one who heard these live."""
    listening = Listening()
    listening.hear(*events)
    return listening.verdict()


# -- by example


def test_messages_in_their_order_are_clean() -> None:
    assert CLEAN == judged(message(1), message(2), message(3))


def test_a_live_hole_that_never_fills_is_a_loss() -> None:
    assert Verdict(lost=2) == judged(message(1), message(4))


def test_the_last_message_is_lost_if_only_its_sender_knows_of_it() -> None:
    listening = Listening()
    listening.hear(message(1))
    listening.ledger.acked(listening.room, 2, message(2).message)

    assert 1 == listening.ledger.due
    assert Verdict(lost=1) == listening.verdict()
    assert [f"lost: {HERE}: bot 1 never heard seq 2"] == listening.ledger.examples


def test_what_one_heard_is_lost_to_another_who_did_not() -> None:
    listening = Listening()
    listening.room.readers.append(("bot 2", Reader(0, 0)))
    listening.hear(message(1))

    assert Verdict(lost=1) == listening.verdict()


def test_an_event_that_comes_twice_is_doubled() -> None:
    assert Verdict(doubled=1) == judged(message(1), message(1), message(2))


def test_an_event_that_comes_again_much_later_is_doubled() -> None:
    assert Verdict(doubled=1) == judged(message(1), message(2), message(3), message(1))


def test_an_edit_that_comes_twice_is_doubled() -> None:
    edit = message(1, 3, edited=True)

    assert Verdict(doubled=1) == judged(message(1), message(2), edit, edit)


def test_two_that_are_swapped_are_out_of_order() -> None:
    assert Verdict(out_of_order=1) == judged(message(1), message(3), message(2), message(4))


def test_the_very_first_two_may_be_swapped_too() -> None:
    assert Verdict(out_of_order=1) == judged(message(2), message(1))


def test_a_message_after_the_edit_that_came_later_is_out_of_order() -> None:
    assert Verdict(out_of_order=1) == judged(message(1), message(1, 3, edited=True), message(2, 2))


def test_an_edit_after_the_message_that_came_later_is_out_of_order() -> None:
    assert Verdict(out_of_order=1) == judged(message(1), message(2, 3), message(1, 2, edited=True))


def test_an_edit_is_no_double() -> None:
    listening = Listening()

    assert [True, True, False] == listening.hear(message(1), message(2), message(1, 3, edited=True))
    assert CLEAN == listening.verdict()


def test_what_others_do_to_the_conversation_takes_revs_and_is_no_hole() -> None:
    assert CLEAN == judged(message(1, 1), message(2, 5), message(3, 9))


def test_a_message_that_is_first_heard_of_by_a_later_change_is_neither_lost_nor_out_of_order() -> None:
    assert CLEAN == judged(message(1), message(3), message(2, 4))


def test_what_a_resume_brings_is_not_out_of_order() -> None:
    """It tells messages as they now are, in the order in which they changed last."""
    listening = Listening()
    listening.hear(message(1))

    assert [True, True, False] == listening.hear(
        message(3, 3), message(2, 5), message(1, 6, edited=True), source="resume"
    )
    listening.hear(message(4, 7))
    assert CLEAN == listening.verdict()


def test_a_hole_that_a_resume_fills_is_none() -> None:
    listening = Listening()
    listening.hear(message(1), message(4))
    listening.hear(message(2), message(3), source="resume")

    assert CLEAN == listening.verdict()


def test_a_message_that_comes_only_after_a_resume_is_late_and_not_doubled() -> None:
    listening = Listening()
    listening.hear(message(1), message(3))
    listening.hear(message(4), source="resume")
    listening.hear(message(2))

    assert Verdict(out_of_order=1) == listening.verdict()


def test_an_edit_that_a_resume_left_out_and_that_comes_again_is_doubled() -> None:
    """A resume tells the last change of each message; those before are not to come any more."""
    listening = Listening()
    listening.hear(message(1))
    listening.hear(message(1, 3, edited=True), source="resume")
    listening.hear(message(1, 2, edited=True))

    assert Verdict(doubled=1) == listening.verdict()


def test_an_event_that_comes_again_after_a_resume_is_doubled() -> None:
    listening = Listening()
    listening.hear(message(1))
    listening.hear(message(2), message(3), source="resume")
    listening.hear(message(3))

    assert Verdict(doubled=1) == listening.verdict()


def test_a_page_of_history_fills_holes_and_doubles_nothing() -> None:
    """It is read while live events go on: it may hold what was heard, and what is to come."""
    listening = Listening()
    listening.hear(message(1), message(4))

    assert [True, True, False, True] == listening.hear(*map(message, (2, 3, 4, 5)), source="history")
    listening.hear(message(5), message(6))
    assert CLEAN == listening.verdict()


def test_what_was_before_is_none_of_a_readers_business() -> None:
    listening = Listening(seq=500, rev=900)
    listening.hear(message(501, 901), message(3, 902, edited=True))

    assert CLEAN == listening.verdict()


def test_a_text_that_is_not_whole_is_changed() -> None:
    listening = Listening()
    listening.hear(message(1), is_whole=False)

    assert Verdict(changed=1) == listening.verdict()


def test_a_message_in_another_place_than_was_acknowledged_is_changed() -> None:
    listening = Listening()
    listening.ledger.acked(listening.room, 2, message(2).message)
    listening.hear(message(1), message(2, id_=7))

    assert Verdict(changed=1) == listening.verdict()


def test_two_messages_that_are_acknowledged_in_one_place_are_changed() -> None:
    listening = Listening()
    listening.hear(message(1))
    listening.ledger.acked(listening.room, 1, message(1).message)
    listening.ledger.acked(listening.room, 1, message(9).message)

    assert Verdict(changed=1) == listening.verdict()


def test_an_edit_of_a_message_that_is_long_forgotten_is_clean() -> None:
    old = range(1, MAX_REMEMBERED + 10)

    assert CLEAN == judged(*map(message, old), message(1, len(old) + 1, edited=True))


def test_of_many_anomalies_all_are_counted_and_a_few_told() -> None:
    listening = Listening()
    listening.hear(message(1000))

    assert Verdict(lost=999) == listening.verdict()
    assert MAX_EXAMPLES == len(listening.ledger.examples)


def test_verdicts_add_up() -> None:
    assert Verdict(lost=3, closed=1) == summed([Verdict(lost=1), Verdict(lost=2, closed=1), Verdict()])


# -- texts


@given(st.integers(0, 2**53), st.integers(1, 300))
def test_a_text_tells_when_it_was_meant_and_is_as_long_as_asked(meant: int, size: int) -> None:
    content = text(meant, size)

    assert meant == meant_us(content)
    assert len(content) == max(size, len(text(meant, 0)))


@given(st.integers(0, 2**53), st.integers(1, 300), st.data())
def test_a_text_with_one_character_changed_is_not_whole(meant: int, size: int, data: st.DataObject) -> None:
    content = text(meant, size)
    place = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.characters().filter(lambda letter: letter != content[place]))

    assert meant_us(content[:place] + other + content[place + 1 :]) is None


@given(st.text())
def test_what_people_write_is_no_text_of_a_bot(content: str) -> None:
    assert meant_us(content) is None


# -- by random histories


Act = tuple[str, int]
"""``send``, ``edit`` a message, let something ``else`` happen, ``leave``, ``return`` by a resume, or by a history."""

ACTS = ("send", "send", "send", "send", "edit", "edit", "else", "leave", "resume", "history")

acts = st.lists(
    st.tuples(st.sampled_from(ACTS), st.integers(0, 99)),
    min_size=1,
    max_size=60,
)


def told(history: Iterable[Act]) -> list[Heard]:
    """Return what an honest server tells one reader of a conversation in which this happens."""
    now: dict[int, Message] = {}
    heard: list[Heard] = []
    away_since: int | None = None
    rev = 0
    for act, number in [*history, ("resume", 0)]:
        match act:
            case "send" | "edit" | "else":
                rev += 1
                if act == "send":
                    now[len(now) + 1] = message(len(now) + 1, rev)
                elif act == "edit" and now:
                    seq = number % len(now) + 1
                    now[seq] = message(seq, rev, edited=True)
                else:
                    continue
                if away_since is None:
                    heard.append(Heard(max(now.values(), key=lambda event: event.rev)))
            case "leave":
                away_since = rev if away_since is None else away_since
            case "resume" if away_since is not None:
                missed = sorted((m for m in now.values() if m.rev > away_since), key=lambda event: event.rev)
                heard += [Heard(event, "resume") for event in missed]
                away_since = None
            case "history" if away_since is not None:
                rev += 1
                now[len(now) + 1] = message(len(now) + 1, rev)
                overtaking = Heard(now[len(now)])
                known = max((each.event.seq for each in heard), default=0)
                heard += [overtaking, *(Heard(now[seq], "history") for seq in range(known + 1, len(now) + 1))]
                away_since = None
    return heard


def verdict_on(heard: Iterable[Heard], last: int) -> Verdict:
    """Judge what was heard of so many messages, each of which was acknowledged."""
    listening = Listening()
    for event, source in heard:
        listening.hear(event, source=source)
    for seq in range(1, last + 1):
        listening.ledger.acked(listening.room, seq, message(seq).message)
    return listening.verdict()


def sent(heard: Iterable[Heard]) -> int:
    return max((each.event.seq for each in heard), default=0)


def one_of(places: Iterable[int], data: st.DataObject) -> int:
    found = list(places)
    assume(found)
    return data.draw(st.sampled_from(found))


@given(acts)
def test_a_good_history_has_no_anomaly(history: list[Act]) -> None:
    heard = told(history)

    assert CLEAN == verdict_on(heard, sent(heard))


@given(acts, st.data())
def test_a_message_dropped_anywhere_is_lost_and_nothing_else(history: list[Act], data: st.DataObject) -> None:
    heard = told(history)
    seqs = [each.event.seq for each in heard]
    place = one_of((n for n, seq in enumerate(seqs) if seqs.count(seq) == 1), data)

    assert Verdict(lost=1) == verdict_on(heard[:place] + heard[place + 1 :], sent(heard))


@given(acts, st.data())
def test_an_event_doubled_anywhere_is_doubled_and_nothing_else(history: list[Act], data: st.DataObject) -> None:
    heard = told(history)
    place = one_of((n for n, each in enumerate(heard) if each.source == "live"), data)
    again = data.draw(st.integers(place + 1, len(heard)))

    assert Verdict(doubled=1) == verdict_on([*heard[:again], heard[place], *heard[again:]], sent(heard))


@given(acts, st.data())
def test_two_events_swapped_anywhere_are_out_of_order_and_nothing_else(history: list[Act], data: st.DataObject) -> None:
    heard = told(history)
    pairs = pairwise(heard)
    place = one_of((n for n, pair in enumerate(pairs) if {each.source for each in pair} == {"live"}), data)
    swapped = [*heard[:place], heard[place + 1], heard[place], *heard[place + 2 :]]

    assert Verdict(out_of_order=1) == verdict_on(swapped, sent(heard))


@given(acts, st.data())
def test_a_message_in_anothers_place_is_changed_and_nothing_else(history: list[Act], data: st.DataObject) -> None:
    heard = told(history)
    place = one_of(range(len(heard)), data)
    other = heard[place]._replace(event=msgspec.structs.replace(heard[place].event, message=UUID(int=7)))
    seqs = [each.event.seq for each in heard]
    assume(seqs.count(seqs[place]) == 1)

    assert Verdict(changed=1) == verdict_on([*heard[:place], other, *heard[place + 1 :]], sent(heard))
