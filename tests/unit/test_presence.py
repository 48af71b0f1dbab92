"""Who is here: as long as any device is, and a moment longer; who looks: at these people and no others."""

from uuid import UUID

from echo_ws.presence import Presence, Shown, Sight, Watches, Word
from echo_ws_protocol.types import PresenceStatus
from tests.support.listening import Device

ALICE, BOB, CAROL = UUID(int=1), UUID(int=2), UUID(int=3)


class People:
    """The devices that are connected, and the time."""

    def __init__(self) -> None:
        self.devices: dict[UUID, list[PresenceStatus]] = {}
        self.presence = Presence(lambda user: self.devices.get(user, []), grace_s=15)

    def have(self, user: UUID, *devices: PresenceStatus, at: float = 0) -> None:
        self.devices[user] = list(devices)
        self.presence.changed(user, at)

    def written(self, at: float = 0) -> list[Word]:
        words = self.presence.due(at)
        self.presence.noted(words)
        return words


def test_of_several_devices_the_one_that_says_most_counts() -> None:
    people = People()

    people.have(ALICE, "away", "online")
    people.have(BOB, "online", "busy", "away")

    assert [Word(ALICE, "online"), Word(BOB, "busy")] == people.written()


def test_many_changes_within_a_tick_are_one_and_none_if_all_is_as_before() -> None:
    people = People()
    people.have(ALICE, "online")
    people.written()

    people.have(ALICE, "away")
    people.have(ALICE, "online")

    assert [] == people.written()


def test_who_comes_back_within_the_grace_was_never_gone() -> None:
    people = People()
    people.have(ALICE, "online")
    people.written()

    people.have(ALICE, at=100)
    assert [] == people.written(at=114.9)
    people.have(ALICE, "online", at=114.9)

    assert [] == people.written(at=200)


def test_who_stays_away_is_gone_since_the_last_device_went() -> None:
    people = People()
    people.have(ALICE, "online")
    people.written()

    people.have(ALICE, at=100)

    assert [] == people.written(at=110)
    assert [Word(ALICE, "offline", 16)] == people.written(at=116)
    assert [] == people.written(at=117)


def test_who_came_and_went_between_two_ticks_is_no_news() -> None:
    people = People()

    people.have(ALICE, "online")
    people.have(ALICE)

    assert [] == people.written(at=99)


def test_what_could_not_be_written_is_due_again() -> None:
    people = People()
    people.have(ALICE, "online")

    first = people.presence.due(0)

    assert first == people.written() == [Word(ALICE, "online")]
    assert [] == people.written()


def test_what_changes_while_it_is_written_is_due_the_next_time() -> None:
    people = People()
    people.have(ALICE, "online")
    words = people.presence.due(0)

    people.have(ALICE, "busy")
    people.presence.noted(words)

    assert [Word(ALICE, "busy")] == people.written()


def test_all_is_written_anew_when_what_was_written_is_forgotten() -> None:
    people = People()
    people.have(ALICE, "online")
    people.have(BOB, "away")
    people.written()

    people.presence.forget()

    assert {Word(ALICE, "online"), Word(BOB, "away")} == set(people.written())


def test_a_new_list_takes_the_place_of_the_old_one() -> None:
    watches, here, there = Watches(), Device(ALICE), Device(ALICE)
    watches.watch(there, [BOB])

    assert ({CAROL}, set()) == watches.watch(here, [BOB, CAROL])
    assert (set(), {CAROL}) == watches.watch(here, [BOB])
    assert (set(), set()) == watches.watch(here, [])

    assert [there] == [listener for listener, _ in watches.of(BOB)]
    assert [(there, BOB)] == watches.pairs()


def test_what_one_may_see_is_news_once() -> None:
    watches, device = Watches(), Device(ALICE)
    watches.watch(device, [BOB])

    assert [True, False, True] == [
        watches.see(device, BOB, sight) for sight in (Sight.STATUS, Sight.STATUS, Sight.NOTHING)
    ]
    assert not watches.see(device, CAROL, Sight.STATUS)


def test_what_is_not_shown_is_left_out() -> None:
    assert Shown("online", None) == Shown("online", None).to(Sight.STATUS)
    assert Shown(None, None) == Shown("online", None).to(Sight.LAST_SEEN)
