"""Who of one's phone book is here: by hashes, and not for those who try all numbers."""

from hashlib import sha256
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import ContactBlock, ContactLookup, ProfileSet
from tests.support.other_service import Sql
from tests.support.world import World


def hash_of(phone: str) -> str:
    return sha256(phone.encode()).hexdigest()[:32]


@pytest.fixture
async def hash_(alice: Client, db: Sql) -> str:
    """Return the hash of Alice's phone number."""
    return hash_of(await db.fetchval("SELECT phone FROM auth.users WHERE id = $1", alice.user))


async def found(asker: Client, *hashes: str) -> dict[str, UUID]:
    return (await asker.call(ContactLookup(hashes=list(hashes)))).found


async def test_numbers_that_somebody_has_are_found(hash_: str, alice: Client, bob: Client) -> None:
    assert {hash_: alice.user} == await found(bob, hash_, hash_, hash_of("+4915100000999"))


@pytest.mark.parametrize(
    "how",
    [
        "UPDATE users.profiles SET phone_visible = FALSE WHERE user_id = $1",
        "UPDATE auth.users SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1",
        "UPDATE auth.users SET verified = FALSE WHERE id = $1",
        "UPDATE auth.users SET phone = '+1' || right(phone, 9) WHERE id = $1",
    ],
)
async def test_who_is_not_to_be_found_is_like_nobody(how: str, hash_: str, alice: Client, bob: Client, db: Sql) -> None:
    await db.execute(how, alice.user)

    assert {} == await found(bob, hash_)


async def test_who_hides_the_number_is_found_no_more(hash_: str, alice: Client, bob: Client) -> None:
    await alice.call(ProfileSet(phone_visible=False))

    assert {} == await found(bob, hash_)


async def test_who_is_blocked_finds_the_same_as_before(hash_: str, alice: Client, bob: Client) -> None:
    await alice.call(ContactBlock(user=bob.user))

    assert {hash_: alice.user} == await found(bob, hash_)


async def test_only_so_many_may_be_asked_in_a_day_over_all_workers(people: World) -> None:
    here, there = [await people.worker(lookups_per_day=1000) for _ in range(2)]
    erin = await people.person("Erin", here)
    elsewhere = await people.device(erin.user, there)
    numbers = [hash_of(str(n)) for n in range(700)]
    await found(erin, *numbers)

    with pytest.raises(CommandFailed, match="enough numbers for today") as refused:
        await found(elsewhere, *numbers)

    wait_ms = refused.value.failure.retry_after_ms
    assert wait_ms
    assert 0 < wait_ms <= 0.4 * 86_400_000
    assert {} == await found(elsewhere, *numbers[:299])


async def test_more_than_a_day_allows_is_never_answered(people: World) -> None:
    erin = await people.person("Erin", await people.worker(lookups_per_day=2))

    with pytest.raises(CommandFailed, match="at most 2 numbers"):
        await found(erin, *(hash_of(str(n)) for n in range(3)))


async def test_numbers_are_found_by_an_index(db: Sql) -> None:
    """At a million users, too."""
    async with db.transaction():
        await db.execute("SET LOCAL enable_seqscan = off")
        plan = await db.fetch(
            "EXPLAIN SELECT id FROM auth.users WHERE users.phone_hash(phone) = $1 AND deleted_at IS NULL", b"x"
        )

    assert "idx_users_phone_hash" in str(plan)
