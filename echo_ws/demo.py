"""Users to try the server with: each has a session, none a password, and no number that a telephone has."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec

from echo_ws_db import users
from echo_ws_db.pool import connect

from . import tokens
from .config import Settings

NAMES = ("Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi", "Ivan", "Judy")
UNASSIGNED = "+999"
"""A country code that no country has."""

BATCH = 500
SESSION_DAYS = 365


class DemoUser(msgspec.Struct, frozen=True):
    """Everything that is needed to be this user."""

    user: UUID
    name: str
    phone: str
    token: str


def users_file(settings: Settings) -> Path:
    return settings.data_dir / "demo-users.jsonl"


async def keep_demo_users(settings: Settings, count: int) -> list[DemoUser]:
    """Return the demo users of this data folder; create them at the first time."""
    file = users_file(settings)
    try:
        return [msgspec.json.decode(line, type=DemoUser) for line in file.read_bytes().splitlines()]
    except FileNotFoundError:
        created = await create_demo_users(settings, count)
        _write(file, created)
        return created


async def create_demo_users(
    settings: Settings, count: int, on_batch: Callable[[list[DemoUser]], None] = lambda _: None
) -> list[DemoUser]:
    """Create users with a session each; ``on_batch`` hears of those that are in the database."""
    assert settings.database_url
    store = await connect(settings.database_url, size=1, statement_timeout=30, application="echo-ws demo")
    created: list[DemoUser] = []
    try:
        while len(created) < count:
            planned = {person.phone: person for person in _plan(len(created), min(BATCH, count - len(created)))}
            rows = await users.add_many(
                store,
                list(planned),
                [person.name for person in planned.values()],
                [tokens.digest(person.token) for person in planned.values()],
                "demo",
                "cli",
                SESSION_DAYS,
            )
            batch = [msgspec.structs.replace(planned[row.phone], user=row.id) for row in rows]
            created += batch
            on_batch(batch)
    finally:
        await store.close()
    return created


def _plan(first: int, count: int) -> list[DemoUser]:
    numbers = random.sample(range(10**10, 10**11), count)
    return [
        DemoUser(UUID(int=0), _name(first + index), f"{UNASSIGNED}{number}", tokens.new_session_token())
        for index, number in enumerate(numbers)
    ]


def _name(index: int) -> str:
    return NAMES[index] if index < len(NAMES) else f"Tester {index + 1}"


def _write(file: Path, people: list[DemoUser]) -> None:
    """Write tokens for the owner's eyes only, all or nothing."""
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        output.writelines(msgspec.json.encode(person) + b"\n" for person in people)
    unfinished.replace(file)
