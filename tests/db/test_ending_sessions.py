"""What ends a user's sessions, beside a login that commits in that moment."""

import asyncio
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Address
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest

from echo_ws_db import accounts, oauth, refresh_tokens, sessions, users, verifications
from echo_ws_db.pool import Store
from echo_ws_db.sessions import Touch
from tests.support.other_service import Sql
from tests.support.owners import DIGEST, HASH, NEW_HASH, Owner, devices, log_in
from tests.support.waiting import is_held_up, until
from tests.support.world import World


async def change_password(store: Store, owner: Owner) -> Any:
    return await accounts.change_password(store, owner.user, uuid4(), HASH, NEW_HASH, owner.kept)


async def reset_password(store: Store, owner: Owner) -> Any:
    verification = uuid4()
    await verifications.ask(store, verification, "password_reset", owner.phone, None, None, DIGEST, 60)
    return await accounts.reset_password(store, verification, DIGEST, NEW_HASH)


async def change_phone(store: Store, owner: Owner) -> Any:
    verification, phone = uuid4(), f"{owner.phone}9"
    await verifications.ask(store, verification, "phone_change", phone, None, owner.user, DIGEST, 60)
    return await accounts.change_phone(store, verification, owner.user, DIGEST, owner.kept)


async def unlink(store: Store, owner: Owner) -> Any:
    await store.execute(
        "INSERT INTO auth.oauth_providers (user_id, provider, provider_user_id) VALUES ($1, 'github', $2)",
        owner.user,
        str(owner.user),
    )
    return await oauth.unlink(store, owner.user, uuid4(), HASH, "github", owner.kept)


async def lock(store: Store, owner: Owner) -> Any:
    return await users.lock(store, owner.user, None)


async def sign_out(store: Store, owner: Owner) -> Any:
    return await sessions.revoke_own(store, owner.user, await lent_session(store, owner), None, owner.kept)


async def revoke(store: Store, owner: Owner) -> Any:
    return [row.id for row in await sessions.revoke(store, [await lent_session(store, owner)])]


async def use_a_spent_token_again(store: Store, owner: Owner) -> Any:
    token = str(uuid4())
    await store.execute(
        "INSERT INTO auth.refresh_tokens (user_id, token, device_id, expires_at, revoked)"
        " VALUES ($1, $2, 'lent', now() + INTERVAL '1 h', TRUE)",
        owner.user,
        token,
    )
    return await refresh_tokens.revoke_family(store, token, None, None)


async def lent_session(store: Store, owner: Owner) -> UUID:
    return next(row.id for row in await sessions.of_user(store, owner.user) if row.device_id == "lent")


End: TypeAlias = Callable[[Store, Owner], Coroutine[Any, Any, Any]]

ENDINGS: list[End] = [change_password, reset_password, change_phone, unlink, lock]


@pytest.mark.parametrize("end", ENDINGS)
async def test_a_login_that_commits_meanwhile_is_ended_too(
    people: World, db: Sql, owner: Owner, elsewhere: Sql, end: End
) -> None:
    """Whoever has the old password, and is quick, has nothing."""
    opened = await log_in(elsewhere, owner.user, "of-a-thief")
    assert opened
    ending = asyncio.create_task(end(people.store, owner))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute("COMMIT")

    ended = await ending

    is_home_kept = end in {change_password, change_phone, unlink}
    assert opened.session in (ended[1] if isinstance(ended, tuple) else ended)
    assert [owner.kept] * is_home_kept == [row.id for row in await sessions.of_user(people.store, owner.user)]
    assert (["at-home"] if is_home_kept else []) == await devices(db, owner.user)


