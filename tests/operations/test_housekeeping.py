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


async def test_codes_refresh_tokens_and_flows_that_count_no_more_are_deleted(world: World) -> None:
    user = await world.user()
    await world.store.execute(
        "INSERT INTO auth.otp_verifications (phone, otp_code, purpose, expires_at)"
        " SELECT '+4915123456789', '!', 'login', now() - days * interval '1 day' FROM unnest(ARRAY[0, 1, 3]) days"
    )
    await world.store.execute(
        "INSERT INTO auth.refresh_tokens (user_id, token, device_id, expires_at)"
        " SELECT $1, days, 'phone', now() + days * interval '1 day' FROM unnest(ARRAY[-1, 1]) days",
        user,
    )
    await world.store.execute(
        "INSERT INTO auth.oauth_flows (id, provider, expires_at)"
        " SELECT gen_random_uuid(), 'google', now() - days * interval '1 day' FROM unnest(ARRAY[-1, 0, 2]) days"
    )

    await world.worker(cleanup_s=0.02, revalidate_s=0.02)

    async def are_only_the_good_ones_left() -> bool:
        left = [
            await world.store.fetchval(f"SELECT count(*) FROM auth.{table}")
            for table in ("otp_verifications", "refresh_tokens", "oauth_flows")
        ]
        return left == [2, 1, 2]

    assert await until(are_only_the_good_ones_left)
