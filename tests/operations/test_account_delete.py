"""Deleting an account: out of reach at once, and what is left is done afterwards, whatever breaks."""

import asyncio
from functools import partial
from typing import Any, Literal, NamedTuple
from uuid import UUID

import pytest

from echo_ws import passwords, tokens
from echo_ws.client import Client, CommandFailed
from echo_ws_db import accounts, deletions, sessions, users
from echo_ws_db.accounts import Fate
from echo_ws_db.pool import Store
from echo_ws_protocol.commands import (
    AccountDelete,
    ConversationCreate,
    ConversationGet,
    MessageEdit,
    MessageHistory,
    MessageSend,
    PollVote,
    ReactionSet,
)
from echo_ws_protocol.events import Member, Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.access import closed
from tests.support.doors import Answer, post
from tests.support.mailbox import MAILBOX
from tests.support.other_service import Sql
from tests.support.talk import ask
from tests.support.waiting import until
from tests.support.world import Worker, World

PASSWORD = "correct horse 🐎"
PASSWORD_HASH = passwords.hash_password(PASSWORD)
QUICK = {"housekeeping_s": 0.02}

GONE = {
    *(
        "auth.deletions.user_id",
        "auth.sessions.user_id",
        "auth.refresh_tokens.user_id",
        "auth.otp_verifications.user_id",
    ),
    *("auth.oauth_providers.user_id", "users.contacts.user_id", "users.blocked_users.user_id"),
    *("notifications.push_tokens.user_id", "notifications.preferences.user_id", "notifications.deliveries.user_id"),
    *("analytics.events.user_id", "auth.oauth_flows.user_id", "messages.hidden.user_id", "users.relations.user_id"),
    "messages.follows.user_id",
}
"""Where nothing refers to a deleted account any more."""

KEPT = {
    *("auth.login_history.user_id", "users.profiles.user_id", "users.privacy_settings.user_id", "users.heads.user_id"),
    *("users.contacts.contact_user_id", "users.blocked_users.blocked_user_id"),
    *("messages.conversations.created_by", "messages.members.user_id", "messages.delivery_tracking.user_id"),
    *("messages.messages.from_user_id", "messages.messages.to_user_id", "messages.reactions.user_id"),
    *("media.files.user_id", "media.uploads.user_id", "messages.votes.user_id", "users.relations.other_user_id"),
    *("messages.mentioned.user_id", "users.revised.user_id", "users.lookups.user_id"),
    "users.presences.user_id",
}
"""Where something may: docs/accounts.md says what."""


TRACES = """
    INSERT INTO auth.refresh_tokens (user_id, token, device_id, expires_at) VALUES ($alice, 'r', 'alice-1', now());
    INSERT INTO auth.otp_verifications (user_id, phone, otp_code, code_digest, purpose, expires_at)
    VALUES ($alice, '+4915', '!', 'd', 'login', now() + interval '5 minutes');
    INSERT INTO auth.oauth_providers (user_id, provider, provider_user_id) VALUES ($alice, 'google', 'alice-2');
    INSERT INTO auth.login_history (user_id, phone, success, ip_address, user_agent, device_id, location)
    VALUES ($alice, '+4915', TRUE, '10.0.0.1', 'alice-3', 'alice-4', '{}');
    UPDATE users.profiles SET bio = 'alice-5', avatar_url = 'alice-6', status = 'online' WHERE user_id = $alice;
    INSERT INTO users.contacts (user_id, contact_user_id, nickname)
    VALUES ($alice, $bob, 'Bobby'), ($bob, $alice, 'Ally');
    INSERT INTO users.blocked_users (user_id, blocked_user_id) VALUES ($alice, $bob), ($bob, $alice);
    INSERT INTO notifications.push_tokens (user_id, device_id, platform, token) VALUES ($alice, 'alice-7', 'ios', 't');
    INSERT INTO notifications.preferences (user_id) VALUES ($alice);
    INSERT INTO notifications.deliveries (user_id, provider) VALUES ($alice, 'apns');
    INSERT INTO analytics.events (user_id, name) VALUES ($alice, 'opened');
    INSERT INTO media.files (user_id, file_name, file_type, file_size, mime_type, storage_path, url, checksum)
    VALUES ($alice, 'a.png', 'image', 1, 'image/png', 'a', 'a', 'a');
    INSERT INTO media.uploads (user_id, file_name, mime_type, file_size, storage_path, expires_at)
    VALUES ($alice, 'b.png', 'image/png', 1, 'b', now() + interval '1 day');
    INSERT INTO messages.messages (conversation_id, from_user_id, content)
    SELECT id, unnest(ARRAY[$alice, $bob]::uuid[]), 'x' FROM messages.conversations;
    INSERT INTO auth.oauth_flows (id, user_id, provider, expires_at) VALUES (gen_random_uuid(), $alice, 'x', now());
    INSERT INTO messages.reactions (message_id, user_id, emoji) SELECT id, $alice, '👍' FROM messages.messages;
    INSERT INTO messages.votes (message_id, user_id, option) SELECT id, $alice, 0 FROM messages.messages;
    INSERT INTO messages.hidden (user_id, message_id, conversation_id, seq, user_rev)
    SELECT $alice, id, conversation_id, seq, users.take_rev($alice) FROM messages.messages
"""
"""What an account leaves behind, in every table."""


