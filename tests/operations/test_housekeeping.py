"""What a worker does by itself, on a schedule."""

from echo_ws import tokens
from echo_ws_db import sessions
from tests.support.waiting import until
from tests.support.world import World


async def test_expired_sessions_are_deleted_and_good_ones_are_not(world: World) -> None:
    user = await world.user()
    await sessions.issue(world.store, user, tokens.digest("expired"), "phone", "ios", None, -1)
    good = await sessions.issue(world.store, user, tokens.digest("good"), "laptop", "web", None, 1)

    await world.worker(cleanup_s=0.02, revalidate_s=0.02)

    async def is_only_the_good_one_left() -> bool:
        return [good] == [row.id for row in await sessions.of_user(world.store, user)]

    assert await until(is_only_the_good_one_left)
