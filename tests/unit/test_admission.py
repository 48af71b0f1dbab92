from echo_ws.admission import Admission
from echo_ws.handshake import Refusal, networks
from echo_ws.limits import rate

PROXY, STRANGER = "10.0.0.1", "198.51.100.7"


def admission(max_connections: int = 100, max_unauthenticated: int = 50) -> Admission:
    return Admission(
        max_connections=max_connections, max_unauthenticated=max_unauthenticated, trusted=networks(["10.0.0.0/8"])
    )


def status(door: Admission, address: str = STRANGER) -> int:
    refusal = door.enter(address)
    return refusal.status if refusal else 200


def test_the_21st_stranger_of_one_address_is_refused_until_one_has_a_session() -> None:
    door = admission()

    first = [status(door) for _ in range(21)]
    door.authenticate(STRANGER)

    assert [200] * 20 + [429] == first
    assert 200 == status(door)


def test_a_trusted_address_is_not_limited() -> None:
    door = admission()

    assert [200] * 30 == [status(door, PROXY) for _ in range(30)]


def test_all_strangers_together_are_limited() -> None:
    door = admission(max_unauthenticated=2)

    assert [200, 200, 503] == [status(door, PROXY) for _ in range(3)]


def test_those_with_a_session_count_among_all() -> None:
    door = admission(max_connections=1)
    door.enter(PROXY)
    door.authenticate(PROXY)

    refused = status(door, PROXY)
    door.leave(PROXY, authenticated=True)

    assert (503, 200) == (refused, status(door, PROXY))


def test_a_renamed_connection_counts_under_its_new_name_alone() -> None:
    door = admission()
    for _ in range(20):
        door.enter(PROXY)
        assert door.rename(PROXY, STRANGER) is None

    door.enter(PROXY)
    refusal = door.rename(PROXY, STRANGER)
    door.leave(PROXY, authenticated=False)
    for _ in range(20):
        door.leave(STRANGER, authenticated=False)

    assert refusal is not None
    assert 429 == refusal.status
    assert (0, 0, {}) == (door.connections, door.unauthenticated, door._by_address)


def test_too_many_who_are_refused_are_an_overrun() -> None:
    door = admission(max_unauthenticated=1)

    overrun = [(door.enter(PROXY), door.is_overrun)[1] for _ in range(3)]
    door.leave_refused()

    assert [False, False, True] == overrun
    assert not door.is_overrun


def test_who_comes_in_a_crowd_is_told_when_there_is_a_place_for_each() -> None:
    door = Admission(max_connections=9, max_unauthenticated=9, trusted=(), handshakes=rate(10, burst=20))

    answers = [door.shake_hands(1000.0) for _ in range(60)]
    waits = [int(told.headers[0][1]) for told in answers if told]

    assert [None] * 20 == answers[:20]
    assert {503} == {told.status for told in answers if told}
    assert [0.1 * n <= wait <= 0.1 * n + 2 for n, wait in enumerate(waits, 1)] == [True] * 40
    assert [None] * 10 == [door.shake_hands(1001.0) for _ in range(10)]
    assert isinstance(door.shake_hands(1001.0), Refusal)


def test_without_a_limit_everybody_is_answered() -> None:
    door = admission()

    assert {None} == {door.shake_hands(1000.0) for _ in range(1000)}


def test_nobody_new_is_let_in_while_memory_is_short() -> None:
    door = Admission(max_connections=9, max_unauthenticated=9, trusted=(), max_memory_bytes=100)

    answers = []
    for used in (0, 101, 100):
        door.memory_bytes = used
        answers.append(status(door))

    assert [200, 503, 200] == answers