class Person(NamedTuple):
    user: UUID
    phone: str
    token: str


async def somebody(people: World, **columns: Any) -> Person:
    """Add a user with a password and a session."""
    user = await people.user("Alice")
    row = {"password_hash": PASSWORD_HASH, **columns}
    changes = ", ".join(f"{name} = ${n}" for n, name in enumerate(row, 2))
    phone = await people.store.fetchval(
        f"UPDATE auth.users SET {changes} WHERE id = $1 RETURNING phone", user, *row.values()
    )
    return Person(user, phone, await people.token(user))


def login(phone: str, password: str = PASSWORD) -> dict[str, str]:
    return {"phone": phone, "password": password, "device": "alices-phone", "platform": "ios"}


async def finish(db: Store, user: UUID) -> None:
    """Do what is left of a deletion, as a runner does."""
    while (piece := await deletions.go_on(db, user, 3)) and not piece.is_done:
        pass


async def is_finished(db: Store, user: UUID) -> bool:
    return user not in await deletions.pending(db, 1000)


# At once


async def test_who_deletes_the_account_is_answered_first_and_then_out_on_every_worker(
    people: World, worker: Worker
) -> None:
    alice = await somebody(people)
    devices = [await people.device(alice.user, each) for each in (worker, worker, await people.worker())]

    await devices[0].call(AccountDelete(content="keep", password=PASSWORD), retry=False)

    async with asyncio.timeout(1):
        assert [4500] * 3 == await asyncio.gather(*map(closed, devices))
    assert 401 == (await post(worker, alice.token, "conversation.list")).status


async def test_by_post_it_works_as_well_and_the_token_tells_who_lost_the_answer(people: World, worker: Worker) -> None:
    alice = await somebody(people)

    answers = [await post(worker, alice.token, "account.delete", content="keep", password=PASSWORD) for _ in range(2)]

    assert [(200, {}), (401, None)] == [(answer.status, answer.json.get("ok")) for answer in answers]


async def test_the_phone_number_and_the_address_are_free_at_once(people: World, worker: Worker, db: Sql) -> None:
    address = f"{uuid7()}@example.org"
    alice = await somebody(people, email=address, email_verified=True)
    await post(worker, alice.token, "account.delete", content="keep", password=PASSWORD)

    verification = uuid7()
    await post(worker, None, "account.register", verification=verification, phone=alice.phone)
    code = await MAILBOX.code(alice.phone)
    made = await post(
        worker, None, "account.verify", verification=verification, code=code, password=PASSWORD, name="Ann"
    )
    await db.execute("UPDATE auth.users SET email = $2 WHERE id = $1", UUID(made.json["ok"]["user"]), address)

    opened = await post(worker, None, "account.login", **login(alice.phone))
    assert (200, made.json["ok"]["user"]) == (opened.status, opened.json["ok"]["user"])
    assert str(alice.user) != made.json["ok"]["user"]
    row = await db.fetchrow("SELECT * FROM auth.users WHERE id = $1", alice.user)
    assert row is not None
    assert (True, "!", None) == (row["deleted_at"] is not None, row["password_hash"], row["email"])
    assert ("~", 20) == (row["phone"][0], len(row["phone"]))
    int(row["phone"][1:], 16)