@pytest.mark.parametrize("end", [*ENDINGS, sign_out, revoke, use_a_spent_token_again])
async def test_a_refresh_under_way_is_waited_for_and_ended_too(
    people: World, db: Sql, owner: Owner, elsewhere: Sql, end: End
) -> None:
    """It takes the token, then refers to the user and writes the session: the other way round would be a deadlock."""
    lent = await log_in(people.store, owner.user, "lent")
    assert lent
    token = "SELECT FROM auth.refresh_tokens WHERE user_id = $1 AND device_id = 'lent' FOR NO KEY UPDATE"
    await elsewhere.execute(token, owner.user)
    ending = asyncio.create_task(end(people.store, owner))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute(
        "INSERT INTO auth.refresh_tokens (user_id, token, device_id, expires_at) VALUES ($1, $2, 'lent', now() + '1h')",
        owner.user,
        str(uuid4()),
    )
    await elsewhere.execute("UPDATE auth.sessions SET last_activity_at = now() WHERE id = $1", lent.session)
    await elsewhere.execute("COMMIT")

    ended = await ending

    assert lent.session in (ended[1] if isinstance(ended, tuple) else ended)
    assert "lent" not in await devices(db, owner.user)


async def test_of_two_logins_on_one_device_the_later_ends_the_other(
    people: World, db: Sql, owner: Owner, elsewhere: Sql
) -> None:
    first = await log_in(elsewhere, owner.user, "tablet")
    assert first
    logging_in = asyncio.create_task(log_in(people.store, owner.user, "tablet"))
    await until(lambda: is_held_up(db, elsewhere))
    await elsewhere.execute("COMMIT")

    second = await logging_in

    assert second
    assert [first.session] == second.row.ended
    assert {owner.kept, second.session} == {row.id for row in await sessions.of_user(people.store, owner.user)}
    assert ["at-home", "tablet"] == await devices(db, owner.user)


async def test_what_is_too_much_is_what_was_used_longest_ago(people: World, db: Sql, owner: Owner) -> None:
    opened = [await log_in(people.store, owner.user, f"device-{n}", most=3) for n in range(3)]

    assert [[], [], [owner.kept]] == [each.row.ended for each in opened if each]
    assert ["device-0", "device-1", "device-2"] == await devices(db, owner.user)


async def test_a_login_that_comes_too_late_ends_nothing(people: World, owner: Owner) -> None:
    await change_password(people.store, owner)

    assert await log_in(people.store, owner.user, "at-home") is None
    assert [owner.kept] == [row.id for row in await sessions.of_user(people.store, owner.user)]


async def test_to_end_all_others_ends_devices_too_whose_session_has_run_out(
    people: World, db: Sql, owner: Owner
) -> None:
    """Their refresh token would bring them back."""
    await log_in(people.store, owner.user, "lent", days=0)
    assert ["at-home", "lent"] == await devices(db, owner.user)

    await sessions.revoke_own(people.store, owner.user, None, owner.kept, owner.kept)

    assert ["at-home"] == await devices(db, owner.user)


async def test_to_end_one_leaves_the_others(people: World, db: Sql, owner: Owner) -> None:
    lent, stranger = await log_in(people.store, owner.user, "lent"), await people.user("Mallory")
    assert lent

    assert [] == await sessions.revoke_own(people.store, stranger, lent.session, None, owner.kept)
    assert [lent.session] == await sessions.revoke_own(people.store, owner.user, lent.session, None, owner.kept)

    assert ["at-home"] == await devices(db, owner.user)
    assert [owner.kept] == [row.id for row in await sessions.of_user(people.store, owner.user)]


async def test_a_note_of_use_passes_by_a_session_that_is_just_being_ended(
    people: World, owner: Owner, elsewhere: Sql
) -> None:
    """It would wait in another order than the ending, and hold up what ends others."""
    lent = await log_in(people.store, owner.user, "lent")
    assert lent
    await sessions.revoke(elsewhere, [lent.session])
    here = IPv4Address("192.0.2.1")

    await sessions.touch(people.store, [Touch(lent.session, here, None), Touch(owner.kept, here, "echo-phone/1.0")])

    noted = {row.id: (row.ip_address, row.user_agent) for row in await sessions.of_user(people.store, owner.user)}
    assert {lent.session: (None, None), owner.kept: ("192.0.2.1", "echo-phone/1.0")} == noted
