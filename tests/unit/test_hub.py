"""Who hears what: exactly the channels that one is in, from one's place on, as long as one is in them."""

from collections import defaultdict
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ws.frame import Frame, payload_of
from echo_ws.hub import Apart, Change, Channel, Hub, Kind
from echo_ws_protocol.codec import JSON, MSGPACK
from echo_ws_protocol.events import Typing
from tests.support.listening import Device

ALICE, BOB, CAROL = UUID(int=1), UUID(int=2), UUID(int=3)
HERE, THERE = Channel("c", UUID(int=10)), Channel("c", UUID(int=11))


def revs(device: Device) -> list[int]:
    """Return the revs of what was written: in these tests a frame is no more than that."""
    return [int(wire) for wire in device.written]


def change(rev: int) -> Change:
    return Change(rev, Kind.MESSAGE, Frame(str(rev).encode()))


def typing(actor: UUID) -> Change:
    shown = Typing(conversation=HERE.id, user=actor, kind="text", expires_ms=1)
    return Change(0, Kind.MOMENTARY, Frame.of(shown), actor)


def test_each_listener_hears_from_its_place_on() -> None:
    hub = Hub()
    early, late = Device(ALICE), Device(BOB)
    hub.join(early, HERE, 3)
    hub.join(late, HERE, 5)

    counts = [hub.topics[HERE].deliver(change(rev)) for rev in (4, 5, 6)]

    assert [1, 1, 2] == counts
    assert ([4, 5, 6], [6]) == (revs(early), revs(late))


def test_joining_again_neither_doubles_nor_moves_ones_place() -> None:
    hub = Hub()
    alice = Device(ALICE)

    assert [True, False] == [hub.join(alice, HERE, 3), hub.join(alice, HERE, 9)]
    hub.topics[HERE].deliver(change(4))

    assert [4] == revs(alice)


def test_a_place_above_the_stream_makes_the_node_look() -> None:
    hub = Hub()
    hub.join(Device(ALICE), HERE, 3)
    behind_before = hub.topics[HERE].stream.is_behind

    hub.join(Device(BOB), HERE, 5)

    assert (False, True) == (behind_before, hub.topics[HERE].stream.is_behind)


def test_a_momentary_change_reaches_all_but_its_actors_devices() -> None:
    hub = Hub()
    phone, laptop, bob = Device(ALICE), Device(ALICE), Device(BOB)
    for device in (phone, laptop, bob):
        hub.join(device, HERE, 0)

    count = hub.topics[HERE].mention(typing(ALICE))

    assert (1, 0, 0, 1) == (count, len(phone.written), len(laptop.written), len(bob.written))


def test_a_receipt_reaches_its_actors_devices_too_and_those_apart_get_another_frame_or_none() -> None:
    hub = Hub()
    alice, bob, carol = Device(ALICE), Device(BOB), Device(CAROL)
    for device in (alice, bob, carol):
        hub.join(device, HERE, 0)
    whole, part = Frame(b"delivered and read"), Frame(b"delivered")

    counts = [
        hub.topics[HERE].mention(Change(0, Kind.STATE, whole, ALICE, Apart(frozenset({CAROL}), instead)))
        for instead in (part, None)
    ]

    assert [3, 2] == counts
    assert ([whole.json] * 2, [whole.json] * 2, [part.json]) == (alice.written, bob.written, carol.written)


def test_a_frame_is_made_once_for_each_codec() -> None:
    hub = Hub()
    devices = [Device(BOB, codec) for codec in (JSON, MSGPACK, JSON, MSGPACK)]
    for device in devices:
        hub.join(device, HERE, 0)

    hub.topics[HERE].mention(typing(ALICE))

    wires = [device.written[0] for device in devices]
    assert wires[0] is wires[2]
    assert wires[1] is wires[3]
    assert JSON.decode_server_frame(payload_of(wires[0])) == MSGPACK.decode_server_frame(payload_of(wires[1]))


def test_the_last_one_to_leave_closes_the_channel() -> None:
    hub = Hub()
    alice, bob = Device(ALICE), Device(BOB)
    hub.join(alice, HERE, 0)
    hub.join(bob, HERE, 0)

    assert [False, False, True] == [hub.leave(alice, HERE), hub.leave(alice, HERE), hub.leave(bob, HERE)]
    assert {} == hub.topics


def test_a_disconnect_leaves_everything_and_names_what_nobody_hears_any_more() -> None:
    hub = Hub()
    phone, laptop = Device(ALICE), Device(ALICE)
    hub.join(phone, HERE, 0)
    hub.join(phone, THERE, 0)
    hub.join(laptop, HERE, 0)

    gone = hub.disconnect(phone)

    assert [THERE] == gone
    assert (laptop,) == hub.connections_of(ALICE)
    assert [HERE] == hub.disconnect(laptop)
    assert () == hub.connections_of(ALICE)
    assert 0 == len(hub)


def test_a_disconnect_of_somebody_unknown_changes_nothing() -> None:
    assert [] == Hub().disconnect(Device(ALICE))


steps = st.one_of(
    st.tuples(st.just("join"), st.integers(0, 3), st.sampled_from((HERE, THERE))),
    st.tuples(st.just("leave"), st.integers(0, 3), st.sampled_from((HERE, THERE))),
    st.tuples(st.just("disconnect"), st.integers(0, 3), st.just(HERE)),
    st.tuples(st.just("deliver"), st.just(0), st.sampled_from((HERE, THERE))),
)


@settings(deadline=None)
@given(st.lists(steps, max_size=60))
def test_whoever_comes_and_goes_everybody_hears_what_happens_while_they_are_in(
    story: list[tuple[str, int, Channel]],
) -> None:
    hub = Hub()
    devices = [Device(user) for user in (ALICE, ALICE, BOB, BOB)]
    members: dict[Channel, set[Device]] = defaultdict(set)
    expected: dict[Device, list[int]] = {device: [] for device in devices}
    rev = 0

    for step, number, channel in story:
        device = devices[number]
        match step:
            case "join":
                assert (not members[channel]) is hub.join(device, channel, rev)
                members[channel].add(device)
            case "leave":
                assert (members[channel] == {device}) is hub.leave(device, channel)
                members[channel].discard(device)
            case "disconnect":
                alone = {channel for channel in (HERE, THERE) if members[channel] == {device}}
                assert alone == set(hub.disconnect(device))
                for everywhere in (HERE, THERE):
                    members[everywhere].discard(device)
            case _:
                rev += 1
                if topic := hub.topics.get(channel):
                    assert len(members[channel]) == topic.deliver(change(rev))
                for member in members[channel]:
                    expected[member].append(rev)
        assert {channel for channel in (HERE, THERE) if members[channel]} == set(hub.topics)

    assert expected == {device: revs(device) for device in devices}
    assert len({device for joined in members.values() for device in joined}) <= len(hub) <= len(devices)
