from echo_ws.dispatch import Context, handles
from echo_ws.errors import Forbidden, NotFound
from echo_ws_db import conversations
from echo_ws_protocol.commands import TypingSet
from echo_ws_protocol.events import Typing
from echo_ws_protocol.replies import Done

EXPIRES_MS = 8000
"""How long a sign of typing lasts without another."""


MOST = 200
"""Participants of a conversation in which it is told who types: in a larger one somebody always does."""


@handles(TypingSet)
async def set_(ctx: Context, command: TypingSet) -> Done:
    row = await conversations.may_type(ctx.db, command.conversation, ctx.user, MOST)
    if row is None:
        raise NotFound
    if not row.may_post:
        raise Forbidden("you may not write here, so nobody hears that you do")
    if row.is_told and ctx.session.may_tell_typing(command, ctx.now):
        typing = Typing(conversation=command.conversation, user=ctx.user, kind=command.kind, expires_ms=EXPIRES_MS)
        ctx.mention(typing, row.kept_from or ())
    return Done()
