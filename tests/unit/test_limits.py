"""What one client may ask for, and who is cut off; time is a number here."""

import random
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ws.limits import GRACE_S, LONGEST_WAIT_S, Bucket, Buckets, Limits, Wait, rate
from echo_ws.settings import Settings
from echo_ws_protocol.commands import ConversationCreate, ConversationList, MessageForward, MessageSend

NOW = 1_000_000.0
ALICE, BOB = UUID(int=1), UUID(int=2)


def bucket(count: float, *, burst: float) -> Bucket:
    limit = rate(count, burst=burst)
    assert limit
    return Bucket(limit)


def taken(some: Bucket, times: int, now: float) -> int:
    """Try so many times at once, and return how often there was one."""
    return sum(not some.wait_s(now) for _ in range(times))


class Person:
    """A user with one connection, and what came of what was sent."""

    def __init__(self, limits: Limits, user: UUID = ALICE) -> None:
        self.limits = limits
        self.user = user
        self.allowance = limits.of_connection()

    def ask(self, command: type, now: float) -> Wait | None:
        return self.limits.ask(self.user, self.allowance, command, now)


@pytest.fixture
def limits() -> Limits:
    return Limits(Settings())


@pytest.fixture
def alice(limits: Limits) -> Person:
    return Person(limits)


@pytest.mark.parametrize("now", [0.0, 0.1, NOW, NOW / 3])
def test_a_bucket_holds_a_burst_and_fills_evenly(now: float) -> None:
    some = bucket(10, burst=20)

    assert [20, 0, 5, 15, 20] == [taken(some, 100, now + after) for after in (0, 0.01, 0.5, 2.0, 100)]


def test_who_waits_as_long_as_told_finds_one() -> None:
    some = bucket(10, burst=1)
    taken(some, 1, NOW)

    wait_s = some.wait_s(NOW)

    assert 0.1 == pytest.approx(wait_s)
    assert 0 == some.wait_s(NOW + wait_s)


def test_each_is_told_another_time_and_finds_one_then() -> None:
    some = bucket(10, burst=20)
    taken(some, 20, NOW)

    waits = [some.wait_s(NOW) for _ in range(100)]

    assert [pytest.approx(0.1 * n) for n in range(1, 101)] == waits
    assert [0.0] * 100 == [some.wait_s(NOW + wait) for wait in waits]


def test_nobody_is_told_to_wait_for_ever() -> None:
    some = bucket(10, burst=20)

    assert LONGEST_WAIT_S == pytest.approx(max(some.wait_s(NOW) for _ in range(10_000)))


def test_times_that_nobody_kept_hold_up_nobody_once_the_bucket_is_full() -> None:
    some = bucket(10, burst=20)
    taken(some, 200, NOW)

    taken(some, 20, NOW + 5)

    assert 0.1 == pytest.approx(some.wait_s(NOW + 5))


@given(gaps=st.lists(st.floats(0, 3), min_size=1, max_size=200))
@settings(deadline=None)
def test_no_more_than_burst_and_rate_is_ever_let_through(gaps: list[float]) -> None:
    some, now, let_through = bucket(5, burst=3), NOW, []
    for gap in gaps:
        now += gap
        let_through += [now] * taken(some, 2, now)

    for first, start in enumerate(let_through):
        for last in range(first, len(let_through)):
            assert last - first + 1 <= 3 + 5 * (let_through[last] - start) + 0.51


def test_a_full_bucket_is_forgotten_and_no_other() -> None:
    limit = rate(10, burst=20)
    assert limit
    buckets = Buckets(limit)
    for number in range(10_000):
        buckets.of(UUID(int=number), NOW + number / 10_000).take(NOW + number / 10_000)
    many = len(buckets)

    for step in range(1, 60):
        taken(buckets.of(ALICE, NOW + step / 10), 100, NOW + step / 10)

    assert (10_000, 1) == (many, len(buckets))
    assert 0 == taken(buckets.of(ALICE, NOW + 5.95), 1, NOW + 5.95)


