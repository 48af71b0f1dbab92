"""What only the client and the real server together can show."""

import asyncio

import pytest

from echo_ws.client import Client, Closed
from echo_ws_protocol.commands import ConversationCreate, MessageHistory, MessageSend
from echo_ws_protocol.errors import CloseCode
from echo_ws_protocol.ids import uuid7
from tests.support.relay import Relay
from tests.support.world import Worker, World


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("first_frame", [False, True], ids=["header", "first frame"])
async def test_a_session_opens_by_both_ways_in_both_encodings(
    codec: str, first_frame: bool, people: World, worker: Worker
) -> None:
    user = await people.user()

    device = await people.device(user, worker, codec=codec, first_frame=first_frame)

    assert user == device.user


@pytest.mark.parametrize("first_frame", [False, True], ids=["header", "first frame"])
async def test_a_token_that_is_not_good_is_refused_for_good(first_frame: bool, worker: Worker) -> None:
    with pytest.raises(Closed) as closed:
        async with Client(worker.url, token="nobody-has-this", first_frame=first_frame, open_timeout=5):
            pass

    assert CloseCode.UNAUTHENTICATED == closed.value.code


async def test_sends_under_way_in_a_lost_connection_are_stored_once_each(people: World, worker: Worker) -> None:
    """Whether the answer was lost or the send itself: the caller sees one answer, the conversation one message."""
    user = await people.user()
    async with Relay(worker.url) as relay, Client(relay.url, token=await people.token(user)) as alice:
        created = await alice.call(ConversationCreate(conversation=uuid7(), type="group"))
        here = created.conversation
        ids = [uuid7() for _ in range(200)]

        sends = [
            asyncio.create_task(alice.call(MessageSend(conversation=here, message=id_, content="hi"))) for id_ in ids
        ]
        await sends[50]
        await relay.cut()
        await relay.mend()
        answers = await asyncio.gather(*sends)

        first, second = [
            await alice.call(MessageHistory(conversation=here, after=after, limit=100)) for after in (0, 100)
        ]
    stored = {message.message: message.seq for message in (*first.messages, *second.messages)}
    assert dict(zip(ids, (answer.seq for answer in answers), strict=True)) == stored
    assert set(range(1, 201)) == set(stored.values())