async def test_a_wrong_password_deletes_nothing_and_counts(people: World, worker: Worker, db: Sql) -> None:
    alice = await somebody(people)

    wrong = await post(worker, alice.token, "account.delete", content="keep", password="wrong horse")
    none = await post(worker, alice.token, "account.delete", content="keep")

    assert ["$.password"] * 2 == [answer.json["error"]["field"] for answer in (wrong, none)]
    row = await db.fetchrow("SELECT deleted_at, failed_login_attempts FROM auth.users WHERE id = $1", alice.user)
    assert (None, 2) == tuple(row or ())


@pytest.mark.parametrize("columns", [{"second_factor": True}, {"password_hash": users.NO_PASSWORD}])
async def test_a_code_is_needed_by_who_asks_for_one_and_by_who_has_no_password(
    columns: dict[str, Any], people: World, worker: Worker, db: Sql
) -> None:
    alice = await somebody(people, **columns)
    fields: dict[str, Any] = {"content": "keep"} | ({"password": PASSWORD} if "second_factor" in columns else {})
    verification, to_reset = uuid7(), uuid7()
    delete = partial(post, worker, alice.token, "account.delete", **fields)
    await post(worker, None, "password.forget", verification=to_reset, phone=alice.phone)
    of_reset = await MAILBOX.code(alice.phone)
    await db.execute(
        "UPDATE auth.otp_verifications SET created_at = created_at - interval '1 hour' WHERE id = $1", to_reset
    )

    first = await delete()
    for_reset = await delete(verification=to_reset, code=of_reset)
    second = await delete(verification=verification)
    notice = await MAILBOX.notice(alice.phone)
    assert notice.code
    wrong = await delete(verification=verification, code=f"{(int(notice.code) + 1) % 10**6:06}")
    assert None is await db.fetchval("SELECT deleted_at FROM auth.users WHERE id = $1", alice.user)
    done = await delete(verification=verification, code=notice.code)

    assert ["code_needed"] * 2 == [answer.json["error"]["code"] for answer in (first, second)]
    assert ["$.code"] * 2 == [answer.json["error"]["field"] for answer in (for_reset, wrong)]
    assert "account_deletion" == notice.purpose
    assert 200 == done.status
    assert await db.fetchval("SELECT deleted_at FROM auth.users WHERE id = $1", alice.user)


async def test_a_socket_that_is_not_closed_yet_can_change_nothing_more(
    people: World, worker: Worker, direct: UUID, group: UUID, alice: Client
) -> None:
    """An operator deletes the account, and the word that ends the connection is still on its way."""
    sent = uuid7()
    await alice.call(MessageSend(conversation=direct, message=sent, content="hi"))

    await accounts.delete(people.store, alice.user, "keep")

    for command in (
        MessageSend(conversation=group, message=uuid7(), content="still here"),
        MessageSend(conversation=direct, message=uuid7(), content="still here"),
        MessageEdit(conversation=direct, message=sent, content="changed"),
        ReactionSet(conversation=direct, message=sent, emoji="👍"),
        ConversationCreate(conversation=uuid7(), type="group"),
    ):
        with pytest.raises(CommandFailed, match="not_found"):
            await alice.call(command)


async def test_an_operator_deletes_without_a_password_and_later_erases_what_was_kept(people: World, db: Sql) -> None:
    alice = await somebody(people)
    message = await other_service.post(db, await people.room("direct", alice.user, alice.user), alice.user)

    first = await accounts.delete(people.store, alice.user, "keep")
    await finish(people.store, alice.user)
    kept = await db.fetchval("SELECT content FROM messages.messages WHERE id = $1", message)
    second, nobody = [await accounts.delete(people.store, user, "erase") for user in (alice.user, uuid7())]
    await finish(people.store, alice.user)

    assert (1, [], None) == (len(first or ()), second, nobody)
    assert ("from elsewhere", "") == (
        kept,
        await db.fetchval("SELECT content FROM messages.messages WHERE id = $1", message),
    )


# What the others see


@pytest.fixture
async def quick(world: World) -> Worker:
    """Return a worker of a world of its own that does what is left at once."""
    return await world.worker(**QUICK)


