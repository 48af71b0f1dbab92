"""A user's sessions, and what changed while one was away, from the revs that its client has."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

import msgspec

from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, NotFound
from echo_ws.events import MembershipBody, as_stored, events_in, memberships_in, own_changes_in, utc
from echo_ws_db import changes, sessions
from echo_ws_db.changes import WatermarkRow
from echo_ws_db.sessions import SessionListRow
from echo_ws_protocol.commands import SessionList, SessionRefresh, SessionResume, SessionRevoke
from echo_ws_protocol.events import Receipt
from echo_ws_protocol.replies import (
    ConversationChanges,
    Place,
    Resumed,
    SessionPage,
    SessionRefreshed,
    SessionsRevoked,
    SessionSummary,
)

PAGE = 100
"""Changes of one conversation in one answer, about."""

WHOLE = 500
"""Changes in one answer, about; and bytes of them. What is beyond is answered by ``more`` without events."""

WHOLE_BYTES = 256 * 1024

TOO_FAR = 20 * PAGE
"""Changes behind, from which on reading anew is cheaper than catching up."""

OWN = 500
"""Changes of the user's own in one answer."""


@handles(SessionRefresh)
async def refresh(ctx: Context, command: SessionRefresh) -> SessionRefreshed:
    await ctx.services.sessions.refresh(ctx.session, command.token)
    if ctx.listener:
        ctx.listener.renewed()
    return SessionRefreshed(ctx.session.expires_at)


@handles(SessionList)
async def list_(ctx: Context, _: SessionList) -> SessionPage:
    return SessionPage([_as_summary(row, ctx.session.id) for row in await sessions.open_of(ctx.db, ctx.user)])


@handles(SessionRevoke)
async def revoke(ctx: Context, command: SessionRevoke) -> SessionsRevoked:
    if (command.session is None) == (command.scope is None):
        raise BadField("name either a `session` or a `scope`", field="$.session")
    spared = ctx.session.id if command.scope == "others" else None
    ended = await sessions.revoke_own(ctx.db, ctx.user, command.session, spared, ctx.session.id)
    if command.session and not ended:
        raise NotFound("no such session")
    ctx.services.sessions.revoked(ended)
    return SessionsRevoked(len(ended))


@handles(SessionResume)
async def resume(ctx: Context, command: SessionResume) -> Resumed:
    """Hear what is committed from now on, then read what was committed before: nothing falls between the two."""
    since = as_stored(command.since, "$.since") if command.since else None
    async with ctx.services.catch_ups:
        await ctx.hear()
        is_known = command.epoch == ctx.services.epoch
        rows = await changes.of_user(ctx.db, ctx.user, command.rev if is_known else 0, OWN)
        cursors = {**_arrivals(memberships_in(rows)), **command.conversations}
        standing = dict(await changes.standing(ctx.db, ctx.user, list(cursors)))
        plan = plan_catch_up(cursors, standing, is_known=is_known)
        pages = await _read(ctx, plan.due)
        marks = await changes.receipts(ctx.db, ctx.user, since if is_known else None)
    own = own_changes_in(rows)
    is_full = len(own) == OWN
    return Resumed(
        epoch=ctx.services.epoch,
        time=utc(marks[0].now),
        rev=own[-1].rev if is_full else rows[0].last_rev if rows else 0,
        changes=own,
        more=is_full,
        conversations=[*plan.answers, *pages],
        receipts=_as_receipts(marks),
    )


class Plan(NamedTuple):
    """How to answer for many conversations at once."""

    answers: list[ConversationChanges]
    """What can be said without reading: resets, and what is left for the next time."""
    due: dict[UUID, int]
    """Conversations to be read, each from its rev on."""


def plan_catch_up(cursors: dict[UUID, int], standing: dict[UUID, int], *, is_known: bool) -> Plan:
    """Decide by how far the client is in each conversation and how far each goes. Where they are even, it is silent."""
    plan = Plan([], {})
    room = WHOLE
    for conversation, cursor in cursors.items():
        last_rev = standing.get(conversation)
        if last_rev is None:
            plan.answers.append(ConversationChanges(conversation, 0, reset=True))
        elif not is_known or not last_rev - TOO_FAR <= cursor <= last_rev:
            plan.answers.append(ConversationChanges(conversation, last_rev, reset=True))
        elif cursor < last_rev and room <= 0:
            plan.answers.append(ConversationChanges(conversation, cursor, more=True))
        elif cursor < last_rev:
            plan.due[conversation] = cursor
            room -= min(last_rev - cursor, PAGE)
    return plan


async def _read(ctx: Context, due: dict[UUID, int]) -> list[ConversationChanges]:
    if not due:
        return []
    rows = await changes.missed(ctx.db, ctx.user, list(due), list(due.values()), PAGE)
    pages = {conversation: list(page) for conversation, page in groupby(rows, lambda row: row.conversation_id)}
    answers = []
    room = WHOLE_BYTES
    for conversation, cursor in due.items():
        page = pages.get(conversation)
        if page is None:  # it was deleted a moment ago
            answers.append(ConversationChanges(conversation, 0, reset=True))
        elif room <= 0:
            answers.append(ConversationChanges(conversation, cursor, more=True))
        else:
            changed, up_to = events_in(page, PAGE, room)
            events = [told.to(ctx.user) for told in changed]
            room -= sum(len((row.body or "").encode()) for row in page)
            answers.append(ConversationChanges(conversation, up_to, events, more=up_to < page[0].last_rev))
    return answers


def _as_summary(row: SessionListRow, current: UUID) -> SessionSummary:
    return SessionSummary(
        session=row.id,
        device=row.device_id,
        platform=row.platform,
        created_at=utc(row.created_at),
        last_activity_at=utc(row.last_activity_at),
        expires_at=utc(row.expires_at),
        device_name=row.device_name,
        address=row.ip_address,
        user_agent=row.user_agent,
        location=_as_place(row.location),
        current=row.id == current,
    )


def _as_place(location: object) -> Place | None:
    """Return what a client can read of what some service wrote."""
    try:
        return msgspec.convert(location, Place | None)
    except msgspec.ValidationError:
        return None


def _arrivals(memberships: Sequence[MembershipBody]) -> dict[UUID, int]:
    """Return where the client begins in conversations that it may not have yet."""
    return {each.conversation_id: each.since_rev for each in memberships if not (each.left or each.is_deleted)}


def _as_receipts(marks: Sequence[WatermarkRow]) -> list[Receipt]:
    return [
        Receipt(conversation=conversation, user=user, delivered_seq=delivered or 0, read_seq=read or 0)
        for _, conversation, user, delivered, read in marks
        if conversation and user
    ]
