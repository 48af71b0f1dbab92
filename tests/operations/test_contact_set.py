"""Contacts: put and taken away, listed, and of one mind with the blocks."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import ContactBlock, ContactList, ContactRemove, ContactSet, SessionResume
from echo_ws_protocol.events import Contact
from echo_ws_protocol.ids import uuid7
from tests.support.other_service import Sql
from tests.support.world import Worker, World


async def rev_of(db: Sql, user: UUID) -> int:
    return await db.fetchval("SELECT coalesce(max(last_rev), 0) FROM users.heads WHERE user_id = $1", user) or 0


async def test_a_contact_is_told_to_ones_own_devices_only(
    alice: Client, bob: Client, people: World, worker: Worker, db: Sql
) -> None:
    phone = await people.device(bob.user, worker)

    await bob.call(ContactSet(user=alice.user, nickname="Al", favorite=True))

    for device in (bob, phone):
        told = await device.next(Contact)
        assert (alice.user, True, "Al", True, False) == (
            told.user,
            told.contact,
            told.nickname,
            told.favorite,
            told.blocked,
        )
    assert 0 == await rev_of(db, alice.user)


async def test_putting_it_again_is_no_change_and_otherwise_is_one(alice: Client, bob: Client, db: Sql) -> None:
    await bob.call(ContactSet(user=alice.user, nickname="Al"))
    rev = await rev_of(db, bob.user)

    await bob.call(ContactSet(user=alice.user, nickname="Al"))
    assert rev == await rev_of(db, bob.user)

    await bob.call(ContactSet(user=alice.user))
    (now,) = (await bob.call(ContactList())).contacts
    assert (None, True) == (now.nickname, now.contact)


@pytest.mark.parametrize("state", ["nonexistent", "deleted"])
async def test_who_does_not_exist_is_no_contact(state: str, bob: Client, people: World, db: Sql) -> None:
    other = await people.user("Gone") if state == "deleted" else uuid7()
    await db.execute("UPDATE auth.users SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1", other)

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(ContactSet(user=other))


async def test_removing_leaves_the_block(alice: Client, bob: Client) -> None:
    await bob.call(ContactSet(user=alice.user, nickname="Al"))
    await bob.call(ContactBlock(user=alice.user, reason="too loud"))

    await bob.call(ContactRemove(user=alice.user))
    await bob.call(ContactRemove(user=alice.user))

    assert [] == (await bob.call(ContactList())).contacts
    (blocked,) = (await bob.call(ContactList(blocked=True))).contacts
    assert (alice.user, "Alice", False, None, True, "too loud") == (
        blocked.user,
        blocked.display_name,
        blocked.contact,
        blocked.nickname,
        blocked.blocked,
        blocked.reason,
    )
    (change,) = (await bob.call(SessionResume())).changes
    assert isinstance(change, Contact)
    assert (False, True) == (change.contact, change.blocked)


async def test_lists_come_in_pages(bob: Client, people: World) -> None:
    others = {await people.user(f"number {n}") for n in range(5)}
    for other in others:
        await bob.call(ContactSet(user=other))

    pages: list[list[UUID]] = []
    place = None
    while not pages or place:
        page = await bob.call(ContactList(limit=2, after=place))
        pages.append([contact.user for contact in page.contacts])
        place = page.next

    assert [2, 2, 1] == [len(page) for page in pages]
    assert others == {user for page in pages for user in page}


async def test_a_place_that_nobody_gave_is_refused(bob: Client) -> None:
    with pytest.raises(CommandFailed, match="bad_field"):
        await bob.call(ContactList(after="the beginning"))


async def test_a_contact_whose_account_is_gone_stays_in_the_list_without_a_name(
    alice: Client, bob: Client, db: Sql
) -> None:
    await bob.call(ContactSet(user=alice.user, nickname="Al"))
    await db.execute("UPDATE auth.users SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1", alice.user)

    (contact,) = (await bob.call(ContactList())).contacts

    assert (None, "Al", True) == (contact.display_name, contact.nickname, contact.deleted)


async def test_eight_devices_at_once_leave_one_contact_and_one_mind(alice: Client, bob: Client, db: Sql) -> None:
    def deed(n: int) -> ContactSet | ContactBlock | ContactRemove:
        kinds = (
            ContactSet(user=alice.user, nickname=f"number {n}"),
            ContactBlock(user=alice.user, on=n % 3 != 0),
            ContactSet(user=alice.user, favorite=True),
            ContactRemove(user=alice.user),
        )
        return kinds[n % 4]

    for round_ in range(12):
        await asyncio.gather(*(bob.call(deed(n + round_)) for n in range(8)))

        rows = await db.fetch(
            """
            SELECT c.blocked, b.id IS NOT NULL AS is_blocked
            FROM users.contacts c
            LEFT JOIN users.blocked_users b ON b.user_id = c.user_id AND b.blocked_user_id = c.contact_user_id
            WHERE c.user_id = $1
            """,
            bob.user,
        )
        assert len(rows) < 2
        assert [row["is_blocked"] for row in rows] == [row["blocked"] for row in rows]