@given(steps=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 4)), max_size=100))
@settings(deadline=None)
def test_whoever_is_forgotten_had_a_full_bucket(steps: list[tuple[int, float]]) -> None:
    """The same answers as if nobody were ever forgotten."""
    limit = rate(5, burst=5)
    assert limit
    buckets, kept, now = Buckets(limit), {number: Bucket(limit) for number in range(4)}, NOW
    for number, gap in steps:
        now += gap
        assert taken(kept[number], 3, now) == taken(buckets.of(UUID(int=number), now), 3, now)


def test_a_connection_may_ask_60_times_at_once_and_30_times_a_second(alice: Person) -> None:
    at_once = [alice.ask(ConversationList, NOW) for _ in range(61)]
    later = [alice.ask(ConversationList, NOW + 1) for _ in range(31)]

    assert ([None] * 60, [None] * 30) == (at_once[:60], later[:30])
    assert at_once[60] == Wait(1000, is_last=False)
    assert later[30]


@pytest.mark.parametrize(("command", "burst"), [(MessageSend, 20), (ConversationCreate, 60)])
def test_a_user_has_one_limit_over_all_doors(limits: Limits, command: type, burst: int) -> None:
    people = [Person(limits), Person(limits), Person(limits, BOB)]
    posts = limits.of_posts(ALICE, NOW)

    first = [people[n % 2].ask(command, NOW) for n in range(burst)]

    assert [None] * burst == first
    assert Wait(1000, is_last=False) == limits.ask(ALICE, posts, command, NOW)
    assert people[2].ask(command, NOW) is None
    assert people[0].ask(ConversationList, NOW) is None


def test_all_posts_of_a_user_count_as_one_connection(limits: Limits) -> None:
    asked = [limits.ask(ALICE, limits.of_posts(ALICE, NOW), ConversationList, NOW) for _ in range(61)]

    assert [None] * 60 == asked[:60]
    assert asked[60]
    assert limits.ask(BOB, limits.of_posts(BOB, NOW), ConversationList, NOW) is None


def test_a_forward_counts_as_a_send(alice: Person) -> None:
    """Else one could say twice as much, and a forward could overtake a send that was refused before it."""
    asked = [alice.ask((MessageSend, MessageForward)[n % 2], NOW) for n in range(22)]

    assert [None] * 20 == asked[:20]
    assert all(asked[20:])


def test_0_is_no_limit() -> None:
    person = Person(Limits(Settings(commands_per_s=0, sends_per_s=0, creations_per_min=0)))

    for command in (ConversationList, MessageSend, ConversationCreate):
        assert {None} == {person.ask(command, NOW) for _ in range(10_000)}


def test_nothing_overtakes_what_was_refused_before_it(alice: Person) -> None:
    """Whatever is sent until the first may come is refused, though there would be some."""
    first = [alice.ask(MessageSend, NOW + n / 1000) for n in range(21)]
    behind = [alice.ask(MessageSend, NOW + n / 20) for n in range(1, 20)]
    at_its_time = alice.ask(MessageSend, NOW + 1.02)

    assert first[20]
    assert 1000 == first[20].ms
    assert all(behind)
    assert at_its_time is None


def test_who_does_not_wait_is_cut_off_after_the_time_it_takes_to_know(alice: Person) -> None:
    """A hundred a second, whatever the server says."""
    answers = [(step / 100, alice.ask(MessageSend, NOW + step / 100)) for step in range(1000)]

    last = [after for after, wait in answers if wait and wait.is_last]

    assert GRACE_S < last[0] < GRACE_S + 2.3


def test_what_was_under_way_when_the_first_was_refused_is_forgiven(alice: Person) -> None:
    answers = [alice.ask(MessageSend, NOW + n / 1000) for n in range(900)]

    assert not any(wait and wait.is_last for wait in answers)


def once(alice: Person, command: type, start: float, count: int, late: Callable[[], float]) -> list[Wait]:
    """Ask ``count`` times at once, and again for each that is refused, as late as told and a bit."""
    due = [start] * count
    refusals = []
    while due:
        due.sort()
        now = due.pop(0)
        if wait := alice.ask(command, now):
            refusals.append(wait)
            due.append(now + wait.ms / 1000 + late())
    return refusals


