"""Calls go as they like until one must wait, and then in the order in which they were made."""

import asyncio

from echo_ws.turns import Turns


async def call(turns: Turns, name: str, order: list[str], *, refused: int = 0) -> None:
    """Ask as the client does: again for each time it is refused."""
    place = turns.begin()
    try:
        while True:
            await turns.come(place)
            await asyncio.sleep(0)  # the answer is on its way
            if not refused:
                order.append(name)
                return
            refused -= 1
            turns.take_turns()
            await asyncio.sleep(0)
    finally:
        turns.end(place)


async def test_nobody_waits_for_who_is_not_refused() -> None:
    turns, order = Turns(), list[str]()
    slow = turns.begin()

    await call(turns, "second", order)
    turns.end(slow)

    assert ["second"] == order


async def test_once_one_is_refused_each_goes_after_those_made_before_it() -> None:
    turns, order = Turns(), list[str]()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for name, refused in (("a", 0), ("b", 3), ("c", 0), ("d", 1), ("e", 0)):
            group.create_task(call(turns, name, order, refused=refused))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        group.create_task(call(turns, "f", order))

    assert ["a", "c", "e", "b", "d", "f"] == order  # c and e were under way when b was refused


async def test_who_gives_up_holds_up_nobody() -> None:
    turns, order = Turns(), list[str]()
    turns.take_turns()
    first = turns.begin()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        second = group.create_task(call(turns, "second", order))
        group.create_task(call(turns, "third", order))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        turns.end(first)

    assert ["third"] == order


async def test_when_none_is_left_all_are_free_again() -> None:
    turns, order = Turns(), list[str]()
    await call(turns, "refused", order, refused=1)
    slow = turns.begin()

    await call(turns, "free", order)
    turns.end(slow)

    assert ["refused", "free"] == order
