"""What all commands that send or take a code have in common."""

from uuid import UUID

from echo_ws import codes
from echo_ws.accounts import check_new, phone_of
from echo_ws.dispatch import Context
from echo_ws.errors import BadField, Forbidden, RateLimited
from echo_ws.events import utc
from echo_ws_db import accounts, verifications
from echo_ws_db.verifications import Purpose
from echo_ws_protocol.replies import CodeSent


async def ask(ctx: Context, verification: UUID, purpose: Purpose, written: str, asker: UUID | None = None) -> CodeSent:
    """Send a code to a phone number, as people write it; the answer is the same for every number."""
    return await _ask(ctx, verification, purpose, phone_of(written), None, asker)


async def ask_by_email(ctx: Context, verification: UUID, email: str) -> CodeSent:
    """Send a code to an e-mail address; the answer is the same for every address."""
    return await _ask(ctx, verification, "email_verification", None, email.lower(), ctx.user)


async def ask_owner(ctx: Context, verification: UUID, purpose: Purpose) -> CodeSent:
    """Send a code to who has the session, wherever the account says."""
    phone, email = await accounts.reach(ctx.db, ctx.user)
    if phone is None and email is None:
        raise Forbidden("the account has no phone number and no e-mail address for a code: ask the operator")
    return await _ask(ctx, verification, purpose, phone, email, None)


async def _ask(
    ctx: Context, verification: UUID, purpose: Purpose, phone: str | None, email: str | None, asker: UUID | None
) -> CodeSent:
    """Send a code, or what else there is to say to the owner."""
    services, code = ctx.accounts, codes.new_code()
    digest = services.code_digest(verification, purpose, code)
    services.take_code(ctx.address)
    row = await verifications.ask(ctx.db, verification, purpose, phone, email, asker, digest, codes.LASTS_S)
    if row.wait_ms > 0:
        raise RateLimited(
            "a code was sent not long ago; ask for another after the time given", retry_after_ms=row.wait_ms
        )
    notice = codes.notice(verification, purpose, phone or email or "", code, is_taken=row.owner is not None)
    if row.is_new and notice:
        services.send(notice)
    assert row.expires_at
    return CodeSent(utc(row.expires_at))


async def hash_for(ctx: Context, verification: UUID, purpose: Purpose, password: str) -> str:
    """Return the hash of a password that a code is to set, if the code may still be tried at all."""
    phone = await verifications.waiting(ctx.db, verification, purpose)
    if phone is None:
        raise wrong_code()
    check_new(password, phone)
    return await ctx.accounts.hash(password)


def wrong_code() -> BadField:
    return BadField("the code is not right, or no longer good; after five tries ask for another", field="$.code")
