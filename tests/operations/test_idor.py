"""B17: what one may not see does not exist. Every command, every id in it, every reason not to see it.

The matrix is made of the commands themselves: a new command is in it, and a new kind of id in a command is an error
here until somebody has said what it stands for.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec
import pytest
from msgspec import inspect

from echo_ws import tokens
from echo_ws_db import conversations, sessions
from echo_ws_protocol.codec import COMMANDS
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.doors import Line, in_order, line
from tests.support.other_service import Sql
from tests.support.world import Worker, World

Thing = Literal["conversation", "message", "user", "session"]
THINGS: dict[str, Thing] = {
    "conversation": "conversation",
    "conversations": "conversation",
    "message": "message",
    "around": "message",
    "reply_to": "message",
    "source": "message",
    "participants": "user",
    "user": "user",
    "users": "user",
    "sender": "user",
    "session": "session",
}
"""What the id in a field names."""

VALUES: dict[str, Any] = {
    "status": "away",
    "type": "group",
    "content": "hi",
    "emoji": "👍",
    "seq": 1,
    "query": "secret",
    "options": [],
    "option": 0,
}
"""A good value for each other field that must be there."""

NEW = {("message.send", "message"), ("message.forward", "message"), ("conversation.create", "conversation")}
"""Fields that name what is to be made: an id in use is a conflict, whoever uses it and for what."""

ALLOWED = {
    (op, field, "left")
    for op, field in (
        ("message.history", "conversation"),
        ("conversation.leave", "conversation"),
        ("message.hide", "conversation"),
        ("message.search", "conversation"),
        ("message.edits", "conversation"),
        ("message.forward", "source"),
        ("message.pins", "conversation"),
        ("reaction.list", "conversation"),
        ("poll.voters", "conversation"),
        ("thread.get", "conversation"),
        ("thread.list", "conversation"),
        ("thread.follow", "conversation"),
        ("session.resume", "conversations"),
    )
}
"""One who left may read what was there until then, copy it, put it away, and leave again."""

LEFT_OUT = {("message.send", "mentions")}
"""Lists in which whoever takes no part counts for nothing, without a word: test_message_mentions.py."""

FILTERS = {("message.search", "sender")}
"""Fields that narrow an answer: nobody by that id has written anything."""

ANSWERED_ALIKE = {"session.resume", "presence.watch", "contact.remove", "profile.get"}
"""Whatever they are asked for, their answer is no error: nobody learns from it what there is."""

REFUSED = {("conversation.create", "participants"), ("participant.add", "users")}
"""Who cannot be invited is named, whatever the reason."""

WITHOUT_IDS = {
    *("session.start", "session.refresh", "session.list", "conversation.list", "presence.set"),
    *("conversation.unread", "message.mentions"),
    *("account.protect", "token.refresh", "password.change", "oauth.list", "oauth.unlink"),
    *("contact.list", "contact.lookup", "profile.set", "privacy.get", "privacy.set"),
}
OWN_IDS = {
    *("account.register", "account.verify", "account.login", "account.delete"),
    *("password.forget", "password.reset", "phone.change", "phone.verify"),
    *("email.change", "email.verify"),
    *("oauth.begin", "oauth.login", "oauth.register", "oauth.connect", "oauth.link"),
}
"""Their ids are chosen by the client and worth nothing without a code or a proof: test_accounts.py, test_oauth.py."""


TOGETHER = "what the other one wrote", "what she wrote after the block", "a group"
"""Where Mallory takes part together with somebody who blocks her."""

DIFFERS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|\+\d{10,}")
"""What is never the same of two people: ids, times, phone numbers."""


class Place(NamedTuple):
    """A conversation, a message in it, somebody who takes part, and a session of hers."""

    conversation: UUID
    message: UUID
    user: UUID
    session: UUID


def ids_of(op: str) -> list[str]:
    fields = msgspec.structs.fields(COMMANDS[op])
    return [
        field.encode_name for field in fields if any(_is_id(part) for part in _parts(inspect.type_info(field.type)))
    ]


def _parts(info: inspect.Type) -> Iterator[inspect.Type]:
    yield info
    if isinstance(info, inspect.Metadata):
        yield from _parts(info.type)
    elif isinstance(info, inspect.UnionType):
        for each in info.types:
            yield from _parts(each)
    elif isinstance(info, inspect.ListType):
        yield from _parts(info.item_type)
    elif isinstance(info, inspect.DictType):
        yield from _parts(info.key_type)


def _is_id(info: inspect.Type) -> bool:
    return isinstance(info, inspect.UUIDType)


MATRIX = [(op, field) for op in sorted(set(COMMANDS) - OWN_IDS) for field in ids_of(op) if (op, field) not in LEFT_OUT]


def command(op: str, field: str, own: Place, place: Place) -> dict[str, Any]:
    """Return a command that is good in the own place, but for one id, and the thing around it where that is needed."""
    asked: dict[str, Any] = {"op": op, "id": 1}
    for each in msgspec.structs.fields(COMMANDS[op]):
        name = each.encode_name
        if name == field:
            asked[name] = _as(name, getattr(place, THINGS[name]))
        elif name == "message" and THINGS[field] == "conversation" and (op, "message") not in NEW:
            asked[name] = str(place.message)
        elif name == "message" and (op, name) in NEW:
            asked[name] = str(uuid7())
        elif name in THINGS and each.required:
            asked[name] = str(uuid7()) if (op, name) in NEW else _as(name, getattr(own, THINGS[name]))
        elif (each.required and name != "id") or name == "content":
            asked[name] = VALUES[name]
    return asked


def _as(field: str, id_: UUID) -> Any:
    return {"participants": [str(id_)], "users": [str(id_)], "conversations": {str(id_): 0}}.get(field, str(id_))


class Town(NamedTuple):
    mallory: str
    """A token."""
    own: Place
    places: dict[str, Place]


@pytest.fixture
async def somewhere(people: World, worker: Worker, db: Sql) -> Town:
    """Return places that Mallory may not see, each for another reason, and one that she may."""
    mallory, alice = await people.user("Mallory"), await people.user("Alice")
    token, of_alice = await people.token(mallory), await session_of(people, await people.token(alice))

    async def place(*others: UUID, creator: UUID = alice) -> Place:
        conversation = (await conversations.create(people.store, uuid7(), "group", None, creator, others)).conversation
        message = await other_service.post(db, conversation, alice, "a secret")
        await db.execute("UPDATE messages.messages SET type = 'poll' WHERE id = $1", message)
        return Place(conversation, message, alice, of_alice)

    async def apart(name: str) -> tuple[UUID, Place]:
        user = await people.user(name)
        session = await session_of(people, await people.token(user))
        return user, (await place(user, creator=user))._replace(user=user, session=session)

    (blocker, of_blocker), (blocked, of_blocked) = await apart("Blocker"), await apart("Blocked")
    await other_service.block(db, blocker, mallory)
    await other_service.block(db, mallory, blocked)
    gone = await people.user("Gone")
    await db.execute("UPDATE auth.users SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1", gone)
    left, deleted = await place(mallory), await place(mallory)
    await other_service.remove(db, left.conversation, mallory)
    await other_service.close(db, deleted.conversation)
    places = {
        "not a member": await place(),
        "left": left,
        "deleted": deleted._replace(user=gone),
        "of one who blocks": of_blocker,
        "of one who is blocked": of_blocked,
    }
    deputy = await people.user("Deputy")
    own = (await place(alice, deputy, creator=mallory))._replace(session=await session_of(people, token))
    await other_service.promote(db, own.conversation, deputy)  # so that Mallory, too, may leave
    return Town(token, own, places)


async def session_of(people: World, token: str) -> UUID:
    row = await sessions.by_token(people.store, tokens.digest(token))
    assert row
    return row.id


async def answer(mallory: Line, op: str, field: str, town: Town, place: Place) -> Any:
    """Return what is said of a place, without the ids that were asked for."""
    asked = command(op, field, town.own, place)
    if op == "session.resume":
        asked["epoch"] = (await mallory.hear("hello"))["epoch"]
    reply = await mallory.ask(asked)
    if op == "session.resume":  # it tells of all conversations; here of one
        reply = {
            "ok": [each for each in reply["ok"]["conversations"] if each["conversation"] == str(place.conversation)]
        }
    said = msgspec.json.encode([reply.get("ok"), reply.get("error")]).decode()
    for id_ in (*place, *(value for name, value in asked.items() if name == "conversation")):
        said = said.replace(str(id_), "…")
    return msgspec.json.decode(said)


def test_every_command_with_an_id_is_in_the_matrix() -> None:
    assert set(COMMANDS) - WITHOUT_IDS - OWN_IDS == {op for op, _ in MATRIX}
    assert {field for _, field in MATRIX} == set(THINGS)
    assert set(get_args(Thing)) == set(THINGS.values())


@pytest.mark.parametrize(("op", "field"), [cell for cell in MATRIX if cell not in NEW])
async def test_what_one_may_not_see_is_answered_like_what_does_not_exist(
    op: str, field: str, somewhere: Town, worker: Worker
) -> None:
    """B17"""
    answers = {}
    for state, place in {**somewhere.places, "nonexistent": Place(*(uuid7() for _ in range(4)))}.items():
        is_meant = THINGS[field] != "user" or state in {"deleted", "nonexistent"}
        if is_meant and (op, field, state) not in ALLOWED:
            async with line(worker, somewhere.mallory) as mallory:
                answers[state] = await answer(mallory, op, field, somewhere, place)

    nothing = answers["nonexistent"]
    assert len(answers) > 1
    assert dict.fromkeys(answers, nothing) == answers
    if (op, field) in REFUSED:
        assert ["…"] == nothing[0]["refused"]
    elif (op, field) in FILTERS:
        assert nothing == [{"found": []}, None]
    else:
        assert op in ANSWERED_ALIKE or nothing[1]["code"] == "not_found"
    assert "secret" not in str(answers)


@pytest.mark.parametrize(("op", "field"), sorted(NEW))
async def test_an_id_in_use_is_a_conflict_whoever_uses_it(op: str, field: str, somewhere: Town, worker: Worker) -> None:
    """B16, B17"""
    async with line(worker, somewhere.mallory) as mallory:
        answers = [await answer(mallory, op, field, somewhere, place) for place in somewhere.places.values()]

    assert "id_conflict" == answers[0][1]["code"]
    assert [answers[0]] * len(answers) == answers


@pytest.fixture
async def twins(people: World, db: Sql) -> tuple[str, dict[str, tuple[Place, Place]]]:
    """Return a token of Mallory's, and what she has with two people who are alike; but the second one blocks her."""
    mallory = await people.user("Mallory")

    async def places(*, is_blocked: bool) -> list[Place]:
        other = await people.user("Other")
        await db.execute("UPDATE users.profiles SET bio = 'I sing' WHERE user_id = $1", other)
        session = await session_of(people, await people.token(other))
        direct, group = [await people.room(type_, mallory, other) for type_ in ("direct", "group")]
        told = [await other_service.post(db, place, other, "a secret") for place in (direct, group)]
        if is_blocked:
            await other_service.block(db, other, mallory)
        own = await other_service.post(db, direct, mallory, "a secret")
        messages = (direct, told[0]), (direct, own), (group, told[1])
        return [Place(place, message, other, session) for place, message in messages]

    pairs = zip(await places(is_blocked=False), await places(is_blocked=True), strict=True)
    return await people.token(mallory), dict(zip(TOGETHER, pairs, strict=True))


