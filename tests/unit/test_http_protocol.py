import asyncio

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from echo_ws.http.protocol import gently


async def receive() -> Message:
    return {"type": "http.disconnect"}


async def send(_: Message) -> None:
    pass


async def test_of_requests_that_come_at_once_one_begins_in_a_turn_of_the_loop() -> None:
    """What else there is to do comes in between; and who came first is first."""
    turn, began = 0, []

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        began.append((scope["number"], turn))

    counting = asyncio.create_task(count())
    run = gently(app)
    await asyncio.gather(*(run({"number": number}, receive, send) for number in range(10)))
    counting.cancel()

    assert list(range(10)) == [number for number, _ in began]
    assert 10 == len({turn for _, turn in began})


async def test_a_client_that_leaves_is_no_error_and_any_other_is() -> None:
    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        raise scope["error"]

    await gently(app)({"error": ClientDisconnect()}, receive, send)
    with pytest.raises(ZeroDivisionError):
        await gently(app)({"error": ZeroDivisionError()}, receive, send)
