from collections.abc import Sequence
from uuid import UUID

from echo_ws.cursor import as_cursor, as_search_cursor, cut, place_after, search_after
from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, Busy, NotFound
from echo_ws.events import Told, as_stored, message_in, messages_in, utc
from echo_ws.search import candidates, marks, question
from echo_ws_db import conversations, messages
from echo_ws_db.messages import Filters, HitRow, NewMessage, Question
from echo_ws_db.pool import TooSlow
from echo_ws_protocol.commands import (
    MessageDelete,
    MessageEdit,
    MessageEdits,
    MessageForward,
    MessageHide,
    MessageHistory,
    MessageMentions,
    MessagePin,
    MessagePins,
    MessageSearch,
    MessageSend,
)
from echo_ws_protocol.events import Message
from echo_ws_protocol.replies import (
    Done,
    Edit,
    EditPage,
    FoundMessage,
    HistoryPage,
    Mark,
    MentionPage,
    MessageSent,
    Mine,
    PinPage,
    SearchPage,
)
from echo_ws_protocol.types import MAX_SAFE_INTEGER

MOST_PINNED = 50
"""Messages that are pinned in one conversation."""


@handles(MessageSend)
async def send(ctx: Context, command: MessageSend) -> MessageSent:
    return await _store(
        ctx,
        NewMessage(
            command.message,
            command.conversation,
            ctx.user,
            command.content,
            command.reply_to,
            command.type,
            command.metadata,
            mentions=command.mentions,
        ),
    )


@handles(MessageForward)
async def forward(ctx: Context, command: MessageForward) -> MessageSent:
    """Copy in the server, so that a copy says what the source says."""
    source = await messages.source(ctx.db, command.source, ctx.user)
    copied = next(iter(messages_in([source] if source else [], ctx.user)), None)
    if copied is None or copied.deleted:
        return await _sent_before(ctx, NewMessage(command.message, command.conversation, ctx.user, ""))
    return await _store(
        ctx,
        NewMessage(
            command.message,
            command.conversation,
            ctx.user,
            copied.content,
            type=copied.type,
            metadata=copied.metadata,
            forwarded_from=command.source,
        ),
    )


async def _sent_before(ctx: Context, new: NewMessage) -> MessageSent:
    """Answer a repeated forward whose source is gone as it was answered first."""
    for row in await messages.find(ctx.db, [new]):
        return MessageSent(row.seq, utc(row.created_at))
    raise NotFound


async def _store(ctx: Context, new: NewMessage) -> MessageSent:
    row = await ctx.writer.send(new)
    assert row.seq
    assert row.created_at
    created_at = utc(row.created_at)
    if row.rev:  # else it was stored before, and published or about to be
        message = Message(
            conversation=new.conversation,
            message=new.id,
            seq=row.seq,
            rev=row.rev,
            sender=ctx.user,
            type=new.type,
            content=new.content,
            created_at=created_at,
            reply_to=new.reply_to,
            metadata=new.metadata,
            forwarded_from=new.forwarded_from,
            mentions=row.mentioned or [],
        )
        ctx.publish(Told(message, row.withheld_from))
    return MessageSent(row.seq, created_at)


@handles(MessageEdit)
async def edit(ctx: Context, command: MessageEdit) -> Done:
    place = (command.conversation, command.message, ctx.user)
    changed = await messages.edit(ctx.db, *place, command.content, window_s=ctx.services.edit_window_s)
    ctx.publish(message_in(changed))
    return Done()


@handles(MessageEdits)
async def edits(ctx: Context, command: MessageEdits) -> EditPage:
    place = (ctx.db, command.conversation, command.message, ctx.user)
    rows = await messages.edits(*place)
    if not rows and not await messages.exists(*place):
        raise NotFound
    return EditPage([Edit(row.content, utc(row.written_at)) for row in rows])


@handles(MessageDelete)
async def delete(ctx: Context, command: MessageDelete) -> Done:
    changed = await messages.remove(ctx.db, command.conversation, command.message, ctx.user)
    ctx.publish(message_in(changed))
    return Done()


@handles(MessageHide)
async def hide(ctx: Context, command: MessageHide) -> Done:
    await messages.hide(ctx.db, command.conversation, command.message, ctx.user)
    ctx.poke(ctx.user)
    return Done()


@handles(MessagePin)
async def pin(ctx: Context, command: MessagePin) -> Done:
    place = (command.conversation, command.message, ctx.user)
    changed = await messages.pin(ctx.db, *place, is_on=command.on, most=MOST_PINNED)
    ctx.publish(message_in(changed))
    return Done()


