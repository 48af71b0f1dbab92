from echo_ws.accounts import check_new
from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField
from echo_ws.logs import get_logger
from echo_ws_db import accounts, users
from echo_ws_protocol.commands import PasswordChange, PasswordForget, PasswordReset
from echo_ws_protocol.replies import CodeSent, Done

from .accounts import check_own_password
from .verifications import ask, hash_for, wrong_code

log = get_logger(__name__)


@handles(PasswordForget)
async def forget(ctx: Context, command: PasswordForget) -> CodeSent:
    return await ask(ctx, command.verification, "password_reset", command.phone)


@handles(PasswordReset)
async def reset(ctx: Context, command: PasswordReset) -> Done:
    password_hash = await hash_for(ctx, command.verification, "password_reset", command.password)
    digest = ctx.accounts.code_digest(command.verification, "password_reset", command.code)
    ended = await accounts.reset_password(ctx.db, command.verification, digest, password_hash)
    if ended is None:
        raise wrong_code()
    ctx.services.sessions.revoked(ended)
    log.info("reset_by_code", verification=command.verification, ended=len(ended))
    return Done()


@handles(PasswordChange)
async def change(ctx: Context, command: PasswordChange) -> Done:
    """Look at the new one first: a try at the old one is counted and noted, as at a login."""
    check_new(command.new_password, await users.phone(ctx.db, ctx.user), "$.new_password")
    tried, old_hash = await check_own_password(ctx, command.password)
    new_hash = await ctx.accounts.hash(command.new_password)
    ended = await accounts.change_password(ctx.db, ctx.user, tried.attempt, old_hash, new_hash, ctx.session.id)
    if ended is None:
        raise BadField("the password was changed a moment ago", field="$.password")
    ctx.services.sessions.revoked(ended)
    log.info("changed_by_owner", user=ctx.user, session=ctx.session.id, ended=len(ended))
    return Done()