async def delete(world: World, worker: Worker, person: Client, content: Fate) -> None:
    await world.store.execute("UPDATE auth.users SET password_hash = $2 WHERE id = $1", person.user, PASSWORD_HASH)
    await person.call(AccountDelete(content=content, password=PASSWORD), retry=False)


async def test_what_was_erased_becomes_tombstones_for_who_looks_on_and_for_who_comes_back(
    world: World, quick: Worker
) -> None:
    alice, bob, carol = [await world.person(name, quick) for name in ("Alice", "Bob", "Carol")]
    group, direct = await world.conversation("group", alice, bob, carol), await world.conversation("direct", alice, bob)
    for conversation in (group, group, direct):
        await alice.call(MessageSend(conversation=conversation, message=uuid7(), content="a secret"))
        await bob.call(MessageSend(conversation=conversation, message=uuid7(), content="no secret"))
        await bob.next(Message, where=lambda message: message.sender == bob.user)
    by_bob = (await bob.call(MessageHistory(conversation=group))).messages[1]
    await alice.call(ReactionSet(conversation=group, message=by_bob.message, emoji="👍"))
    await bob.next(Message, where=lambda message: message.reactions is not None)
    position = carol.position
    await carol.close()

    await delete(world, quick, alice, "erase")

    tombstones = [await bob.next(Message, where=lambda message: message.deleted) for _ in range(3)]
    without = await bob.next(Message, where=lambda message: message.message == by_bob.message and not message.reactions)
    assert {(alice.user, "")} == {(each.sender, each.content) for each in tombstones}
    assert by_bob.content == without.content
    await until(partial(is_finished, world.store, alice.user))
    async with Client(quick.url, token=await world.token(carol.user), position=position) as back:
        seen = [await back.next(Message, where=lambda message: message.deleted) for _ in range(2)]
    assert {each.message for each in tombstones if each.conversation == group} == {each.message for each in seen}
    history = (await bob.call(MessageHistory(conversation=group))).messages
    assert [1, 2, 3, 4] == [message.seq for message in history]
    assert [True, False, True, False] == [message.deleted for message in history]
    rows = await world.store.fetch("SELECT content FROM messages.messages WHERE from_user_id = $1", alice.user)
    assert {""} == {row["content"] for row in rows}


async def test_votes_that_were_erased_count_no_more_for_who_looks_on(world: World, quick: Worker) -> None:
    alice, bob = [await world.person(name, quick) for name in ("Alice", "Bob")]
    group = await world.conversation("group", alice, bob)
    poll = await ask(bob, group, multiple=True)
    await alice.call(PollVote(conversation=group, message=poll, options=[1, 2]))
    await bob.call(PollVote(conversation=group, message=poll, options=[0]))
    before = await bob.next(Message, where=lambda message: message.votes == {"0": 1, "1": 1, "2": 1})

    await delete(world, quick, alice, "erase")

    after = await bob.next(Message, where=lambda message: message.message == poll and message.rev > before.rev)
    assert {"0": 1} == after.votes


async def test_what_was_kept_stays_and_everybody_sees_whose_account_is_deleted(world: World, quick: Worker) -> None:
    alice, bob = await world.person("Alice", quick), await world.person("Bob", quick)
    direct = await world.conversation("direct", alice, bob)
    await alice.call(MessageSend(conversation=direct, message=uuid7(), content="remember me"))
    await bob.next(Message)

    await delete(world, quick, alice, "keep")

    await until(partial(is_finished, world.store, alice.user))
    (message,) = (await bob.call(MessageHistory(conversation=direct))).messages
    details = await bob.call(ConversationGet(conversation=direct))
    assert (alice.user, "remember me") == (message.sender, message.content)
    assert alice.user == details.conversation.peer
    assert {(alice.user, "Deleted account", True), (bob.user, "Bob", False)} == {
        (each.user, each.name, each.deleted) for each in details.participants
    }


