import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ws.heartbeat import NOWHERE, Heartbeat, Wheel, tick_for


class Item:
    """Wants to be looked at again after each of ``delays``, then no more."""

    def __init__(self, *delays: float | Exception) -> None:
        self.slot = NOWHERE
        self.delays = list(delays)
        self.looks: asyncio.Queue[float] = asyncio.Queue()

    def look(self, now: float) -> float | None:
        self.looks.put_nowait(now)
        delay = self.delays.pop(0) if self.delays else None
        if isinstance(delay, Exception):
            raise delay
        return delay

    async def next_look(self) -> float:
        return await asyncio.wait_for(self.looks.get(), 5)


@given(start=st.floats(0, 1e6), delay=st.floats(0, 60), tick=st.sampled_from([0.01, 0.25]))
def test_an_item_comes_up_in_time_and_not_early(start: float, delay: float, tick: float) -> None:
    """Unless it lies beyond the last slot: then early, to be put again."""
    wheel, item = Wheel(tick, start), Item()
    at = start + delay
    wheel.put(item, at)
    horizon = start + 250 * tick

    early = wheel.due(min(at, horizon) - tick)
    late = wheel.due(max(at, start) + 2 * tick)

    assert ([], [item]) == (early, late)


def test_an_item_comes_up_once() -> None:
    wheel, item = Wheel(1, 0), Item()
    wheel.put(item, 5)

    assert [item] == wheel.due(6)
    assert [] == wheel.due(300)


def test_putting_again_moves_an_item() -> None:
    wheel, item = Wheel(1, 0), Item()
    wheel.put(item, 5)
    wheel.put(item, 9)

    assert [] == wheel.due(8)
    assert [item] == wheel.due(9)


def test_what_is_taken_out_does_not_come_up() -> None:
    wheel, item = Wheel(1, 0), Item()
    wheel.put(item, 5)

    wheel.take(item)
    wheel.take(item)

    assert [] == wheel.due(6)
    assert item.slot == NOWHERE


def test_after_a_long_pause_everything_due_comes_up_once() -> None:
    wheel = Wheel(1, 0, slots=16)
    items = [Item() for _ in range(15)]
    for seconds, item in enumerate(items, 1):
        wheel.put(item, seconds)

    assert set(items) == set(wheel.due(1000))
    assert [] == wheel.due(2000)


def test_a_clock_that_goes_back_does_no_harm() -> None:
    wheel, item = Wheel(1, 100), Item()
    wheel.put(item, 105)

    assert [] == wheel.due(50)
    assert [item] == wheel.due(105)


@pytest.mark.parametrize(("deadlines", "tick"), [((20, 10, 5, 3), 0.25), ((20, 0.2), 0.025), ((0.001, 20), 0.01)])
def test_the_tick_suits_the_shortest_deadline(deadlines: tuple[float, ...], tick: float) -> None:
    assert tick == tick_for(deadlines)


async def test_the_heartbeat_looks_again_after_the_delay_that_it_is_told() -> None:
    heartbeat, item = Heartbeat(asyncio.get_running_loop(), 0.01), Item(0.05)
    heartbeat.start()
    heartbeat.put(item, 0)

    first, second = await item.next_look(), await item.next_look()
    heartbeat.stop()

    assert 0.049 < second - first < 1  # numbers with a point are never exact
    assert item.slot == NOWHERE


async def test_a_look_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    heartbeat = Heartbeat(asyncio.get_running_loop(), 0.01)
    broken, other = Item(RuntimeError()), Item()
    heartbeat.start()
    heartbeat.put(broken, 0)
    heartbeat.put(other, 0)

    with caplog.at_level(logging.ERROR):
        await broken.next_look()
        await other.next_look()
        await broken.next_look()
    heartbeat.stop()

    assert len(caplog.records) == 1


async def test_after_a_stall_the_silence_is_nobodys_fault() -> None:
    loop = asyncio.get_running_loop()
    heartbeat, item = Heartbeat(loop, 0.01), Item()
    before = now = loop.time()
    heartbeat.time = lambda: now
    heartbeat.put(item, 0)
    now += 60
    heartbeat._beat()
    looked_at_once = not item.looks.empty()
    now += 0.02
    heartbeat._beat()
    heartbeat.stop()

    assert not looked_at_once
    assert (before + 60, now) == (heartbeat.awake_since, item.looks.get_nowait())
