"""Tokens, codes and sessions that meet in one moment: one of them is a little late, and must see it."""

import asyncio
from uuid import UUID, uuid4

from echo_ws_db import accounts, housekeeping, oauth, refresh_tokens, sessions, verifications
from echo_ws_db.refresh_tokens import RefreshedRow
from echo_ws_db.rows import Database
from tests.support.other_service import Sql
from tests.support.owners import DIGEST, HASH, NEW_HASH, Owner, devices, enter, log_in
from tests.support.waiting import is_held_up, until
from tests.support.world import World


async def rotate(db: Database, token: str, *, days: int = 1) -> tuple[RefreshedRow | None, str]:
    """Refresh; return what that led to, and the successor."""
    successor = f"{token}+"
    row = await refresh_tokens.rotate(db, token, successor, f"session of {successor}", None, None, days, 60)
    return row, successor


async def is_good(db: Sql, token: str) -> bool:
    return bool(await db.fetchval("SELECT revoked IS NOT TRUE FROM auth.refresh_tokens WHERE token = $1", token))


async def begin_anew(connection: Sql) -> None:
    """Let CURRENT_TIMESTAMP be now."""
    await connection.execute("COMMIT")
    await connection.execute("BEGIN")


async def prove(db: Database, identity: str, owner: UUID | None) -> UUID:
    """Return a flow that has proven an identity at GitHub."""
    flow = uuid4()
    await oauth.begin(db, flow, "github", owner, None, 600)
    await oauth.claim(db, flow, owner)
    await oauth.prove(db, flow, identity, None, {}, 600)
    return flow


async def throw_out(elsewhere: Sql, owner: Owner) -> None:
    """Let the owner set another password, in a transaction that is not over yet."""
    assert await accounts.change_password(elsewhere, owner.user, uuid4(), HASH, NEW_HASH, owner.kept)


# A session that was ended


async def test_a_session_that_a_new_password_ends_moves_no_number(
    people: World, db: Sql, owner: Owner, elsewhere: Sql
) -> None:
    """A thief with the old password has the code for a number of his own, and is a moment too late."""
    thief, verification = await enter(people.store, owner.user, "of-a-thief"), uuid4()
    await verifications.ask(people.store, verification, "phone_change", people.phone(), None, owner.user, DIGEST, 60)
    await throw_out(elsewhere, owner)
    moving = asyncio.create_task(accounts.change_phone(people.store, verification, owner.user, DIGEST, thief.session))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute("COMMIT")

    assert await moving is None
    assert owner.phone == await db.fetchval("SELECT phone FROM auth.users WHERE id = $1", owner.user)
    assert [owner.kept] == [row.id for row in await sessions.of_user(people.store, owner.user)]


async def test_a_session_that_a_new_password_ends_sets_no_email(
    people: World, db: Sql, owner: Owner, elsewhere: Sql
) -> None:
    thief, verification, email = await enter(people.store, owner.user, "of-a-thief"), uuid4(), f"{uuid4()}@example.org"
    await verifications.ask(people.store, verification, "email_verification", None, email, owner.user, DIGEST, 60)
    await throw_out(elsewhere, owner)
    changing = asyncio.create_task(accounts.change_email(people.store, verification, owner.user, DIGEST, thief.session))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute("COMMIT")

    assert not await changing


async def test_a_session_that_a_new_password_ends_links_no_identity(
    people: World, db: Sql, owner: Owner, elsewhere: Sql
) -> None:
    """It would be a way in that no password closes."""
    thief = await enter(people.store, owner.user, "of-a-thief")
    flow = await prove(people.store, str(uuid4()), owner.user)
    await throw_out(elsewhere, owner)
    linking = asyncio.create_task(oauth.link(people.store, flow, owner.user, thief.session))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute("COMMIT")

    assert "over" == (await linking).outcome


async def test_a_session_that_has_ended_ends_no_others(people: World, owner: Owner) -> None:
    thief = await enter(people.store, owner.user, "of-a-thief")
    await sessions.revoke(people.store, [thief.session])

    assert [] == await sessions.revoke_own(people.store, owner.user, None, None, thief.session)
    assert [owner.kept] == [row.id for row in await sessions.of_user(people.store, owner.user)]


async def test_a_login_that_began_before_the_second_factor_needs_it(people: World, owner: Owner) -> None:
    tried = await accounts.attempt(people.store, owner.phone, None, None, "of-a-thief", None, None)
    assert not tried.second_factor
    assert await accounts.protect(people.store, owner.user, uuid4(), HASH, second_factor=True)

    assert await log_in(people.store, owner.user, "of-a-thief") is None


# Refreshing beside housekeeping


async def test_a_refresh_beside_the_deletion_of_its_expired_session_opens_it_anew(
    people: World, db: Sql, owner: Owner, elsewhere: Sql
) -> None:
    opened = await enter(people.store, owner.user, "tablet", days=0)
    await begin_anew(elsewhere)
    await housekeeping.expire_sessions(elsewhere, 1000)
    refreshing = asyncio.create_task(rotate(people.store, opened.token))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute("COMMIT")

    row, successor = await refreshing

    assert row
    assert row.session != opened.session
    assert await is_good(db, successor)


async def test_housekeeping_leaves_a_session_that_is_renewed_in_that_moment(
    people: World, db: Sql, owner: Owner, elsewhere: Sql
) -> None:
    opened = await enter(people.store, owner.user, "tablet", days=0)
    await begin_anew(elsewhere)
    _, successor = await rotate(elsewhere, opened.token)
    cleaning = asyncio.create_task(housekeeping.expire_sessions(people.store, 1000))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute("COMMIT")
    await cleaning

    assert opened.session in {row.id for row in await sessions.of_user(people.store, owner.user)}
    assert await is_good(db, successor)


