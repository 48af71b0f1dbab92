from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField
from echo_ws_protocol.commands import PresenceSet, PresenceWatch
from echo_ws_protocol.replies import Done, Presences


@handles(PresenceSet)
async def set_(ctx: Context, command: PresenceSet) -> Done:
    if ctx.listener is None:
        raise BadField("presence belongs to a connection: say so on a WebSocket", field="$.op")
    ctx.session.status = command.status
    ctx.services.presences.changed(ctx.user)
    return Done()


@handles(PresenceWatch)
async def watch(ctx: Context, command: PresenceWatch) -> Presences:
    ctx.hold()
    users = list(dict.fromkeys(command.users))
    return Presences(await ctx.services.presences.watch(ctx.user, ctx.listener, users))
