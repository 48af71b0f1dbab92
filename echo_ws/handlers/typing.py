from echo_ws.dispatch import Context, handles
from echo_ws.errors import Forbidden, NotFound
from echo_ws_db import conversations, privacy
from echo_ws_protocol.commands import TypingSet
from echo_ws_protocol.events import Typing
from echo_ws_protocol.replies import Done

EXPIRES_MS = 8000
"""How long a sign of typing lasts without another."""


@handles(TypingSet)
async def set_typing(ctx: Context, command: TypingSet) -> Done:
    may_post = await conversations.may_post(ctx.db, command.conversation, ctx.user)
    if may_post is None:
        raise NotFound
    if not may_post:
        raise Forbidden
    is_due = ctx.session.may_tell_typing(command, ctx.now)
    if is_due and (await privacy.tells(ctx.db, ctx.user, command.conversation)).typing:
        ctx.mention(Typing(conversation=command.conversation, user=ctx.user, kind=command.kind, expires_ms=EXPIRES_MS))
    return Done()