@pytest.mark.parametrize("where", TOGETHER)
@pytest.mark.parametrize(("op", "field"), MATRIX)
async def test_whoever_is_blocked_is_answered_as_without_the_block(
    op: str, field: str, where: str, twins: tuple[str, dict[str, tuple[Place, Place]]], worker: Worker
) -> None:
    """B17: not even one who takes part."""
    token, places = twins
    answers = []
    for place in places[where]:
        async with line(worker, token) as mallory:
            said = await answer(mallory, op, field, Town(token, place, {}), place)
        plain = DIFFERS.sub("…", msgspec.json.encode(said).decode())
        answers.append(in_order(msgspec.json.decode(plain)))

    assert answers[0] == answers[1]


@pytest.mark.parametrize(("op", "field"), [cell for cell in MATRIX if cell not in NEW])
async def test_the_same_commands_are_carried_out_where_one_may(
    op: str, field: str, somewhere: Town, worker: Worker, db: Sql
) -> None:
    """Else the matrix would prove nothing."""
    async with line(worker, somewhere.mallory) as mallory:
        mine = str(uuid7())
        own = somewhere.own
        await mallory.ask(
            {"op": "message.send", "conversation": str(own.conversation), "message": mine, "content": "mine"}
        )
        place = own._replace(message=UUID(mine)) if op in {"message.edit", "message.delete"} else own

        reply = await mallory.ask(command(op, field, somewhere.own, place))

    assert "ok" in reply, reply
