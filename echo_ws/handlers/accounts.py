from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from echo_ws import tokens
from echo_ws.accounts import MOST_SESSIONS, phone_of
from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, CodeNeeded, Unauthenticated
from echo_ws.logs import get_logger
from echo_ws.sessions import address_of
from echo_ws_db import accounts, users, verifications
from echo_ws_db.accounts import AttemptRow, Device
from echo_ws_db.verifications import Purpose
from echo_ws_protocol.commands import (
    AccountDelete,
    AccountLogin,
    AccountProtect,
    AccountRegister,
    AccountVerify,
    OauthLogin,
    OauthRegister,
)
from echo_ws_protocol.replies import AccountCreated, CodeSent, Done, LoggedIn

from .verifications import ask, ask_owner, hash_for, wrong_code

log = get_logger(__name__)


@handles(AccountRegister)
async def register(ctx: Context, command: AccountRegister) -> CodeSent:
    return await ask(ctx, command.verification, "registration", command.phone)


@handles(AccountVerify)
async def verify(ctx: Context, command: AccountVerify) -> AccountCreated:
    password_hash = await hash_for(ctx, command.verification, "registration", command.password)
    digest = ctx.accounts.code_digest(command.verification, "registration", command.code)
    user = await accounts.register(ctx.db, command.verification, digest, password_hash, command.name)
    if user is None:
        raise wrong_code()
    log.info("registered", user=user)
    return AccountCreated(user)


@handles(AccountLogin)
async def login(ctx: Context, command: AccountLogin) -> LoggedIn:
    """Count the try, look at the password, open the session; whatever is wrong looks and lasts the same."""
    phone, device = phone_of(command.phone), device_of(ctx, command)
    known = tokens.digest(command.known) if command.known else None
    where = device.device_id, device.address, device.user_agent, device.location
    async with ctx.accounts.turn():
        tried = await accounts.attempt(ctx.db, phone, None, known, *where, command.verification)
        is_right = await ctx.accounts.verify(tried.password_hash, command.password)
    if not is_right:
        raise wrong_password()
    if tried.second_factor:
        await check_second_factor(ctx, command, tried, command.phone)
    assert tried.password_hash
    new_hash = await ctx.accounts.rehash(tried.password_hash, command.password)
    opened = await open_session(ctx, tried, new_hash, device)
    if opened is None:
        raise wrong_password()
    return opened


def device_of(ctx: Context, command: AccountLogin | OauthLogin | OauthRegister) -> Device:
    """Return from where somebody logs in."""
    address, agent = address_of(ctx.address), ctx.user_agent or None
    place = msgspec.to_builtins(command.location)
    return Device(command.device, command.platform, command.device_name, command.metadata, address, agent, place)


async def open_session(
    ctx: Context, tried: AttemptRow, new_hash: str, device: Device, flow: UUID | None = None
) -> LoggedIn | None:
    """Let in who proved to be the owner, on a device that has no other session then; None if he may no longer."""
    services, user, password_hash = ctx.accounts, tried.user_id, tried.password_hash
    assert user
    assert password_hash
    token, refresh_token = tokens.new_session_token(), tokens.new_session_token()
    digests, days = (tokens.digest(token), tokens.digest(refresh_token)), (services.session_days, services.refresh_days)
    row = await accounts.log_in(
        ctx.db,
        user,
        tried.attempt,
        password_hash,
        new_hash,
        *digests,
        device,
        *days,
        flow,
        most=MOST_SESSIONS,
        code_checked=tried.second_factor,
    )
    if row is None:
        return None
    ctx.services.sessions.revoked(row.ended)
    log.info("logged_in", user=row.user_id, session=row.session)
    return services.logged_in(row, token, refresh_token)


@handles(AccountProtect)
async def protect(ctx: Context, command: AccountProtect) -> Done:
    tried, password_hash = await check_own_password(ctx, command.password)
    if not await accounts.protect(ctx.db, ctx.user, tried.attempt, password_hash, second_factor=command.on):
        raise BadField("the password was changed a moment ago", field="$.password")
    log.info("second_factor", user=ctx.user, on=command.on)
    return Done()


async def check_second_factor(
    ctx: Context, command: AccountLogin | OauthLogin | OauthRegister, tried: AttemptRow, phone: str, by: str = ""
) -> None:
    """Return if the code is right. Without one, send it, and say so; the history tells ``by`` what else was proven."""
    await _check_code(ctx, command, tried, "login", lambda id_: ask(ctx, id_, "login", phone), by)


@handles(AccountDelete)
async def delete(ctx: Context, command: AccountDelete) -> Done:
    tried, password_hash = await _prove(ctx, command)
    ended = await accounts.delete_own(ctx.db, ctx.user, tried.attempt, password_hash, command.content)
    if ended is None:
        raise BadField("the password was changed a moment ago", field="$.password")
    ctx.services.sessions.revoked(ended)
    log.info("account_deleted", user=ctx.user, messages=command.content, ended=len(ended))
    return Done()


async def _prove(ctx: Context, command: AccountDelete) -> tuple[AttemptRow, str]:
    """Return the try and the hash if it is the owner: by password, by code where there is none, or by both."""
    if command.password is None:
        tried = await _attempt_own(ctx)
        if tried.password_hash != users.NO_PASSWORD:
            raise BadField("the password is needed", field="$.password")
        password_hash = users.NO_PASSWORD
    else:
        tried, password_hash = await check_own_password(ctx, command.password)
    if tried.second_factor or command.password is None:
        purpose: Purpose = "account_deletion"
        await _check_code(ctx, command, tried, purpose, lambda id_: ask_owner(ctx, id_, purpose))
    return tried, password_hash


async def _check_code(
    ctx: Context,
    command: AccountLogin | OauthLogin | OauthRegister | AccountDelete,
    tried: AttemptRow,
    purpose: Purpose,
    send: Callable[[UUID], Awaitable[CodeSent]],
    by: str = "",
) -> None:
    """Return if the code is right. Without one, send it, and say so; the try counts until the command succeeds."""
    assert tried.user_id
    if command.verification is None or command.code is None:
        if by:
            await accounts.note(ctx.db, tried.attempt, f"{by}code_needed")
        else:
            await accounts.spare(ctx.db, tried.attempt, tried.user_id)
        if command.verification is not None:
            await send(command.verification)
        raise CodeNeeded
    digest = ctx.accounts.code_digest(command.verification, purpose, command.code)
    if not await verifications.try_code(ctx.db, command.verification, purpose, tried.user_id, digest):
        await accounts.note(ctx.db, tried.attempt, f"{by}wrong_code")
        raise wrong_code()


async def check_own_password(ctx: Context, password: str) -> tuple[AttemptRow, str]:
    """Return the try and the hash if the password of who has a session is right; counted and noted as at a login."""
    async with ctx.accounts.turn():
        tried = await _attempt_own(ctx)
        is_right = await ctx.accounts.verify(tried.password_hash, password)
    if not is_right or tried.password_hash is None:
        raise BadField("the password is not right", field="$.password")
    return tried, tried.password_hash


async def _attempt_own(ctx: Context) -> AttemptRow:
    return await accounts.attempt(ctx.db, "", ctx.user, None, None, address_of(ctx.address), ctx.user_agent or None)


def wrong_password() -> Unauthenticated:
    return Unauthenticated("phone number or password is not right, or too many were wrong: wait a while")
