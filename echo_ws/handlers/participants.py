import asyncio

from echo_ws.cursor import as_role_cursor, cut, role_after
from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, NotFound
from echo_ws.events import members_in
from echo_ws_db import conversations, participants
from echo_ws_db.participants import ParticipantRow
from echo_ws_protocol.commands import (
    ParticipantAdd,
    ParticipantDemote,
    ParticipantList,
    ParticipantPromote,
    ParticipantRemove,
    ParticipantSilence,
)
from echo_ws_protocol.replies import Done, Participant, ParticipantPage, ParticipantsAdded


@handles(ParticipantAdd)
async def add(ctx: Context, command: ParticipantAdd) -> ParticipantsAdded:
    row = await participants.add(ctx.db, command.conversation, ctx.user, command.users, ctx.services.group_max)
    await tell(ctx, row.changed)
    return ParticipantsAdded(row.refused)


@handles(ParticipantRemove)
async def remove(ctx: Context, command: ParticipantRemove) -> Done:
    if command.user == ctx.user:
        raise BadField("leave by `conversation.leave`", field="$.user")
    await tell(ctx, await participants.remove(ctx.db, command.conversation, ctx.user, command.user))
    return Done()


@handles(ParticipantPromote)
async def promote(ctx: Context, command: ParticipantPromote) -> Done:
    await tell(ctx, await participants.set_role(ctx.db, command.conversation, ctx.user, command.user, is_admin=True))
    return Done()


@handles(ParticipantDemote)
async def demote(ctx: Context, command: ParticipantDemote) -> Done:
    await tell(ctx, await participants.set_role(ctx.db, command.conversation, ctx.user, command.user, is_admin=False))
    return Done()


@handles(ParticipantSilence)
async def silence(ctx: Context, command: ParticipantSilence) -> Done:
    await tell(ctx, await participants.silence(ctx.db, command.conversation, ctx.user, command.user, is_on=command.on))
    return Done()


@handles(ParticipantList)
async def page(ctx: Context, command: ParticipantList) -> ParticipantPage:
    """Read one more than was asked for, to know whether there are more."""
    place = role_after(command.after)
    rows = await participants.page(ctx.db, command.conversation, ctx.user, place, command.limit + 1, with_readers=True)
    if not rows and await conversations.summary(ctx.db, command.conversation, ctx.user) is None:
        raise NotFound
    shown, last = cut(rows, command.limit)
    return ParticipantPage([as_participant(row) for row in shown], last and as_role_cursor(last.role, last.user_id))


async def tell(ctx: Context, changed: str) -> None:
    """Publish what changed for members, and let the others on this worker have their turn in between."""
    for told in members_in(changed):
        ctx.publish(told)
        ctx.poke(told.event.user)
        await asyncio.sleep(0)


def as_participant(row: ParticipantRow) -> Participant:
    return Participant(
        user=row.user_id,
        role=row.role,  # type: ignore[arg-type]  # the table's check constraint
        delivered_seq=row.delivered_seq,
        read_seq=row.read_seq,
        name=row.display_name,
        silenced=row.silenced,
        deleted=row.is_deleted,
    )
