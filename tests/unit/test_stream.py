"""Whatever is lost, doubled or swapped on the way: in order, each at most once, and nothing missing in the end."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ws.stream import MAX_HELD, Stream

THINGS = 4


class Store:
    """A database: each change gives one of a few things a new rev, and a look shows every thing as it now is."""

    def __init__(self) -> None:
        self.history: list[int] = []

    @property
    def last_rev(self) -> int:
        return len(self.history)

    def change(self, thing: int) -> None:
        self.history.append(thing)

    def thing_of(self, rev: int) -> int:
        return self.history[rev - 1]

    def is_current(self, rev: int) -> bool:
        return self.thing_of(rev) not in self.history[rev:]

    def look(self, above: int, limit: int) -> tuple[list[tuple[int, int]], int]:
        """Return a page of what changed above a rev, and the rev up to which it is complete."""
        changed = [rev for rev in range(above + 1, self.last_rev + 1) if self.is_current(rev)]
        page = changed[:limit]
        return [(rev, rev) for rev in page], page[-1] if len(page) == limit else self.last_rev


class Node:
    """A stream between a store and a network that may do what it likes; its changes are their own revs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.stream: Stream[int] = Stream(0)
        self.due: list[int] = []
        self.pages: list[tuple[list[tuple[int, int]], int]] = []

    def offer(self, rev: int) -> None:
        self.due += self.stream.offer(rev, rev)

    def look(self, limit: int) -> None:
        """Ask; the answer may come much later."""
        self.pages.append(self.store.look(self.stream.rev, limit))

    def fill(self, page: int) -> None:
        self.due += self.stream.fill(*self.pages.pop(page))

    def catch_up(self) -> None:
        self.stream.hear_of(self.store.last_rev)
        while self.stream.is_behind:
            self.look(limit=3)
            self.fill(-1)


def offers(numbers: Sequence[int]) -> list[int]:
    """Return what is due after these are offered."""
    stream: Stream[int] = Stream(0)
    return [due for number in numbers for due in stream.offer(number, number)]


actions = st.one_of(
    st.tuples(st.just("change"), st.integers(0, THINGS - 1)),
    st.tuples(st.just("offer"), st.integers(0, 50)),
    st.tuples(st.just("hear of"), st.integers(0, 50)),
    st.tuples(st.just("look"), st.integers(1, 4)),
    st.tuples(st.just("fill"), st.integers(0, 50)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(actions, max_size=80))
def test_whatever_happens_on_the_way_all_is_due_in_order_once_and_complete(story: list[tuple[str, int]]) -> None:
    store = Store()
    node = Node(store)

    for action, number in story:
        if action == "change":
            store.change(number)
        elif action == "look":
            node.look(number)
        elif action == "fill" and node.pages:
            node.fill(number % len(node.pages))
        elif action == "offer" and store.last_rev:
            node.offer(1 + number % store.last_rev)
        elif action == "hear of" and store.last_rev:
            node.stream.hear_of(1 + number % store.last_rev)
        assert node.due == sorted(set(node.due))
    node.catch_up()

    assert node.due == sorted(set(node.due))
    assert {rev for rev in range(1, store.last_rev + 1) if store.is_current(rev)} <= set(node.due)
    assert (store.last_rev, False) == (node.stream.rev, node.stream.is_behind)


@given(st.permutations(range(1, 30)))
def test_what_only_comes_in_disorder_needs_no_database(revs: list[int]) -> None:
    assert list(range(1, 30)) == offers(revs)


def test_what_comes_early_waits_for_what_is_missing() -> None:
    stream: Stream[str] = Stream(7)

    assert [] == stream.offer(9, "nine")
    assert [] == stream.offer(10, "ten")
    assert stream.is_behind
    assert ["eight", "nine", "ten"] == stream.offer(8, "eight")
    assert not stream.is_behind


def test_what_was_there_before_the_stream_is_not_due() -> None:
    assert [] == Stream[str](7).offer(7, "seven")


def test_the_first_of_two_with_one_rev_is_kept() -> None:
    stream: Stream[str] = Stream(0)

    for text in ("first", "second"):
        stream.offer(2, text)

    assert ["one", "first"] == stream.offer(1, "one")
    assert [] == stream.offer(2, "third")


def test_a_fill_shows_several_of_one_rev_and_skips_what_has_changed_since() -> None:
    stream: Stream[str] = Stream(0)

    due = stream.fill([(1, "member"), (1, "another member"), (4, "message")], 5)

    assert ["member", "another member", "message"] == due
    assert 5 == stream.rev


def test_a_fill_lets_go_what_was_held_behind_it() -> None:
    stream: Stream[str] = Stream(0)
    stream.offer(3, "three")
    stream.offer(5, "five")

    assert ["one", "two", "three"] == stream.fill([(1, "one"), (2, "two")], 2)
    assert ["four", "five"] == stream.offer(4, "four")


def test_a_fill_beyond_what_it_covers_is_left_for_the_next() -> None:
    stream: Stream[str] = Stream(0)

    assert ["one"] == stream.fill([(1, "one"), (3, "three")], 2)
    assert ["three"] == stream.fill([(3, "three")], 3)


def test_a_stale_fill_takes_nothing_back() -> None:
    stream: Stream[str] = Stream(0)
    stream.fill([(5, "five")], 5)

    assert [] == stream.fill([(2, "two")], 3)
    assert 5 == stream.rev


def test_hearing_of_a_rev_makes_it_behind_and_of_an_old_one_does_not() -> None:
    stream: Stream[str] = Stream(3)

    stream.hear_of(3)
    assert not stream.is_behind
    stream.hear_of(4)
    assert stream.is_behind


def test_what_is_held_is_bounded_and_the_rest_is_read_from_the_database() -> None:
    store = Store()
    node = Node(store)
    for number in range(2 * MAX_HELD):
        store.change(number)
    for rev in range(2, 2 * MAX_HELD + 1):
        node.offer(rev)

    node.offer(1)

    assert MAX_HELD + 1 == len(node.due)
    assert node.stream.is_behind
    node.catch_up()
    assert list(range(1, 2 * MAX_HELD + 1)) == node.due
