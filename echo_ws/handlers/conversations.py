from datetime import UTC, datetime

from echo_ws.cursor import as_cursor, as_role_cursor, cut, place_after
from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, NotFound
from echo_ws.events import as_stored, conversation_in, conversation_type, setup_of, utc
from echo_ws_db import conversations, participants, receipts
from echo_ws_db.conversations import SummaryRow
from echo_ws_protocol.commands import (
    ConversationCreate,
    ConversationDelete,
    ConversationGet,
    ConversationJoin,
    ConversationLeave,
    ConversationList,
    ConversationMarkUnread,
    ConversationMute,
    ConversationUnread,
    ConversationUpdate,
)
from echo_ws_protocol.replies import (
    ConversationCreated,
    ConversationDetails,
    ConversationPage,
    ConversationSummary,
    Done,
    Unread,
)

from .participants import as_participant, tell

FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)
SHOWN = 100
"""Participants that are shown with a conversation."""


@handles(ConversationCreate)
async def create(ctx: Context, command: ConversationCreate) -> ConversationCreated:
    if command.type == "direct" and len(command.participants) != 1:
        raise BadField("a direct conversation has one other participant", field="$.participants")
    if command.type == "direct" and command.name is not None:
        raise BadField("a direct conversation has no name", field="$.name")
    row = await conversations.create(
        ctx.db,
        command.conversation,
        command.type,
        command.name,
        ctx.user,
        command.participants,
        ctx.services.group_max,
    )
    if row.created:
        for user in {ctx.user, *command.participants}.difference(row.refused):
            ctx.poke(user)
    return ConversationCreated(row.conversation, row.created, row.refused)


@handles(ConversationUpdate)
async def update(ctx: Context, command: ConversationUpdate) -> Done:
    changed = await conversations.update(
        ctx.db,
        command.conversation,
        ctx.user,
        name=command.name,
        description=command.description,
        avatar_url=command.avatar_url,
        history=command.history,
        is_public=command.public,
    )
    ctx.publish(conversation_in(changed))
    return Done()


@handles(ConversationJoin)
async def join(ctx: Context, command: ConversationJoin) -> Done:
    await tell(ctx, await participants.join(ctx.db, command.conversation, ctx.user))
    return Done()


@handles(ConversationLeave)
async def leave(ctx: Context, command: ConversationLeave) -> Done:
    await tell(ctx, await participants.leave(ctx.db, command.conversation, ctx.user))
    return Done()


@handles(ConversationMute)
async def mute(ctx: Context, command: ConversationMute) -> Done:
    if command.until and not command.on:
        raise BadField("name a time only with `on`", field="$.until")
    until = as_stored(command.until or FOR_EVER, "$.until") if command.on else None
    await conversations.mute(ctx.db, command.conversation, ctx.user, until)
    ctx.poke(ctx.user)
    return Done()


@handles(ConversationDelete)
async def delete(ctx: Context, command: ConversationDelete) -> Done:
    changed = await conversations.delete(ctx.db, command.conversation, ctx.user)
    if changed:
        ctx.publish(conversation_in(changed))
    else:
        ctx.poke(ctx.user)
    return Done()


@handles(ConversationGet)
async def get(ctx: Context, command: ConversationGet) -> ConversationDetails:
    """Read one participant more than is shown, to know whether there are more."""
    summary = await conversations.summary(ctx.db, command.conversation, ctx.user)
    if summary is None:
        raise NotFound
    rows = await participants.page(
        ctx.db, command.conversation, ctx.user, participants.FIRST, SHOWN + 1, with_readers=False
    )
    shown, last = cut(rows, SHOWN)
    by_name = sorted(shown, key=lambda row: (row.display_name is None, row.display_name or "", row.user_id))
    following = last and as_role_cursor(last.role, last.user_id)
    return ConversationDetails(_as_summary(summary), [as_participant(row) for row in by_name], following)


@handles(ConversationList)
async def page(ctx: Context, command: ConversationList) -> ConversationPage:
    """Read one more than was asked for, to know whether there are more."""
    rows = await conversations.page(ctx.db, ctx.user, command.limit + 1, place_after(command.after))
    shown, last = cut(rows, command.limit)
    following = last and as_cursor(last.last_message_at or last.created_at, last.id)
    return ConversationPage([_as_summary(row) for row in shown], following)


@handles(ConversationUnread)
async def unread(ctx: Context, _: ConversationUnread) -> Unread:
    row = await receipts.total(ctx.db, ctx.user)
    return Unread(row.unread, row.mentions, row.conversations)


@handles(ConversationMarkUnread)
async def mark_unread(ctx: Context, command: ConversationMarkUnread) -> Done:
    await receipts.mark_unread(ctx.db, command.conversation, ctx.user, is_on=command.on)
    ctx.poke(ctx.user)
    return Done()


def _as_summary(row: SummaryRow) -> ConversationSummary:
    return ConversationSummary(
        conversation=row.id,
        type=conversation_type(row.type),
        role=row.role,  # type: ignore[arg-type]  # the table's check constraint
        last_seq=row.last_seq,
        last_rev=row.last_rev,
        delivered_seq=row.delivered_seq,
        read_seq=row.read_seq,
        created_at=utc(row.created_at),
        name=row.name,
        created_by=row.created_by,
        last_message=row.last_message_id,
        last_message_at=utc(row.last_message_at) if row.last_message_at else None,
        peer=row.peer,
        unread=row.unread,
        unread_mentions=row.mentions,
        marked_unread=row.marked_unread,
        members=row.member_count,
        silenced=row.silenced,
        muted_until=utc(row.muted_until) if row.muted_until else None,
        **setup_of(row.metadata)._asdict(),
    )
