from echo_ws.dispatch import Context, handles
from echo_ws.events import utc
from echo_ws_db import profiles
from echo_ws_db.profiles import ProfileRow
from echo_ws_protocol.commands import ProfileGet, ProfileSet
from echo_ws_protocol.replies import Done, Profile, Profiles


@handles(ProfileGet)
async def get(ctx: Context, command: ProfileGet) -> Profiles:
    return Profiles([_as_profile(row) for row in await profiles.get(ctx.db, ctx.user, command.users)])


@handles(ProfileSet)
async def set_(ctx: Context, command: ProfileSet) -> Done:
    await profiles.set(
        ctx.db,
        ctx.user,
        command.display_name,
        command.bio,
        command.avatar_url,
        command.phone_visible,
        command.profile_visible,
    )
    ctx.poke(ctx.user)
    return Done()


def _as_profile(row: ProfileRow) -> Profile:
    return Profile(
        user=row.user_id,
        display_name=row.display_name,
        bio=row.bio,
        avatar_url=row.avatar_url,
        phone=row.phone,
        status=row.status,  # type: ignore[arg-type]  # the words of the statement
        last_seen=utc(row.last_seen) if row.last_seen else None,
        deleted=row.deleted,
        phone_visible=row.phone_visible,
        profile_visible=row.profile_visible,
    )
