"""The checker finds each kind of anomaly that is seeded into a good history, and none in good ones."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from uuid import UUID

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .checker import Kind, check
from .history import Asked, Connection, History, Moved, Revoked, Row, Stay, Told, Trouble, View
from .legal import LegalRun

ROOM, ANN, BEN = (UUID(int=number) for number in (1, 2, 3))
FIRST, SECOND, NEVER = (UUID(int=number) for number in (11, 12, 13))


def asked(message: UUID, seq: int | None, began: float, **others: object) -> Asked:
    known = {
        "device": "ann-1",
        "op": "send",
        "conversation": ROOM,
        "message": message,
        "content": f"text {message.int}",
        "began": began,
        "ended": began + 0.1,
        "outcome": "ok",
        "seq": seq,
    }
    return msgspec.convert(known | others, Asked)


def told(device: str, message: UUID, seq: int, at: float, **others: object) -> Told:
    known = {
        "device": device,
        "user": ANN if device.startswith("ann") else BEN,
        "at": at,
        "channel": ROOM,
        "rev": seq + 1,
        "thing": f"message:{message}",
        "state": f"text {message.int}",
        "content": f"text {message.int}",
        "seq": seq,
    }
    return msgspec.convert(known | others, Told)


def row(message: UUID, seq: int, **others: object) -> Row:
    known = {
        "conversation": ROOM,
        "message": message,
        "seq": seq,
        "rev": seq + 1,
        "sender": ANN,
        "state": f"text {message.int}",
        "content": f"text {message.int}",
    }
    return msgspec.convert(known | others, Row)


def good() -> History:
    """Ann sends two messages, on the two devices of hers and Ben's they arrive."""
    messages = {FIRST: (2, "text 11"), SECOND: (3, "text 12")}
    return History(
        reach_s=1,
        asked=[asked(FIRST, 1, 1.0), asked(SECOND, 2, 2.0)],
        told=[told(device, m, s, s + 0.2) for device in ("ann-1", "ben-1") for m, s in ((FIRST, 1), (SECOND, 2))],
        connections=[Connection(device="ann-1", opened=0), Connection(device="ben-1", opened=0)],
        rows=[row(FIRST, 1), row(SECOND, 2)],
        stays=[Stay(conversation=ROOM, user=user, joined_seq=0, joined_rev=1) for user in (ANN, BEN)],
        views=[
            View(device="ann-1", user=ANN, messages=dict(messages)),
            View(device="ben-1", user=BEN, messages=dict(messages)),
        ],
    )


def test_a_good_history_passes() -> None:
    assert [] == check(good())


# One seed a line: what is broken in the good history, and what it is called.


def lose(h: History) -> None:
    h.rows.pop()


def move(h: History) -> None:
    h.asked[1] = asked(SECOND, 7, 2.0)


def forget_edit(h: History) -> None:
    h.asked.append(asked(SECOND, None, 3.0, op="edit", content="better"))


def forget_deletion(h: History) -> None:
    h.asked.append(asked(SECOND, None, 3.0, op="delete"))


def deny(h: History) -> None:
    h.asked[1] = asked(SECOND, None, 2.0, outcome="retry")


def deny_edit(h: History) -> None:
    h.asked.append(asked(SECOND, None, 3.0, op="edit", content="better", outcome="rejected"))
    h.told.append(told("ben-1", SECOND, 2, 3.2, content="better", rev=4))


def refuse_a_repetition(h: History) -> None:
    h.asked.append(asked(SECOND, None, 3.0, outcome="rejected", code="not_found"))


def invent(h: History) -> None:
    h.told.append(told("ben-1", NEVER, 3, 3.0))


def tell_too_early(h: History) -> None:
    h.told.append(told("ben-1", SECOND, 2, 3.0, rev=9))


def store_what_nobody_sent(h: History) -> None:
    h.rows.append(row(NEVER, 3))


def tell_twice(h: History) -> None:
    h.told.append(h.told[-1])


def store_twice(h: History) -> None:
    h.rows.append(row(NEVER, 3, content="text 12"))


def answer_another_seq(h: History) -> None:
    h.asked.append(asked(SECOND, 3, 3.0))


def keep_one_from_a_device(h: History) -> None:
    del h.views[1].messages[SECOND]


def keep_the_change_from_a_device(h: History) -> None:
    h.views[1].messages[SECOND] = (1, "draft")


def skip_a_seq(h: History) -> None:
    h.rows[1] = row(SECOND, 3)


def show_another_text(h: History) -> None:
    h.told[-1] = told("ben-1", SECOND, 2, 2.2, state="something else")


def show_another_message(h: History) -> None:
    h.told.append(told("ben-1", FIRST, 2, 2.3, rev=3))


def swap_events(h: History) -> None:
    h.told[2:] = reversed(h.told[2:])


