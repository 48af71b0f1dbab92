"""When a worker is cut off from PostgreSQL while others are not."""

from echo_ws.peers import Peers

HERE, ELSEWHERE = Peers(10), Peers(10)


def test_who_is_answered_is_not_cut_off() -> None:
    HERE.hear(ELSEWHERE.sign, now=99)

    assert not HERE.is_cut_off(answered_at=90.1, now=100)


def test_who_is_not_answered_while_another_one_is_has_been_cut_off() -> None:
    HERE.hear(ELSEWHERE.sign, now=99)

    assert HERE.is_cut_off(answered_at=90, now=100)


def test_nobody_is_cut_off_when_nobody_is_answered() -> None:
    HERE.hear(ELSEWHERE.sign, now=90)

    assert not HERE.is_cut_off(answered_at=80, now=100)


def test_a_worker_does_not_believe_itself() -> None:
    alone = Peers(10)

    alone.hear(alone.sign, now=99)

    assert not alone.is_cut_off(answered_at=0, now=100)


def test_without_patience_nobody_is_ever_cut_off() -> None:
    patient = Peers(0)
    patient.hear(ELSEWHERE.sign, now=99)

    assert not patient.is_cut_off(answered_at=0, now=100)
