from itertools import pairwise

from echo_ws.backoff import Backoff


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(lambda: 1.0, base=0.5, cap=30)

    pauses = [backoff.next() for _ in range(8)]

    assert [0.5, 1, 2, 4, 8, 16, 30, 30] == pauses


def test_the_pause_is_anywhere_below_the_ceiling() -> None:
    chances = iter([0.0, 0.25, 0.75])
    backoff = Backoff(lambda: next(chances), base=4)

    pauses = [backoff.next() for _ in range(3)]

    assert [0, 2, 12] == pauses


def test_clients_that_were_cut_off_together_do_not_come_back_together() -> None:
    pauses = sorted(Backoff().next() for _ in range(200))

    assert max(later - earlier for earlier, later in pairwise([0, *pauses, 0.5])) < 0.1


def test_the_pause_that_the_server_asked_for_is_the_least() -> None:
    backoff = Backoff(lambda: 1.0, base=0.5)

    pauses = [backoff.next(at_least=3), backoff.next()]

    assert [3.5, 1] == pauses


def test_after_a_reset_the_pauses_begin_again() -> None:
    backoff = Backoff(lambda: 1.0, base=0.5)
    backoff.next()
    backoff.next()

    backoff.reset()

    assert backoff.next() == 0.5
