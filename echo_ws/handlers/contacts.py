from echo_ws.cursor import cut, user_after
from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, RateLimited
from echo_ws_db import contacts
from echo_ws_db.contacts import ContactRow
from echo_ws_protocol.commands import ContactBlock, ContactList, ContactLookup, ContactRemove, ContactSet
from echo_ws_protocol.replies import ContactPage, ContactSummary, Done, LookedUp


@handles(ContactBlock)
async def block(ctx: Context, command: ContactBlock) -> Done:
    if command.user == ctx.user:
        raise BadField("you cannot block yourself", field="$.user")
    await contacts.block(ctx.db, ctx.user, command.user, is_on=command.on, reason=command.reason)
    ctx.poke(ctx.user)
    ctx.services.presences.recheck(ctx.user, command.user)
    return Done()


@handles(ContactSet)
async def set_(ctx: Context, command: ContactSet) -> Done:
    if command.user == ctx.user:
        raise BadField("you cannot be a contact of your own", field="$.user")
    await contacts.set(ctx.db, ctx.user, command.user, command.nickname, favorite=command.favorite)
    ctx.poke(ctx.user)
    ctx.services.presences.recheck(ctx.user, command.user)
    return Done()


@handles(ContactRemove)
async def remove(ctx: Context, command: ContactRemove) -> Done:
    await contacts.remove(ctx.db, ctx.user, command.user)
    ctx.poke(ctx.user)
    ctx.services.presences.recheck(ctx.user, command.user)
    return Done()


@handles(ContactList)
async def page(ctx: Context, command: ContactList) -> ContactPage:
    """Read one more than was asked for, to know whether there are more."""
    place = user_after(command.after)
    rows = await contacts.page(ctx.db, ctx.user, command.limit + 1, place, is_blocked=command.blocked)
    shown, last = cut(rows, command.limit)
    return ContactPage([_as_summary(row) for row in shown], str(last.user_id) if last else None)


@handles(ContactLookup)
async def lookup(ctx: Context, command: ContactLookup) -> LookedUp:
    asked, per_day = len(command.hashes), ctx.services.lookups_per_day
    if per_day and asked > per_day:
        raise BadField(f"ask for at most {per_day:,} numbers at once", field="$.hashes")
    if per_day and (wait_ms := await contacts.take_lookups(ctx.db, ctx.user, asked, per_day)):
        raise RateLimited("that is enough numbers for today; ask again after the time given", retry_after_ms=wait_ms)
    return LookedUp({row.hash: row.user_id for row in await contacts.lookup(ctx.db, ctx.user, command.hashes)})


def _as_summary(row: ContactRow) -> ContactSummary:
    return ContactSummary(
        user=row.user_id,
        contact=row.is_contact,
        display_name=row.display_name,
        nickname=row.nickname,
        favorite=row.favorite,
        blocked=row.is_blocked,
        reason=row.reason,
        deleted=row.deleted,
    )
