"""Whatever a code is for, a try at it counts, also where nothing else changes."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias
from uuid import UUID, uuid4

import pytest

from echo_ws_db import accounts, sessions, verifications
from tests.support.other_service import Sql


class Asked(NamedTuple):
    """A verification that waits for a code, and who asked for it in which session."""

    verification: UUID
    owner: UUID
    session: UUID
    phone: str
    email: str


Try: TypeAlias = Callable[[Sql, Asked, str], Awaitable[object]]

TRIES: dict[str, Try] = {
    "registration": lambda db, asked, digest: accounts.register(db, asked.verification, digest, "!", "Ann"),
    "password_reset": lambda db, asked, digest: accounts.reset_password(db, asked.verification, digest, "!"),
    "phone_change": lambda db, asked, digest: accounts.change_phone(
        db, asked.verification, asked.owner, digest, asked.session
    ),
    "email_verification": lambda db, asked, digest: accounts.change_email(
        db, asked.verification, asked.owner, digest, asked.session
    ),
    "login": lambda db, asked, digest: verifications.try_code(db, asked.verification, "login", asked.owner, digest),
}
TO_THE_OWNER = ("password_reset", "login")

every_purpose = pytest.mark.parametrize("purpose", TRIES)


async def ask(db: Sql, purpose: str) -> Asked:
    now, then = (f"+49{uuid4().int % 10**11:011}" for _ in range(2))
    phone, email = now if purpose in TO_THE_OWNER else then, f"{then[1:]}@example.org"
    owner = await db.fetchval("INSERT INTO auth.users (phone, password_hash) VALUES ($1, '!') RETURNING id", now)
    verification = await db.fetchval(
        "INSERT INTO auth.otp_verifications (user_id, phone, email, otp_code, code_digest, purpose, expires_at)"
        " VALUES ($1, $2, $3, '!', 'right', $4, CURRENT_TIMESTAMP + INTERVAL '1 minute') RETURNING id",
        owner, phone, email, purpose,
    )  # fmt: skip
    session = await sessions.issue(db, owner, str(uuid4()), "device", "web", None, 1)
    return Asked(verification, owner, session, phone, email)


async def counted(db: Sql, verification: UUID) -> tuple[int, bool]:
    row = await db.fetchrow("SELECT attempts, verified FROM auth.otp_verifications WHERE id = $1", verification)
    assert row
    return row["attempts"], row["verified"]


@every_purpose
async def test_wrong_codes_count_up_to_five_and_change_nothing(purpose: str, db: Sql) -> None:
    asked = await ask(db, purpose)

    outcomes = [await TRIES[purpose](db, asked, "wrong") for _ in range(6)]
    outcomes.append(await TRIES[purpose](db, asked, "right"))

    assert not any(outcomes)
    assert (5, False) == await counted(db, asked.verification)


@every_purpose
async def test_a_right_code_is_good_once(purpose: str, db: Sql) -> None:
    asked = await ask(db, purpose)

    first = await TRIES[purpose](db, asked, "right")
    second = await TRIES[purpose](db, asked, "right")

    assert first is not None
    assert first is not False
    assert not second
    assert (1, True) == await counted(db, asked.verification)


@pytest.mark.parametrize("purpose", TO_THE_OWNER)
async def test_a_code_that_went_to_a_number_which_the_owner_no_longer_has_is_good_for_nothing(
    purpose: str, db: Sql
) -> None:
    """Whoever found the lost phone has it, or whom the operator gave the number."""
    asked = await ask(db, purpose)
    await db.execute("UPDATE auth.users SET phone = $2 WHERE id = $1", asked.owner, f"{asked.phone}9")

    assert not await TRIES[purpose](db, asked, "right")


@pytest.mark.parametrize("purpose", ["registration", "phone_change", "email_verification"])
async def test_a_try_counts_whose_number_or_address_was_taken_meanwhile(purpose: str, db: Sql) -> None:
    asked = await ask(db, purpose)
    taken = "INSERT INTO auth.users (phone, email, password_hash) VALUES ($1, $2, '!')"
    await db.execute(taken, asked.phone, asked.email)

    outcome = await TRIES[purpose](db, asked, "right")

    assert not outcome
    assert (1, True) == await counted(db, asked.verification)


@pytest.mark.parametrize("purpose", ["phone_change", "email_verification", "login"])
async def test_the_code_of_another_is_not_even_looked_at(purpose: str, db: Sql) -> None:
    asked, other = await ask(db, purpose), await ask(db, purpose)

    outcome = await TRIES[purpose](db, other._replace(verification=asked.verification), "right")

    assert not outcome
    assert (0, False) == await counted(db, asked.verification)
