"""What one sees of another: docs/privacy.md, row by row."""

from typing import Any
from uuid import UUID

import pytest

from echo_ws.client import Client
from echo_ws_protocol.commands import ContactBlock, ContactSet, PrivacySet, ProfileGet, ProfileSet
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Profile
from tests.support.other_service import Sql

SHOWN = "bio", "avatar_url", "phone", "status", "last_seen"


async def look(viewer: Client, owner: UUID) -> Profile:
    (profile,) = (await viewer.call(ProfileGet(users=[owner]))).profiles
    return profile


def hidden(profile: Profile) -> set[str]:
    return {field for field in SHOWN if getattr(profile, field) is None}


@pytest.fixture
async def owner(alice: Client) -> Client:
    """Return somebody of whom there is everything to be seen."""
    await alice.call(ProfileSet(bio="Likes tea.", avatar_url="https://pictures.example.org/a.png"))
    return alice


async def test_everything_is_shown_to_everyone_at_first(owner: Client, bob: Client) -> None:
    profile = await look(bob, owner.user)

    assert ("Alice", "Likes tea.", "https://pictures.example.org/a.png") == (
        profile.display_name,
        profile.bio,
        profile.avatar_url,
    )
    assert set() == hidden(profile)


async def test_ones_own_says_what_others_see_and_nobody_elses_does(owner: Client, bob: Client) -> None:
    await owner.call(ProfileSet(phone_visible=False))

    own, others = await look(owner, owner.user), await look(bob, owner.user)

    assert (False, True) == (own.phone_visible, own.profile_visible)
    assert (None, None) == (others.phone_visible, others.profile_visible)


@pytest.mark.parametrize(
    ("setting", "field"),
    [("show_last_seen", "last_seen"), ("show_status", "status"), ("show_profile_photo", "avatar_url")],
)
async def test_a_level_says_who_sees_it(setting: str, field: str, owner: Client, bob: Client, carol: Client) -> None:
    await owner.call(ContactSet(user=bob.user))

    seen: dict[str, list[set[str]]] = {}
    for level in ("everyone", "contacts", "nobody"):
        change: Any = {setting: level}
        await owner.call(PrivacySet(**change))
        seen[level] = [hidden(await look(viewer, owner.user)) for viewer in (owner, bob, carol)]

    assert {
        "everyone": [set(), set(), set()],
        "contacts": [set(), set(), {field}],
        "nobody": [set(), {field}, {field}],
    } == seen


@pytest.mark.parametrize(("setting", "field"), [("show_last_seen", "last_seen"), ("show_status", "status")])
async def test_who_hides_it_does_not_see_it_of_those_from_whom_it_is_hidden(
    setting: str, field: str, owner: Client, bob: Client, carol: Client
) -> None:
    change: Any = {setting: "contacts"}
    await bob.call(PrivacySet(**change))
    await bob.call(ContactSet(user=carol.user))

    assert [True, False] == [field in hidden(await look(bob, other.user)) for other in (owner, carol)]


async def test_a_picture_is_no_trade(owner: Client, bob: Client) -> None:
    await bob.call(PrivacySet(show_profile_photo="nobody"))

    assert set() == hidden(await look(bob, owner.user))


@pytest.mark.parametrize(
    ("setting", "fields"), [("phone_visible", {"phone"}), ("profile_visible", {"bio", "avatar_url"})]
)
async def test_a_field_can_be_hidden_from_all_others(
    setting: str, fields: set[str], owner: Client, bob: Client
) -> None:
    await owner.call(ContactSet(user=bob.user))
    change: Any = {setting: False}
    await owner.call(ProfileSet(**change))

    assert (fields, set()) == (hidden(await look(bob, owner.user)), hidden(await look(owner, owner.user)))


async def test_a_level_that_only_another_service_knows_shows_nobody(owner: Client, bob: Client, db: Sql) -> None:
    await db.execute("UPDATE users.privacy_settings SET show_last_seen = 'friends' WHERE user_id = $1", owner.user)

    assert {"last_seen"} == hidden(await look(bob, owner.user))


async def test_a_status_that_only_another_service_knows_is_offline(owner: Client, bob: Client, db: Sql) -> None:
    await db.execute("UPDATE users.profiles SET status = 'in the bath' WHERE user_id = $1", owner.user)

    assert "offline" == (await look(bob, owner.user)).status


async def test_a_deleted_account_and_none_look_alike_also_to_one_whom_it_blocked(
    owner: Client, bob: Client, db: Sql
) -> None:
    await owner.call(ContactBlock(user=bob.user))
    await db.execute("UPDATE auth.users SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1", owner.user)
    nobody = uuid7()

    profiles = (await bob.call(ProfileGet(users=[owner.user, nobody]))).profiles

    assert [Profile(owner.user, deleted=True), Profile(nobody, deleted=True)] == profiles


async def test_one_without_profile_and_settings_can_be_looked_at(owner: Client, bob: Client, db: Sql) -> None:
    await db.execute("DELETE FROM users.profiles WHERE user_id = $1", owner.user)
    await db.execute("DELETE FROM users.privacy_settings WHERE user_id = $1", owner.user)

    profile = await look(bob, owner.user)

    assert (None, "offline", False) == (profile.display_name, profile.status, profile.deleted)


async def test_who_blocks_is_seen_as_one_who_went_offline_then(owner: Client, bob: Client, db: Sql) -> None:
    await db.execute("UPDATE users.profiles SET status = 'online' WHERE user_id = $1", owner.user)
    before = await look(bob, owner.user)
    await owner.call(ContactBlock(user=bob.user))
    then = await db.fetchval("SELECT blocked_at FROM users.blocked_users WHERE user_id = $1", owner.user)
    await db.execute("UPDATE users.profiles SET last_seen = CURRENT_TIMESTAMP + INTERVAL '1 h'")

    after = await look(bob, owner.user)

    assert ("online", "offline") == (before.status, after.status)
    assert after.last_seen
    assert then == after.last_seen.replace(tzinfo=None)
    assert (before.bio, before.avatar_url, before.phone) == (after.bio, after.avatar_url, after.phone)


async def test_who_blocks_sees_no_more_of_when_the_other_is_there(owner: Client, bob: Client) -> None:
    await bob.call(ContactBlock(user=owner.user))

    assert {"status", "last_seen"} == hidden(await look(bob, owner.user))


@pytest.mark.parametrize("is_contact_before", [True, False])
async def test_neither_blocking_a_contact_nor_noting_down_a_blocked_one_shows(
    owner: Client, bob: Client, *, is_contact_before: bool
) -> None:
    await owner.call(PrivacySet(show_profile_photo="contacts"))
    if is_contact_before:
        await owner.call(ContactSet(user=bob.user))
    before = hidden(await look(bob, owner.user))

    await owner.call(ContactBlock(user=bob.user))
    await owner.call(ContactSet(user=bob.user, nickname="Bobby"))

    assert before == hidden(await look(bob, owner.user))
