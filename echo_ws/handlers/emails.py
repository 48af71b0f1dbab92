from echo_ws.dispatch import Context, handles
from echo_ws.logs import get_logger
from echo_ws_db import accounts
from echo_ws_db.pool import Crossed
from echo_ws_protocol.commands import EmailChange, EmailVerify
from echo_ws_protocol.replies import CodeSent, Done

from .accounts import check_own_password
from .verifications import ask_by_email, wrong_code

log = get_logger(__name__)


@handles(EmailChange)
async def change(ctx: Context, command: EmailChange) -> CodeSent:
    tried, _ = await check_own_password(ctx, command.password)
    await accounts.confirm(ctx.db, ctx.user, tried.attempt)
    return await ask_by_email(ctx, command.verification, command.email)


@handles(EmailVerify)
async def verify(ctx: Context, command: EmailVerify) -> Done:
    digest = ctx.accounts.code_digest(command.verification, "email_verification", command.code)
    try:
        is_right = await accounts.change_email(ctx.db, command.verification, ctx.user, digest, ctx.session.id)
    except Crossed:  # somebody else took the address in this moment
        raise wrong_code() from None
    if not is_right:
        raise wrong_code()
    log.info("has_another_email", user=ctx.user)
    return Done()