@pytest.mark.parametrize("jitter_s", [0, 0.001, 0.5, 5])
@pytest.mark.parametrize("count", [21, 61, 200, 290])
@pytest.mark.parametrize("command", [MessageSend, ConversationList])
def test_who_waits_for_each_as_long_as_told_is_never_cut_off_and_seldom_refused_twice(
    alice: Person, command: type, count: int, jitter_s: float
) -> None:
    dice = random.Random(count)

    refusals = once(alice, command, NOW, count, lambda: dice.uniform(0, jitter_s))

    assert not any(wait.is_last for wait in refusals)
    assert len(refusals) <= count


def test_another_device_takes_what_one_waits_for_and_that_is_no_fault(limits: Limits, alice: Person) -> None:
    """Each comes when told, and both together get what there is."""
    phone = Person(limits)
    due = [(NOW, "laptop")] * 150 + [(NOW, "phone")]
    while any(device == "laptop" for _, device in due):
        due.sort()
        now, device = due.pop(0)
        wait = (phone if device == "phone" else alice).ask(MessageSend, now)
        assert not (wait and wait.is_last)
        if wait:
            due.append((now + wait.ms / 1000, device))
        elif device == "phone":
            due.append((now + 0.2, device))

    assert 12.9 < now - NOW < 60


def test_who_finds_the_place_taken_that_was_promised_is_not_to_blame(limits: Limits, alice: Person) -> None:
    """The same user's script sends by POST all that there is, and does not wait for anything."""
    due = [NOW] * 100
    for tick in range(1000):
        now = NOW + tick / 50
        limits.ask(ALICE, limits.of_posts(ALICE, now), MessageSend, now)
        for at in [at for at in due if at <= now]:
            due.remove(at)
            wait = alice.ask(MessageSend, now)
            assert not (wait and wait.is_last)
            if wait:
                due.append(now + wait.ms / 1000)

    assert len(due) > 50


def test_a_second_storm_is_judged_anew(alice: Person) -> None:
    """What nobody came back for does not count for ever, nor against what comes later."""
    for start in range(0, 600, 60):
        storm = [alice.ask(MessageSend, NOW + start) for _ in range(250)]
        assert [None] * 20 == storm[:20]
        assert not any(wait.is_last for wait in storm if wait)


def test_patience_is_counted_for_each_kind_of_command(alice: Person) -> None:
    for _ in range(200):
        alice.ask(MessageSend, NOW)

    reads = [alice.ask(ConversationList, NOW + 5) for _ in range(100)]

    assert 60 == reads.count(None)
    assert not any(wait.is_last for wait in reads if wait)


def test_what_one_connection_did_not_wait_for_is_not_held_against_another(limits: Limits, alice: Person) -> None:
    for step in range(500):
        alice.ask(MessageSend, NOW + step / 100)

    wait = Person(limits).ask(MessageSend, NOW + 4.99)

    assert wait
    assert not wait.is_last


def test_a_flood_leaves_little_behind(alice: Person) -> None:
    for step in range(100_000):
        alice.ask(MessageSend, NOW + step / 10_000)

    assert alice.allowance.patience
    (patience,) = alice.allowance.patience.values()
    assert len(patience._appointments) <= 1000
    assert len(patience._strikes) == 3


def test_who_tries_keeps_no_place_and_is_told_when_there_is_one_however_late() -> None:
    some = bucket(1 / 1800, burst=2)

    waits = [some.try_s(NOW) for _ in range(4)]

    assert [0, 0, 1800, 1800] == [round(wait) for wait in waits]
    assert [0, 1000] == [some.try_s(NOW + 1800), round(some.try_s(NOW + 2600))]


def test_codes_count_by_address_and_in_total_and_a_total_that_is_used_up_costs_nobody_anything() -> None:
    limits = Limits(Settings(codes_per_h=2, all_codes_per_h=3))

    waits = [limits.of_code(address, NOW) for address in ("a", "a", "a", "b", "b", None)]

    assert [0, 0, 1_800_000, 0, 1_200_000, 1_200_000] == waits
