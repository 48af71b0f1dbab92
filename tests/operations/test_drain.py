"""A worker that stops: what is at work is finished, everybody is told when to come back, and nobody else is let in."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from echo_ws_protocol.ids import uuid7
from tests.support.doors import Line, line
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import Worker, World


@pytest.fixture
async def leaving(people: World) -> Worker:
    """Return a worker that the test drains itself."""
    return await people.worker(drain_s=2)


async def closed(one: Line) -> tuple[int, Any]:
    """Return the code with which the server closes, and the reason as JSON."""
    with pytest.raises(ConnectionClosed) as caught:
        await one.hear("nothing more")
    assert caught.value.rcvd
    return caught.value.rcvd.code, json.loads(caught.value.rcvd.reason)


async def begin_a_send(sender: Line, worker: Worker, db: Sql, room: UUID, content: str) -> None:
    """Send what stays at work until the transaction of ``db`` ends, which locks the conversation."""
    await db.execute("SELECT FROM messages.heads WHERE conversation_id = $1 FOR UPDATE", room)
    message = {"conversation": str(room), "message": str(uuid7()), "content": content}
    await sender.say({"op": "message.send", "id": 1, **message})

    async def is_at_work() -> bool:
        return worker.server.writer.waiting > 0

    await until(is_at_work)


async def test_each_is_told_another_time_to_come_back(people: World, leaving: Worker) -> None:
    async with AsyncExitStack() as stack:
        token = await people.token(await people.user())
        lines = [await stack.enter_async_context(line(leaving, token)) for _ in range(5)]
        for one in lines:
            await one.hear("hello")

        draining = asyncio.create_task(leaving.server.drain())
        told = [(await one.hear("bye"))["after_ms"] for one in lines]
        closes = [await closed(one) for one in lines]
        await draining

    assert [0, 1000, 2000, 3000, 4000] == sorted(told)
    assert [(4000, {"retry_after_ms": after_ms}) for after_ms in told] == closes


async def test_a_send_at_work_is_answered_before_the_connection_closes(people: World, leaving: Worker, db: Sql) -> None:
    alice = await people.user()
    room = await people.room("group", alice)
    async with line(leaving, await people.token(alice)) as sender:
        await sender.hear("hello")
        async with db.transaction():
            await begin_a_send(sender, leaving, db, room, "last words")
            draining = asyncio.create_task(leaving.server.drain())
            await sender.hear("bye")

        assert 1 == (await sender.hear("reply"))["ok"]["seq"]
        assert 4000 == (await closed(sender))[0]
        await draining


async def test_what_is_at_work_when_the_data_is_restored_is_not_said_to_be_undone(
    people: World, leaving: Worker, db: Sql
) -> None:
    alice = await people.user()
    room = await people.room("group", alice)
    async with line(leaving, await people.token(alice)) as sender:
        await sender.hear("hello")
        async with db.transaction():
            await begin_a_send(sender, leaving, db, room, "perhaps")
            leaving.server._begin_epoch("another")

            assert 1001 == (await closed(sender))[0]


async def test_nobody_else_is_let_in_and_the_worker_is_not_ready(people: World, leaving: Worker) -> None:
    async with line(leaving, await people.token(await people.user())) as somebody:
        await somebody.hear("hello")
        draining = asyncio.create_task(leaving.server.drain())
        await somebody.hear("bye")

        assert not leaving.server.is_ready
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", leaving.port)
        await draining


async def test_a_worker_that_is_cut_off_from_postgresql_leaves_its_clients_to_those_that_are_not(people: World) -> None:
    await people.worker()
    impatient = await people.worker(cut_off_s=1e-6)  # so that the last answer is always too long ago
    token = await people.token(await people.user())
    async with line(impatient, token) as somebody:
        await somebody.hear("bye")

        assert 4000 == (await closed(somebody))[0]
    assert not impatient.server.is_ready
    with pytest.raises(InvalidStatus, match="503"):
        async with line(impatient, token):
            pass