@handles(MessagePins)
async def pins(ctx: Context, command: MessagePins) -> PinPage:
    place = (ctx.db, command.conversation, ctx.user)
    rows = await messages.pins(*place)
    if not rows and not await conversations.ever_member(*place):
        raise NotFound
    pinned = messages_in((row.snapshot for row in rows), ctx.user)
    return PinPage(pinned, await mine_in(ctx, pinned))


@handles(MessageMentions)
async def mentions(ctx: Context, command: MessageMentions) -> MentionPage:
    """Read one more than was asked for, to know whether there are more."""
    rows = await messages.mentions(ctx.db, ctx.user, command.limit + 1, place_after(command.after))
    page, last = cut(rows, command.limit)
    named = messages_in((row.snapshot for row in page), ctx.user)
    following = last and as_cursor(last.created_at, last.message_id)
    return MentionPage(named, await mine_in(ctx, named), following)


@handles(MessageHistory)
async def history(ctx: Context, command: MessageHistory) -> HistoryPage:
    """Read one more than was asked for, to know whether there are more."""
    if command.before is not None and command.after is not None:
        raise BadField("name `before` or `after`, not both", field="$.after")
    if command.around is not None:
        return await _around(ctx, command, command.around)
    place = (ctx.db, command.conversation, ctx.user)
    if command.after is not None:
        rows = await messages.after(*place, command.after, command.limit + 1)
    else:
        before = MAX_SAFE_INTEGER if command.before is None else command.before
        rows = await messages.before(*place, before, command.limit + 1)
    if not rows and not await conversations.ever_member(*place):
        raise NotFound
    page = sorted(rows[: command.limit], key=lambda row: row.seq)
    shown = messages_in((row.snapshot for row in page), ctx.user)
    return HistoryPage(shown, more=len(rows) > command.limit, mine=await mine_in(ctx, shown))


async def _around(ctx: Context, command: MessageHistory, anchor: UUID | int) -> HistoryPage:
    """Read half of the page before the message, and the rest from it on."""
    if command.before is not None or command.after is not None:
        raise BadField("name `around`, `before` or `after`, not two of them", field="$.around")
    place = (ctx.db, command.conversation, ctx.user)
    seq = anchor if isinstance(anchor, int) else await messages.seq_of(*place, anchor)
    if seq is None or not await conversations.ever_member(*place):
        raise NotFound
    half = command.limit // 2
    older = await messages.before(*place, seq, half + 1)
    newer = await messages.after(*place, seq - 1, command.limit - half + 1)
    page = [*reversed(older[:half]), *newer[: command.limit - half]]
    shown = messages_in((row.snapshot for row in page), ctx.user)
    return HistoryPage(
        shown,
        more=len(older) > half,
        more_after=len(newer) > command.limit - half,
        mine=await mine_in(ctx, shown),
    )


@handles(MessageSearch)
async def search(ctx: Context, command: MessageSearch) -> SearchPage:
    """Read one more than was asked for, to know whether there are more."""
    asked, is_ranked = question(command.query), command.order == "best"
    filters = Filters(
        command.conversation,
        command.sender,
        command.type,
        as_stored(command.after, "$.after") if command.after else None,
        as_stored(command.before, "$.before") if command.before else None,
    )
    below = search_after(command.cursor)
    try:
        async with ctx.services.searches:
            rows = await messages.search(
                ctx.db, ctx.user, asked, filters, command.limit + 1, is_ranked=is_ranked, below=below
            )
            page, last = cut(rows, command.limit)
            found = await _marked(ctx, page, asked)
    except TooSlow:
        raise Busy("the search took too long: name a conversation, a time or a rarer word") from None
    if (
        command.conversation
        and not rows
        and not await conversations.ever_member(ctx.db, command.conversation, ctx.user)
    ):
        raise NotFound
    return SearchPage(found, last and as_search_cursor(last.place))


async def _marked(ctx: Context, rows: Sequence[HitRow], asked: Question) -> list[FoundMessage]:
    hits = messages_in((row.snapshot for row in rows), ctx.user)
    words = candidates((message.content for message in hits), asked)
    fitting = {row.word for row in await messages.sought_among(ctx.db, words, asked)} if words else set()
    return [FoundMessage(message, [Mark(*span) for span in marks(message.content, fitting, asked)]) for message in hits]


async def mine_in(ctx: Context, shown: Sequence[Message]) -> dict[UUID, Mine]:
    """Return what the viewer added to messages; the database is asked only about those to which somebody did."""
    touched = [message.message for message in shown if message.reactions or message.votes]
    rows = await messages.mine(ctx.db, touched, ctx.user) if touched else []
    return {row.id: Mine(row.reactions, row.votes) for row in rows if row.reactions or row.votes}
