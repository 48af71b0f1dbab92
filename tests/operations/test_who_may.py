"""Every command by everybody, over both doors: the server keeps to what the command says of itself (`who`).

The commands come from the examples, so a new one is in here with its example; without `who` nothing starts.
"""

from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias, get_args
from uuid import UUID

import pytest
from websockets.exceptions import ConnectionClosed

from echo_ws import passwords
from echo_ws_protocol.codec import COMMANDS
from echo_ws_protocol.commands import Who
from echo_ws_protocol.errors import CloseCode
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.doors import line, post
from tests.support.other_service import Sql
from tests.support.shown import shown
from tests.support.world import Worker, World

PASSWORD = "correct horse battery"

Role: TypeAlias = Literal[
    "nobody", "stranger", "reader", "participant", "author", "admin", "expired", "revoked", "unverified"
]
Outcome: TypeAlias = Literal["heard", "not_found", "forbidden", "unauthenticated", "already_authenticated"]
"""``heard`` is a command that gets as far as its own fields: done, or one of them is not right."""

OUT: tuple[Role, ...] = ("expired", "revoked", "unverified")
INSIDE: tuple[Role, ...] = ("reader", "participant", "author", "admin")


USERS: tuple[Role, ...] = ("stranger", *INSIDE)

SIGNED_OUT: dict[Role, Outcome] = dict.fromkeys(("nobody", *OUT), "unauthenticated")
"""Who is out is not even let in at the socket's door."""

FORBIDDEN: dict[Role, Outcome] = SIGNED_OUT | {"stranger": "not_found"} | dict.fromkeys(INSIDE, "forbidden")

OUTCOMES: dict[Who, dict[Role, Outcome]] = {
    "anybody": dict.fromkeys(get_args(Role), "heard"),
    "newcomer": SIGNED_OUT | dict.fromkeys(USERS, "already_authenticated"),
    "user": SIGNED_OUT | dict.fromkeys(USERS, "heard"),
    "guest": FORBIDDEN | dict.fromkeys(INSIDE, "heard"),  # nothing here is public
    "participant": FORBIDDEN | dict.fromkeys(INSIDE, "heard"),
    "poster": FORBIDDEN | dict.fromkeys(("participant", "author", "admin"), "heard"),
    "author": FORBIDDEN | {"author": "heard"},
    "admin": FORBIDDEN | {"admin": "heard"},
    "author or admin": FORBIDDEN | dict.fromkeys(("author", "admin"), "heard"),
}


AS_POLLS = """
    UPDATE messages.messages SET type = 'poll', metadata = '{"question": "When?", "options": ["now", "then"]}'
    WHERE id = ANY ($1)
"""


class Person(NamedTuple):
    token: str | None
    session: UUID | None
    conversation: UUID
    """Where something may be done, or not."""
    message: UUID
    poll: UUID
    author: UUID
    other: UUID
    """Somebody else who takes part."""


@cache
def password_hash() -> str:
    return passwords.hash_password(PASSWORD)


