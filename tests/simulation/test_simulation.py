"""Whatever is lost, doubled, swapped or late, and whoever comes, goes, dozes or crashes: in the end every client shows
what the database holds, and on the way nobody is told anything twice, or anything that is not for him.

`SIMULATION_SEEDS=1000 scripts/test tests/simulation` runs more stories than usual; a story is its seed.
"""

import os
from contextlib import suppress
from typing import Any

import pytest

from echo_ws.connection import Connection
from echo_ws.dispatch import Context
from echo_ws.feed import Feed
from echo_ws.position import Follower
from echo_ws.stream import Stream
from echo_ws_db.pool import StoreError

from .clock import run
from .town import Town

SEEDS = range(int(os.environ.get("SIMULATION_SEEDS", "60")))
ACTIONS = 200


def play(*seeds: int) -> None:
    for seed in seeds:
        town = Town(seed)
        run(town.live(ACTIONS))
        for device in town.devices:
            assert device.is_current
            for conversation in town.database.conversations:
                assert town.view(device.user, conversation) == device.views.get(conversation)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_the_end_every_client_shows_what_the_database_holds(seed: int) -> None:
    play(seed)


async def _never(*_: Any) -> None:
    """In place of a sweep."""


async def _answer_first(context: Context) -> None:
    """Begin to listen when the answer has been read, if the database is there then."""
    listener, feed = context.listener, context.services.feed
    assert listener

    async def listen() -> None:
        with suppress(StoreError):
            await feed.attach(listener)

    feed._spawn(listen())


def _pass_over(stream: Stream[Any], rev: int, change: Any) -> list[Any]:
    """Do not wait for what is missing."""
    stream.rev = rev
    return [change]


def _drop_silently(connection: Connection) -> None:
    """Tell a slow client no more, and not that this is so."""
    connection._commons.service.fell_behind(connection)


BUGS: dict[str, tuple[type, str, Any]] = {
    "no sweep": (Feed, "_sweep", _never),
    "one who left goes on hearing": (Feed, "_follow_member", lambda *_: None),
    "one who comes is not let in": (Feed, "_let_in", lambda *_: None),
    "a hole is passed over": (Stream, "offer", _pass_over),
    "an answer comes after events that continue it": (Connection, "hold", lambda *_: None),
    "an answer is read before listening begins": (Context, "hear", _answer_first),
    "one who fell behind hears no more": (Context, "hear", _never),
    "one who fell behind is not told": (Connection, "_fall_behind", _drop_silently),
    "a client moves on before it is answered": (Follower, "_is_followed", lambda *_: True),
    "a client does not ask for more": (Follower, "is_current", property(lambda _: True)),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BUGS[bug])

    with pytest.raises(AssertionError):
        play(*range(300))
