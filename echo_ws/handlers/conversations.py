from datetime import UTC, datetime
from uuid import UUID

from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, NotFound
from echo_ws.events import conversation_type, utc
from echo_ws_db import conversations
from echo_ws_db.conversations import SummaryRow
from echo_ws_protocol.commands import ConversationCreate, ConversationGet, ConversationList
from echo_ws_protocol.replies import (
    ConversationCreated,
    ConversationDetails,
    ConversationPage,
    ConversationSummary,
    Participant,
)


@handles(ConversationCreate)
async def create(ctx: Context, command: ConversationCreate) -> ConversationCreated:
    if command.type == "direct" and len(command.participants) != 1:
        raise BadField("a direct conversation has one other participant", field="$.participants")
    if command.type == "direct" and command.name is not None:
        raise BadField("a direct conversation has no name", field="$.name")
    row = await conversations.create(
        ctx.db, command.conversation, command.type, command.name, ctx.user, command.participants
    )
    if row.created:
        for user in {ctx.user, *command.participants}:
            ctx.poke(user)
    return ConversationCreated(row.conversation, row.created)


@handles(ConversationGet)
async def get(ctx: Context, command: ConversationGet) -> ConversationDetails:
    summary = await conversations.summary(ctx.db, command.conversation, ctx.user)
    if summary is None:
        raise NotFound
    rows = await conversations.participants(ctx.db, command.conversation, ctx.user)
    people = [
        Participant(
            user=row.user_id,
            role=row.role,  # type: ignore[arg-type]  # the table's check constraint
            delivered_seq=row.delivered_seq,
            read_seq=row.read_seq,
            name=row.display_name,
            silenced=row.silenced,
        )
        for row in rows
    ]
    return ConversationDetails(_as_summary(summary), people)


@handles(ConversationList)
async def page(ctx: Context, command: ConversationList) -> ConversationPage:
    """Read one more than was asked for, to know whether there are more."""
    place = _as_place(command.after) if command.after else (None, None)
    rows = await conversations.page(ctx.db, ctx.user, command.limit + 1, place)
    shown = rows[: command.limit]
    following = _as_cursor(shown[-1]) if len(rows) > command.limit else None
    return ConversationPage([_as_summary(row) for row in shown], following)


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
    )


def _as_cursor(row: SummaryRow) -> str:
    """Return the place of a conversation in the list, as text."""
    return f"{utc(row.last_message_at or row.created_at).isoformat()}|{row.id}"


def _as_place(cursor: str) -> tuple[datetime, UUID]:
    time, _, conversation = cursor.partition("|")
    try:
        return datetime.fromisoformat(time).astimezone(UTC).replace(tzinfo=None), UUID(conversation)
    except (ValueError, OverflowError):
        raise BadField("pass `next` of the page before", field="$.after") from None
