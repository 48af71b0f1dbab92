from uuid import UUID

import pytest

from echo_ws.client import Client
from echo_ws_protocol.commands import ProfileGet, ProfileSet, SessionResume
from echo_ws_protocol.events import Settings
from tests.support.other_service import Sql
from tests.support.world import World


async def rev_of(db: Sql, user: UUID) -> int:
    return await db.fetchval("SELECT coalesce(max(last_rev), 0) FROM users.heads WHERE user_id = $1", user) or 0


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_ones_own_devices_hear_it_and_nobody_else(
    codec: str, direct: UUID, alice: Client, bob: Client, people: World, db: Sql
) -> None:
    elsewhere = await people.device(alice.user, await people.worker(), codec=codec)
    before = await rev_of(db, bob.user)

    await alice.call(ProfileSet(display_name="Alicia", bio="Likes tea.", phone_visible=False))

    for device in (alice, elsewhere):
        told = await device.next(Settings)
        assert ("Alicia", "Likes tea.", False, True) == (
            told.display_name,
            told.bio,
            told.phone_visible,
            told.profile_visible,
        )
    assert before == await rev_of(db, bob.user)


async def test_what_is_left_out_stays_and_empty_text_takes_away(alice: Client) -> None:
    await alice.call(ProfileSet(bio="Likes tea.", avatar_url="https://pictures.example.org/a.png"))

    await alice.call(ProfileSet(bio=""))

    (profile,) = (await alice.call(ProfileGet(users=[alice.user]))).profiles
    assert ("Alice", None, "https://pictures.example.org/a.png") == (
        profile.display_name,
        profile.bio,
        profile.avatar_url,
    )


async def test_a_device_that_was_away_is_told(alice: Client) -> None:
    await alice.call(ProfileSet(bio="Likes tea."))

    resumed = await alice.call(SessionResume())

    assert ["Likes tea."] == [change.bio for change in resumed.changes if isinstance(change, Settings)]


async def test_neither_repeating_it_nor_presence_takes_a_rev(alice: Client, db: Sql) -> None:
    await alice.call(ProfileSet(bio="Likes tea."))
    rev = await rev_of(db, alice.user)

    await alice.call(ProfileSet(bio="Likes tea.", display_name="Alice"))
    await alice.call(ProfileSet())
    await db.execute("UPDATE users.profiles SET status = 'online', last_seen = now() WHERE user_id = $1", alice.user)

    assert rev == await rev_of(db, alice.user)


async def test_what_another_service_changes_is_told_too(direct: UUID, alice: Client, db: Sql) -> None:
    await db.execute("UPDATE users.profiles SET bio = 'from elsewhere' WHERE user_id = $1", alice.user)

    assert "from elsewhere" == (await alice.next(Settings)).bio


async def test_one_without_a_profile_gets_one(alice: Client, db: Sql) -> None:
    await db.execute("DELETE FROM users.profiles WHERE user_id = $1", alice.user)

    await alice.call(ProfileSet(display_name="Alice again"))

    (profile,) = (await alice.call(ProfileGet(users=[alice.user]))).profiles
    assert "Alice again" == profile.display_name
