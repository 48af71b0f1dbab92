"""Whatever a code is for, a try at it counts, also where nothing else changes."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest

from echo_ws_db import accounts, verifications
from tests.support.other_service import Sql

TRIES: dict[str, Callable[[Sql, UUID, UUID, str], Awaitable[object]]] = {
    "registration": lambda db, code, _, digest: accounts.register(db, code, digest, "!", "Ann"),
    "password_reset": lambda db, code, _, digest: accounts.reset_password(db, code, digest, "!"),
    "phone_change": lambda db, code, owner, digest: accounts.change_phone(db, code, owner, digest, uuid4()),
    "email_verification": accounts.change_email,
    "login": lambda db, code, owner, digest: verifications.try_code(db, code, "login", owner, digest),
}

every_purpose = pytest.mark.parametrize("purpose", TRIES)


class Asked(NamedTuple):
    """A verification that waits for a code."""

    verification: UUID
    owner: UUID
    phone: str
    email: str


async def ask(db: Sql, purpose: str) -> Asked:
    now, then = (f"+49{uuid4().int % 10**11:011}" for _ in range(2))
    email = f"{then[1:]}@example.org"
    owner = await db.fetchval("INSERT INTO auth.users (phone, password_hash) VALUES ($1, '!') RETURNING id", now)
    verification = await db.fetchval(
        "INSERT INTO auth.otp_verifications (user_id, phone, email, otp_code, code_digest, purpose, expires_at)"
        " VALUES ($1, $2, $3, '!', 'right', $4, CURRENT_TIMESTAMP + INTERVAL '1 minute') RETURNING id",
        owner, then, email, purpose,
    )  # fmt: skip
    return Asked(verification, owner, then, email)


async def counted(db: Sql, verification: UUID) -> tuple[int, bool]:
    row = await db.fetchrow("SELECT attempts, verified FROM auth.otp_verifications WHERE id = $1", verification)
    assert row
    return row["attempts"], row["verified"]


@every_purpose
async def test_wrong_codes_count_up_to_five_and_change_nothing(purpose: str, db: Sql) -> None:
    verification, owner, *_ = await ask(db, purpose)

    outcomes = [await TRIES[purpose](db, verification, owner, "wrong") for _ in range(6)]
    outcomes.append(await TRIES[purpose](db, verification, owner, "right"))

    assert not any(outcomes)
    assert (5, False) == await counted(db, verification)


@every_purpose
async def test_a_right_code_is_good_once(purpose: str, db: Sql) -> None:
    verification, owner, *_ = await ask(db, purpose)

    first = await TRIES[purpose](db, verification, owner, "right")
    second = await TRIES[purpose](db, verification, owner, "right")

    assert first is not None
    assert first is not False
    assert not second
    assert (1, True) == await counted(db, verification)


@pytest.mark.parametrize("purpose", ["registration", "phone_change", "email_verification"])
async def test_a_try_counts_whose_number_or_address_was_taken_meanwhile(purpose: str, db: Sql) -> None:
    verification, owner, phone, email = await ask(db, purpose)
    await db.execute("INSERT INTO auth.users (phone, email, password_hash) VALUES ($1, $2, '!')", phone, email)

    outcome = await TRIES[purpose](db, verification, owner, "right")

    assert not outcome
    assert (1, True) == await counted(db, verification)


@pytest.mark.parametrize("purpose", ["phone_change", "email_verification", "login"])
async def test_the_code_of_another_is_not_even_looked_at(purpose: str, db: Sql) -> None:
    verification, *_ = await ask(db, purpose)

    outcome = await TRIES[purpose](db, verification, uuid4(), "right")

    assert not outcome
    assert (0, False) == await counted(db, verification)
