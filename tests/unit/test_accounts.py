import asyncio
from collections.abc import AsyncIterator

import pytest

from echo_ws import accounts
from echo_ws.accounts import Accounts
from echo_ws.errors import Busy
from echo_ws.limits import Limits
from echo_ws.settings import Settings
from echo_ws.tokens import AccessTokens

PASSWORD = "correct horse 🐎"


@pytest.fixture
async def services() -> AsyncIterator[Accounts]:
    settings = Settings()
    services = Accounts(settings, Limits(settings), asyncio.get_running_loop().time, AccessTokens({}, "nobody"))
    yield services
    await services.close()


async def test_of_a_crowd_as_many_are_served_as_may_wait_and_the_others_come_again(services: Accounts) -> None:
    crowd = [services.hash(PASSWORD) for _ in range(1 + accounts.MOST_WAITING + 2)]

    found = await asyncio.gather(*crowd, return_exceptions=True)

    assert 1 + accounts.MOST_WAITING == sum(isinstance(each, str) for each in found)
    assert [Busy, Busy] == [type(each) for each in found[-2:]]
    assert await services.hash(PASSWORD)


async def test_one_comes_after_the_other(services: Accounts) -> None:
    """Whatever belongs to a turn, such as asking the database, is done in it alone."""
    seen: list[tuple[int, str]] = []

    async def come(number: int) -> None:
        async with services.turn():
            seen.append((number, "begins"))
            await asyncio.sleep(0)
            seen.append((number, "ends"))

    await asyncio.gather(*map(come, range(4)))

    assert [(number, what) for number in range(4) for what in ("begins", "ends")] == seen


async def test_who_waits_too_long_comes_again_and_holds_nobody_up(
    services: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "LONGEST_WAIT_S", 0.01)
    async with services.turn():
        with pytest.raises(Busy):
            await services.hash(PASSWORD)

    assert await services.hash(PASSWORD)


async def test_a_turn_that_fails_is_over(services: Accounts) -> None:
    with pytest.raises(ZeroDivisionError):
        async with services.turn():
            raise ZeroDivisionError

    assert await services.hash(PASSWORD)
