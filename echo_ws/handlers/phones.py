from echo_ws import codes
from echo_ws.dispatch import Context, handles
from echo_ws.logs import get_logger
from echo_ws_db import accounts
from echo_ws_db.pool import Crossed
from echo_ws_protocol.commands import PhoneChange, PhoneVerify
from echo_ws_protocol.replies import CodeSent, Done

from .accounts import check_own_password
from .verifications import ask, wrong_code

log = get_logger(__name__)


@handles(PhoneChange)
async def change(ctx: Context, command: PhoneChange) -> CodeSent:
    tried, _ = await check_own_password(ctx, command.password)
    await accounts.confirm(ctx.db, ctx.user, tried.attempt)
    return await ask(ctx, command.verification, "phone_change", command.phone, ctx.user)


@handles(PhoneVerify)
async def verify(ctx: Context, command: PhoneVerify) -> Done:
    digest = ctx.accounts.code_digest(command.verification, "phone_change", command.code)
    try:
        moved = await accounts.change_phone(ctx.db, command.verification, ctx.user, digest, ctx.session.id)
    except Crossed:  # somebody else registered the number in this moment
        raise wrong_code() from None
    if moved is None:
        raise wrong_code()
    number_before, ended = moved
    ctx.services.sessions.revoked(ended)
    ctx.accounts.send(codes.farewell(command.verification, number_before))
    log.info("moved_to_another_number", user=ctx.user, ended=len(ended))
    return Done()
