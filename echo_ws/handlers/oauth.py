"""Logging in by identities at providers; what comes back from there is looked at in ``providers``."""

from uuid import UUID

from echo_ws import codes
from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, Busy, Forbidden, IdConflict, PhoneNeeded, Unauthenticated
from echo_ws.events import utc
from echo_ws.logs import get_logger
from echo_ws.providers import BadProof, Flow, Proof
from echo_ws.sessions import address_of
from echo_ws.web import WebError
from echo_ws_db import accounts, oauth
from echo_ws_db.accounts import AttemptRow
from echo_ws_db.pool import Crossed
from echo_ws_protocol.commands import (
    OauthBegin,
    OauthConnect,
    OauthLink,
    OauthList,
    OauthLogin,
    OauthRegister,
    OauthUnlink,
)
from echo_ws_protocol.replies import Done, FlowBegun, Identity, IdentityList, LoggedIn

from .accounts import check_own_password, check_second_factor, device_of, open_session
from .verifications import wrong_code

LASTS_S = 600
"""Seconds for the way to the provider and back, and after it for a code to a phone."""

BUSY_MS = 2000
"""When to try again while a provider does not answer."""

log = get_logger(__name__)


@handles(OauthBegin)
async def begin(ctx: Context, command: OauthBegin) -> FlowBegun:
    return await _begin(ctx, command, None)


@handles(OauthConnect)
async def connect(ctx: Context, command: OauthConnect) -> FlowBegun:
    tried, _ = await check_own_password(ctx, command.password)
    await accounts.confirm(ctx.db, ctx.user, tried.attempt)
    return await _begin(ctx, command, ctx.user)


async def _begin(ctx: Context, command: OauthBegin | OauthConnect, owner: UUID | None) -> FlowBegun:
    provider, uri = ctx.accounts.provider(command.provider), command.redirect_uri
    ctx.accounts.check_redirect(uri, provider)
    row = await oauth.begin(ctx.db, command.flow, command.provider, owner, uri, LASTS_S)
    if row is None:
        raise IdConflict
    secrets = ctx.accounts.flow_secrets(command.flow, row.created_at)
    page = provider.page(Flow(secrets, uri, utc(row.created_at)))
    return FlowBegun(secrets.nonce, secrets.state, utc(row.expires_at), page)


@handles(OauthLogin)
async def login(ctx: Context, command: OauthLogin) -> LoggedIn:
    if command.id_token is not None or command.authorization_code is not None:
        await _prove(ctx, command, None, command.device)
    return await _enter(ctx, command)


@handles(OauthRegister)
async def register(ctx: Context, command: OauthRegister) -> LoggedIn:
    digest = ctx.accounts.code_digest(command.verification, "registration", command.code)
    try:
        made = await oauth.register(ctx.db, command.flow, command.verification, digest, command.name)
    except Crossed:  # the identity became somebody's in this moment
        raise _over(command) from None
    if made is None:
        raise _over(command)
    if made.user_id is None:
        raise wrong_code()
    log.info("registered", user=made.user_id)
    return await _enter(ctx, command)


async def _enter(ctx: Context, command: OauthLogin | OauthRegister) -> LoggedIn:
    """Find out whose the proven identity is here, and open a session."""
    device = device_of(ctx, command)
    found = await oauth.attempt(ctx.db, command.flow, device.device_id, device.address, device.user_agent)
    if found is None:
        raise _over(command)
    if found.attempt is None:
        raise PhoneNeeded
    if found.password_hash is None or found.phone is None:
        raise Unauthenticated("this account may not log in")
    tried = AttemptRow(found.attempt, found.user_id, found.password_hash, found.second_factor)
    if tried.second_factor:
        await check_second_factor(ctx, command, tried, found.phone, f"{found.provider}_")
    opened = await open_session(ctx, tried, found.password_hash, device, command.flow)
    if opened is None:
        raise _over(command)
    return opened


@handles(OauthLink)
async def link(ctx: Context, command: OauthLink) -> Done:
    await _prove(ctx, command, ctx.user, None)
    outcome, provider, phone = await oauth.link(ctx.db, command.flow, ctx.user, ctx.session.id)
    match outcome:
        case "over":
            raise _over(command)
        case "taken":
            raise Forbidden("another account has this identity: log in by it, and unlink it there")
        case "full":
            raise Forbidden("you have another identity of this provider: unlink it first")
        case "linked" if provider and phone:
            ctx.accounts.send(codes.link_notice(command.flow, phone, provider))
            log.info("identity_linked", user=ctx.user, provider=provider)
    return Done()


@handles(OauthUnlink)
async def unlink(ctx: Context, command: OauthUnlink) -> Done:
    tried, password_hash = await check_own_password(ctx, command.password)
    kept = ctx.session.id
    ended = await oauth.unlink(ctx.db, ctx.user, tried.attempt, password_hash, command.provider, kept)
    if ended is None:
        raise BadField("the password was changed a moment ago", field="$.password")
    ctx.services.sessions.revoked(ended)
    log.info("identity_unlinked", user=ctx.user, provider=command.provider, ended=len(ended))
    return Done()


@handles(OauthList)
async def list_(ctx: Context, _: OauthList) -> IdentityList:
    rows = await oauth.of_user(ctx.db, ctx.user)
    return IdentityList([Identity(row.provider, utc(row.created_at), row.email, row.name) for row in rows])


async def _prove(ctx: Context, command: OauthLogin | OauthLink, owner: UUID | None, device: str | None) -> None:
    """Look at what came back, for a flow of ``owner``: once. A flow whose proof was not good is over."""
    proof = _proof(command)
    claimed = await oauth.claim(ctx.db, command.flow, owner)
    if claimed is None:
        raise _over(command)
    provider = ctx.accounts.provider(claimed.provider)
    flow = Flow(
        ctx.accounts.flow_secrets(command.flow, claimed.created_at), claimed.redirect_uri, utc(claimed.created_at)
    )
    try:
        identity = await provider.identify(proof, flow)
    except WebError as error:
        await oauth.release(ctx.db, command.flow)
        log.warning("provider_not_asked", provider=provider.name, error=str(error))
        raise Busy(f"{provider.name} does not answer; try again", retry_after_ms=BUSY_MS) from None
    except BadProof as bad:
        await oauth.refuse(ctx.db, provider.name, address_of(ctx.address), ctx.user_agent or None, device)
        log.warning("proof_refused", provider=provider.name, reason=str(bad))
        raise _over(command) from None
    profile = {"name": identity.name} if identity.name else {}
    await oauth.prove(ctx.db, command.flow, identity.subject, identity.email, profile, LASTS_S)


def _proof(command: OauthLogin | OauthLink) -> Proof:
    if (command.id_token is None) == (command.authorization_code is None):
        raise BadField("send an id_token or an authorization_code", field="$.id_token")
    if command.authorization_code is not None and command.state is None:
        raise BadField("send the state that came with the code", field="$.state")
    return Proof(command.id_token, command.authorization_code, command.state)


def _over(command: OauthLogin | OauthRegister | OauthLink) -> Unauthenticated | BadField:
    """Return the one answer to whatever is wrong with a proof or a flow."""
    text = "what the provider said is not good, or the flow is over: begin another"
    return BadField(text, field="$.flow") if isinstance(command, OauthLink) else Unauthenticated(text)