async def test_nobody_can_write_to_a_deleted_account_and_is_told_why(
    direct: UUID, alice: Client, bob: Client, people: World
) -> None:
    sent = uuid7()
    first = await bob.call(MessageSend(conversation=direct, message=sent, content="hi"))
    await accounts.delete(people.store, alice.user, "keep")

    with pytest.raises(CommandFailed, match="forbidden: the account of the other one was deleted"):
        await bob.call(MessageSend(conversation=direct, message=uuid7(), content="are you there?"))

    assert first == await bob.call(MessageSend(conversation=direct, message=sent, content="hi"))
    assert 1 == len((await bob.call(MessageHistory(conversation=direct))).messages)
    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(ConversationCreate(conversation=uuid7(), type="direct", participants=[alice.user]))


async def test_the_others_see_the_departure_and_who_is_admin_now(world: World, quick: Worker) -> None:
    alice, bob, carol = [await world.person(name, quick) for name in ("Alice", "Bob", "Carol")]
    group = await world.conversation("group", alice, carol)
    await world.store.execute(
        "UPDATE messages.conversations SET participants = jsonb_set(participants, '{user_ids}',"
        " participants -> 'user_ids' || to_jsonb($2::text)) WHERE id = $1",
        group,
        str(bob.user),
    )

    await delete(world, quick, alice, "keep")

    left = await carol.next(Member, where=lambda member: member.left)
    promoted = await carol.next(Member, where=lambda member: member.role == "admin" and not member.left)
    assert (alice.user, carol.user) == (left.user, promoted.user)
    details = await carol.call(ConversationGet(conversation=group))
    assert {(carol.user, "admin"), (bob.user, "member")} == {(each.user, each.role) for each in details.participants}


# What is left of the person


async def test_every_reference_to_a_user_was_thought_of(db: Sql) -> None:
    """Whoever adds one says here, and in auth.delete_account, what becomes of it."""
    rows = await db.fetch(
        "SELECT c.conrelid::regclass || '.' || a.attname AS reference"
        " FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)"
        " WHERE c.contype = 'f' AND c.confrelid = 'auth.users'::regclass"
    )

    assert GONE | KEPT == {row["reference"] for row in rows}


@pytest.mark.parametrize("content", ["keep", "erase"])
async def test_nothing_tells_who_it_was(content: Literal["keep", "erase"], world: World) -> None:
    alice = await somebody(world, email="alice@example.org", email_verified=True)
    bob = await world.user("Bob")
    await world.room("direct", alice.user, bob)
    for sql in TRACES.split(";"):
        await world.store.execute(sql.replace("$alice", f"'{alice.user}'").replace("$bob", f"'{bob}'"))

    await accounts.delete(world.store, alice.user, content)
    await finish(world.store, alice.user)

    for reference in sorted(GONE):
        table, column = reference.rsplit(".", 1)
        assert 0 == await world.store.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = $1", alice.user), table
    profile = await world.store.fetchrow("SELECT * FROM users.profiles WHERE user_id = $1", alice.user)
    assert ("Deleted account", None, None) == (profile["display_name"], profile["bio"], profile["avatar_url"])
    login_row = await world.store.fetchrow("SELECT * FROM auth.login_history WHERE user_id = $1", alice.user)
    assert (True, "", None, None, None, None) == tuple(
        login_row[name] for name in ("success", "phone", "ip_address", "user_agent", "device_id", "location")
    )
    code = await world.store.fetchrow("SELECT * FROM auth.otp_verifications WHERE phone = '+4915'")
    assert (None, None) == (code["user_id"], code["code_digest"])
    is_erased = content == "erase"
    assert is_erased == (await world.store.fetchval("SELECT deleted_at FROM media.files") is not None)
    assert await world.store.fetchval("SELECT expires_at <= CURRENT_TIMESTAMP FROM media.uploads")
    assert (0 if is_erased else 2) == await world.store.fetchval("SELECT count(*) FROM messages.reactions")
    assert {"Ally"} == {row["nickname"] for row in await world.store.fetch("SELECT nickname FROM users.contacts")}


# Beside others


async def test_eight_deletions_at_once_are_one(people: World, worker: Worker) -> None:
    alice, bob = await somebody(people), await somebody(people)
    delete = partial(post, worker, alice.token, "account.delete", content="erase", password=PASSWORD)

    by_owner = await asyncio.gather(*(delete() for _ in range(8)))
    by_operator = await asyncio.gather(*(accounts.delete(people.store, bob.user, "keep") for _ in range(8)))

    statuses = {answer.status for answer in by_owner}
    assert 200 in statuses
    assert statuses <= {200, 400, 401, 429}
    assert [0] * 7 + [1] == sorted(len(ended or ()) for ended in by_operator)
    assert {alice.user, bob.user} <= set(await deletions.pending(people.store, 1000))


