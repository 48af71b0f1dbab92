from echo_ws.dispatch import Context, handles
from echo_ws_db import privacy
from echo_ws_protocol.commands import PrivacyGet, PrivacySet
from echo_ws_protocol.replies import Done, Privacy


@handles(PrivacyGet)
async def get(ctx: Context, _: PrivacyGet) -> Privacy:
    return Privacy(*await privacy.get(ctx.db, ctx.user))  # type: ignore[arg-type]  # the words of the statement


@handles(PrivacySet)
async def set_(ctx: Context, command: PrivacySet) -> Done:
    await privacy.set(
        ctx.db,
        ctx.user,
        command.show_last_seen,
        command.show_profile_photo,
        command.show_status,
        command.show_read_receipts,
        command.show_typing_indicator,
        command.allow_group_invites,
    )
    ctx.poke(ctx.user)
    ctx.services.presences.recheck(ctx.user)
    return Done()