@pytest.fixture
async def cast(people: World, db: Sql) -> dict[Role, Person]:
    users = {role: await people.user(role) for role in get_args(Role) if role != "nobody"}
    tokens = {role: await people.token(user) for role, user in users.items()}
    rows = await db.fetch("SELECT user_id, id FROM auth.sessions WHERE user_id = ANY ($1)", [*users.values()])
    sessions: dict[UUID | None, UUID] = {row["user_id"]: row["id"] for row in rows}
    await db.execute("UPDATE auth.users SET password_hash = $2 WHERE id = ANY ($1)", [*users.values()], password_hash())
    members = [users[role] for role in ("participant", "author", *OUT)]
    group = await people.room("group", users["admin"], *members)
    channel = await people.room("channel", users["admin"], users["author"])
    await other_service.add_reader(db, channel, users["reader"])
    deputy, bystander = await people.user("Deputy"), await people.user("Bystander")
    for place in (group, channel):
        await other_service.add(db, place, deputy)
        await other_service.add(db, place, bystander)
        await other_service.promote(db, place, deputy)  # so that an admin may leave
    places = {place: await other_service.post(db, place, users["author"]) for place in (group, channel)}
    polls = {place: await other_service.post(db, place, users["author"]) for place in (group, channel)}
    await db.execute(AS_POLLS, [*polls.values()])
    await db.execute("UPDATE auth.sessions SET expires_at = now() WHERE user_id = $1", users["expired"])
    await db.execute("DELETE FROM auth.sessions WHERE user_id = $1", users["revoked"])
    await db.execute("UPDATE auth.users SET verified = FALSE WHERE id = $1", users["unverified"])

    def person(role: Role) -> Person:
        place = channel if role == "reader" else group
        return Person(
            tokens.get(role),
            sessions.get(users.get(role)),
            place,
            places[place],
            polls[place],
            users["author"],
            bystander,
        )

    return {role: person(role) for role in get_args(Role)}


def command(op: str, person: Person, people: World) -> dict[str, Any]:
    """Return the command of the example, about what is here."""
    here = {
        "conversation": person.conversation,
        "message": person.poll if op.startswith("poll.") else person.message,
        "source": person.message,
        "participants": [str(person.author)],
        "session": person.session,
        "token": person.token,
        "password": PASSWORD,
        "phone": people.phone(),
        "email": f"{uuid7()}@example.org",
        "verification": uuid7(),
        "flow": uuid7(),
        "user": person.other,
        "users": [str(person.other)],
        "reply_to": person.message,
        "seq": 1,
    }
    return shown(op, here)


def outcome(reply: Any) -> str:
    code = reply["error"]["code"] if "error" in reply else "ok"
    return "heard" if code in {"ok", "bad_field"} else code


async def by_socket(worker: Worker, person: Person, asked: dict[str, Any]) -> Any:
    try:
        async with line(worker, person.token) as socket:
            return await socket.ask(asked)
    except ConnectionClosed as closed:
        is_refused = closed.rcvd is not None and closed.rcvd.code == CloseCode.UNAUTHENTICATED
        return {"error": {"code": "unauthenticated" if is_refused else str(closed)}}


async def by_post(worker: Worker, person: Person, asked: dict[str, Any]) -> Any:
    fields = dict(asked)
    return (await post(worker, person.token, fields.pop("op"), **fields)).json


@pytest.mark.parametrize("op", [op for op, command in COMMANDS.items() if command.who != "anybody"])
@pytest.mark.parametrize("door", [by_socket, by_post], ids=["socket", "post"])
async def test_a_command_is_for_whom_it_says(
    op: str, door: Any, cast: dict[Role, Person], people: World, worker: Worker
) -> None:
    answers = {role: await door(worker, person, command(op, person, people)) for role, person in cast.items()}

    assert OUTCOMES[COMMANDS[op].who] == {role: outcome(answer) for role, answer in answers.items()}, answers


@pytest.mark.parametrize("op", [op for op, command in COMMANDS.items() if command.who == "anybody"])
async def test_what_anybody_may_ask_is_answered_the_same_whoever_asks(
    op: str, cast: dict[Role, Person], people: World, worker: Worker
) -> None:
    answers = {role: await by_post(worker, person, command(op, person, people)) for role, person in cast.items()}
    async with line(worker) as socket:
        stranger = await socket.ask(command(op, cast["nobody"], people))

    said = {role: without_times(answer) for role, answer in answers.items()}
    assert dict.fromkeys(get_args(Role), without_times(stranger)) == said
    assert "session.start" not in str(stranger)


def without_times(reply: Any) -> Any:
    return reply.get("error") or set(reply["ok"])


def test_every_kind_of_who_is_used() -> None:
    assert set(get_args(Who)) == {command.who for command in COMMANDS.values()}