async def test_beside_sends_no_number_is_lost_and_nothing_survives(world: World, quick: Worker) -> None:
    alice, bob = await world.person("Alice", quick), await world.person("Bob", quick)
    group, direct = await world.conversation("group", alice, bob), await world.conversation("direct", alice, bob)
    other = await world.device(alice.user, quick)

    async def talk(person: Client, conversation: UUID) -> None:
        for _ in range(40):
            try:
                await person.call(MessageSend(conversation=conversation, message=uuid7(), content="x"), retry=False)
            except (CommandFailed, ConnectionError):
                return

    async def leave() -> None:
        await until(partial(world.store.fetchval, "SELECT count(*) > 30 FROM messages.messages"))
        await delete(world, quick, alice, "erase")

    await asyncio.gather(leave(), *(talk(person, room) for person in (alice, other, bob) for room in (group, direct)))
    await until(partial(is_finished, world.store, alice.user))

    await bob.call(MessageSend(conversation=group, message=uuid7(), content="the last one"))
    assert 0 == await world.store.fetchval(
        "SELECT count(*) FROM messages.messages WHERE from_user_id = $1 AND NOT deleted", alice.user
    )
    known: dict[UUID, Message] = {}
    while len(known) < 1 or known[list(known)[-1]].content != "the last one":
        message = await bob.next(Message)
        known.pop(message.message, None)
        known[message.message] = message
    for conversation in (group, direct):
        rows = await world.store.fetch(
            "SELECT m.id, m.seq, m.deleted, h.last_seq, h.last_rev FROM messages.messages m"
            " JOIN messages.heads h USING (conversation_id) WHERE conversation_id = $1 ORDER BY seq",
            conversation,
        )
        assert list(range(1, rows[0]["last_seq"] + 1)) == [row["seq"] for row in rows]
        if conversation == group:
            assert {row["id"]: row["deleted"] for row in rows} == {
                each.message: each.deleted for each in known.values() if each.conversation == group
            }


async def test_beside_logins_and_refreshes_no_token_survives(people: World, worker: Worker, db: Sql) -> None:
    alice = await somebody(people)
    opened = await post(worker, None, "account.login", **login(alice.phone))

    async def refresh(token: str) -> list[str]:
        found = []
        while (answer := await post(worker, None, "token.refresh", refresh_token=token)).status == 200:
            token = answer.json["ok"]["refresh_token"]
            found += [token, answer.json["ok"]["token"]]
        return found

    async def log_in(n: int) -> list[str]:
        answer = await post(worker, None, "account.login", **{**login(alice.phone), "device": f"device-{n}"})
        return [answer.json["ok"][name] for name in ("refresh_token", "token")] if answer.status == 200 else []

    deleted, *found = await asyncio.gather(
        post(worker, alice.token, "account.delete", content="keep", password=PASSWORD),
        refresh(opened.json["ok"]["refresh_token"]),
        *(log_in(n) for n in range(8)),
    )

    assert isinstance(deleted, Answer)
    assert 200 == deleted.status
    await finish(people.store, alice.user)
    for table in ("sessions", "refresh_tokens"):
        assert 0 == await db.fetchval(f"SELECT count(*) FROM auth.{table} WHERE user_id = $1", alice.user)
    for token in [token for some in found if isinstance(some, list) for token in some]:
        assert 401 == (await post(worker, token, "conversation.list")).status
        assert 401 == (await post(worker, None, "token.refresh", refresh_token=token)).status


async def test_a_session_that_somebody_opens_later_is_good_for_nothing_and_goes(people: World, worker: Worker) -> None:
    alice = await somebody(people)
    await accounts.delete(people.store, alice.user, "keep")
    token = tokens.new_session_token()
    await sessions.issue(people.store, alice.user, tokens.digest(token), "late", "web", None, 1)

    assert 401 == (await post(worker, token, "conversation.list")).status
    await finish(people.store, alice.user)
    assert [] == await sessions.of_user(people.store, alice.user)