def number_backwards(h: History) -> None:
    h.rows = [row(FIRST, 2), row(SECOND, 1)]
    h.asked = [asked(FIRST, 2, 1.0), asked(SECOND, 1, 2.0)]


def tell_late(h: History) -> None:
    h.told[-1] = told("ben-1", SECOND, 2, 9.0)


def tell_the_removed(h: History) -> None:
    h.stays[1] = Stay(conversation=ROOM, user=BEN, joined_seq=0, joined_rev=1, left_seq=1, left_rev=2)


def tell_before_letting_in(h: History) -> None:
    h.stays[1] = Stay(conversation=ROOM, user=BEN, joined_seq=0, joined_rev=5)
    h.moved.append(Moved(user=BEN, conversation=ROOM, is_in=True, rev=5, began=8, ended=8))


def tell_the_revoked(h: History) -> None:
    h.revoked.append(Revoked(device="ben-1", at=1.0, by=1.5))


def close_without_a_word(h: History) -> None:
    h.connections[1] = Connection(device="ben-1", opened=0, closed=5.0, code=1006)


def close_with_a_strange_code(h: History) -> None:
    h.connections[1] = Connection(device="ben-1", opened=0, closed=5.0, code=1011)


def swallow(h: History) -> None:
    h.asked.append(asked(NEVER, None, 3.0, outcome="silence"))


SEEDS: list[tuple[Callable[[History], None], Kind]] = [
    (lose, Kind.LOST),
    (move, Kind.LOST),
    (forget_edit, Kind.LOST),
    (forget_deletion, Kind.LOST),
    (deny, Kind.DISHONEST),
    (deny_edit, Kind.DISHONEST),
    (refuse_a_repetition, Kind.DISHONEST),
    (invent, Kind.PHANTOM),
    (tell_too_early, Kind.PHANTOM),
    (store_what_nobody_sent, Kind.PHANTOM),
    (tell_twice, Kind.DUPLICATE),
    (store_twice, Kind.DUPLICATE),
    (answer_another_seq, Kind.DUPLICATE),
    (keep_one_from_a_device, Kind.HOLE),
    (keep_the_change_from_a_device, Kind.HOLE),
    (skip_a_seq, Kind.HOLE),
    (show_another_text, Kind.FORK),
    (show_another_message, Kind.FORK),
    (swap_events, Kind.ORDER),
    (number_backwards, Kind.ORDER),
    (tell_late, Kind.UNDELIVERED),
    (tell_the_removed, Kind.LEAK),
    (tell_before_letting_in, Kind.LEAK),
    (tell_the_revoked, Kind.LEAK),
    (close_without_a_word, Kind.SILENT_CLOSE),
    (close_with_a_strange_code, Kind.SILENT_CLOSE),
    (swallow, Kind.UNANSWERED),
]


@pytest.mark.parametrize(("seed", "kind"), SEEDS)
def test_a_seeded_anomaly_is_found(seed: Callable[[History], None], kind: Kind) -> None:
    history = good()

    seed(history)

    assert kind in {anomaly.kind for anomaly in check(history)}


def test_every_kind_has_a_seed() -> None:
    assert set(Kind) == {kind for _, kind in SEEDS}


def test_a_cut_wire_excuses_a_silent_close_and_a_late_message_but_no_hole() -> None:
    history = good()
    close_without_a_word(history)
    tell_late(history)
    history.troubles.append(Trouble(name="cut", began=1.5, ended=5.5, may_close=True))

    assert [] == check(history)


def test_what_is_read_again_is_no_duplicate_and_keeps_no_order() -> None:
    history = good()
    history.told += [told("ben-1", m, s, 5, how="read") for m, s in ((SECOND, 2), (FIRST, 1))]

    assert [] == check(history)


@given(st.integers(0, 2**32), st.integers(1, 80))
@settings(deadline=None, max_examples=200)
def test_a_random_legal_history_has_no_anomaly(seed: int, steps: int) -> None:
    assert [] == check(LegalRun(Random(seed)).run(steps))


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_what_one_device_of_a_random_history_misses_is_found(seed: int) -> None:
    history = LegalRun(Random(seed)).run(60)
    shown = [(view, row) for view in history.views for row in history.rows if row.message in view.messages]
    readable = [(v, r) for v, r in shown if any(s.user == v.user and s.may_read(r.seq, r.rev) for s in history.stays)]
    assume(readable)
    view, row = readable[seed % len(readable)]

    del view.messages[row.message]

    assert [Kind.HOLE] == [anomaly.kind for anomaly in check(history)]


def test_a_history_can_be_kept_in_a_file(tmp_path: Path) -> None:
    history = LegalRun(Random(7)).run(20)

    history.save(tmp_path / "history.json")

    assert history == History.load(tmp_path / "history.json")
