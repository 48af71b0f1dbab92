from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField
from echo_ws_db import contacts
from echo_ws_protocol.commands import ContactBlock
from echo_ws_protocol.replies import Done


@handles(ContactBlock)
async def block(ctx: Context, command: ContactBlock) -> Done:
    if command.user == ctx.user:
        raise BadField("you cannot block yourself", field="$.user")
    await contacts.block(ctx.db, ctx.user, command.user, is_on=command.on, reason=command.reason)
    ctx.poke(ctx.user)
    ctx.services.presences.recheck(ctx.user, command.user)
    return Done()
