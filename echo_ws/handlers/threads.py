from collections.abc import Iterator
from uuid import UUID

from echo_ws.cursor import cut
from echo_ws.dispatch import Context, handles
from echo_ws.errors import NotFound
from echo_ws.events import messages_in
from echo_ws_db import conversations, threads
from echo_ws_db.threads import ThreadListRow
from echo_ws_protocol.commands import ThreadFollow, ThreadGet, ThreadList
from echo_ws_protocol.replies import Done, ThreadDetails, ThreadPage, ThreadSummary
from echo_ws_protocol.types import MAX_SAFE_INTEGER

from .messages import mine_in


@handles(ThreadGet)
async def get(ctx: Context, command: ThreadGet) -> ThreadDetails:
    """Read one more than was asked for, to know whether there are more."""
    place = (ctx.db, command.conversation, command.message, ctx.user)
    summary = await threads.summary(*place)
    parent = messages_in([summary.snapshot] if summary else [], ctx.user)
    if not summary or not parent:
        raise NotFound
    rows = await threads.replies(*place, command.after, command.limit + 1)
    shown = messages_in((row.snapshot for row in rows[: command.limit]), ctx.user)
    mine = await mine_in(ctx, parent + shown)
    return ThreadDetails(parent[0], summary.replies, shown, len(rows) > command.limit, summary.followed, mine)


@handles(ThreadList)
async def page(ctx: Context, command: ThreadList) -> ThreadPage:
    """Read one more than was asked for, to know whether there are more."""
    place = (ctx.db, command.conversation, ctx.user)
    before = MAX_SAFE_INTEGER if command.before is None else command.before
    rows = await threads.page(*place, before, command.limit + 1, is_followed=command.followed)
    if not rows and not await conversations.ever_member(*place):
        raise NotFound
    shown, last = cut(rows, command.limit)
    summaries = [summary for row in shown for summary in _as_summary(row, ctx.user)]
    return ThreadPage(summaries, last and last.last_seq)


def _as_summary(row: ThreadListRow, viewer: UUID) -> Iterator[ThreadSummary]:
    """Yield a thread, or nothing for one that no event can show."""
    match messages_in([row.snapshot, row.last_reply], viewer):
        case [message, last_reply]:
            yield ThreadSummary(message, row.replies, last_reply, row.followed)


@handles(ThreadFollow)
async def follow(ctx: Context, command: ThreadFollow) -> Done:
    await threads.follow(ctx.db, command.conversation, command.message, ctx.user, is_on=command.on)
    ctx.poke(ctx.user)
    return Done()