# What a device had before


async def test_a_login_ends_the_token_of_a_session_that_was_cleaned_up(people: World, db: Sql, owner: Owner) -> None:
    stolen = await enter(people.store, owner.user, "tablet", days=0)
    await housekeeping.expire_sessions(people.store, 1000)

    await enter(people.store, owner.user, "tablet")

    assert (None, f"{stolen.token}+") == await rotate(people.store, stolen.token)
    assert ["at-home", "tablet"] == await devices(db, owner.user)


# A token that comes a second time


async def test_a_family_ends_with_what_a_refresh_opens_anew_in_that_moment(
    people: World, db: Sql, owner: Owner, elsewhere: Sql
) -> None:
    opened = await enter(people.store, owner.user, "tablet", days=0)
    _, second = await rotate(people.store, opened.token, days=0)
    await housekeeping.expire_sessions(people.store, 1000)
    _, third = await rotate(elsewhere, second)
    ending = asyncio.create_task(refresh_tokens.revoke_family(people.store, opened.token, None, None))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute("COMMIT")
    await ending

    assert [owner.kept] == [row.id for row in await sessions.of_user(people.store, owner.user)]
    assert not await is_good(db, third)


async def test_a_token_that_was_spent_long_ago_ends_its_family_too(people: World, db: Sql, owner: Owner) -> None:
    """The thief came first, and then again when the session had run out: it was opened anew by a later token."""
    copied = await enter(people.store, owner.user, "tablet", days=0)
    _, second = await rotate(people.store, copied.token, days=0)
    await housekeeping.expire_sessions(people.store, 1000)
    _, third = await rotate(people.store, second)

    await refresh_tokens.revoke_family(people.store, copied.token, None, None)

    assert [owner.kept] == [row.id for row in await sessions.of_user(people.store, owner.user)]
    assert not await is_good(db, third)


async def test_a_copy_from_before_a_login_does_not_end_that_login(
    people: World, db: Sql, owner: Owner, elsewhere: Sql
) -> None:
    first = await enter(people.store, owner.user, "tablet")
    await rotate(people.store, first.token)
    await begin_anew(elsewhere)
    latest = await enter(elsewhere, owner.user, "tablet")
    ending = asyncio.create_task(refresh_tokens.revoke_family(people.store, first.token, None, None))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute("COMMIT")

    assert [] == await ending
    assert await is_good(db, latest.token)


async def test_a_copy_from_before_a_login_ends_nothing_though_that_login_had_to_wait(
    people: World, db: Sql, owner: Owner, elsewhere: Sql
) -> None:
    """A session is as old as its transaction: older than a refresh that it ended."""
    first = await enter(people.store, owner.user, "tablet")
    await elsewhere.execute("SELECT FROM auth.users WHERE id = $1 FOR NO KEY UPDATE", owner.user)
    logging_in = asyncio.create_task(enter(people.store, owner.user, "tablet"))
    await until(lambda: is_held_up(db, elsewhere))
    row, copied = await rotate(db, first.token)
    await elsewhere.execute("COMMIT")
    latest = await logging_in

    assert row
    assert [] == await refresh_tokens.revoke_family(people.store, copied, None, None)
    assert await is_good(db, latest.token)


# A deletion takes its locks as others do


async def test_a_deletion_waits_for_a_login_by_identity(
    people: World, db: Sql, owner: Owner, elsewhere: Sql, farther: Sql
) -> None:
    tablet, identity = await enter(people.store, owner.user, "tablet"), str(uuid4())
    await db.execute(
        "INSERT INTO auth.oauth_providers (user_id, provider, provider_user_id) VALUES ($1, 'github', $2)",
        owner.user,
        identity,
    )
    flow = await prove(people.store, identity, None)
    await hold_token(elsewhere, tablet.token)
    deleting = asyncio.create_task(delete(farther, owner))
    await until(lambda: is_held_up(db, elsewhere))
    entering = asyncio.create_task(log_in(people.store, owner.user, "laptop", flow=flow))
    await until(lambda: is_held_up(db, farther))
    await elsewhere.execute("COMMIT")

    await deleting

    assert await entering is None


async def test_a_deletion_waits_for_a_reset(people: World, db: Sql, owner: Owner, elsewhere: Sql, farther: Sql) -> None:
    tablet, verification = await enter(people.store, owner.user, "tablet"), uuid4()
    await verifications.ask(people.store, verification, "password_reset", owner.phone, None, None, DIGEST, 60)
    await hold_token(elsewhere, tablet.token)
    deleting = asyncio.create_task(delete(farther, owner))
    await until(lambda: is_held_up(db, elsewhere))
    resetting = asyncio.create_task(accounts.reset_password(people.store, verification, DIGEST, NEW_HASH))
    await until(lambda: is_held_up(db, farther))
    await elsewhere.execute("COMMIT")

    await deleting

    assert await resetting is None


async def hold_token(elsewhere: Sql, token: str) -> None:
    await elsewhere.execute("SELECT FROM auth.refresh_tokens WHERE token = $1 FOR UPDATE", token)


async def delete(farther: Sql, owner: Owner) -> None:
    assert await accounts.delete_own(farther, owner.user, uuid4(), HASH, "keep") is not None
    await farther.execute("COMMIT")
