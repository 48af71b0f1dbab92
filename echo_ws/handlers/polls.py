from echo_ws.cursor import as_cursor, cut, place_after
from echo_ws.dispatch import Context, handles
from echo_ws.events import message_in, utc
from echo_ws_db import polls
from echo_ws_protocol.commands import PollVote, PollVoters
from echo_ws_protocol.replies import Done, Voter, VoterPage


@handles(PollVote)
async def vote(ctx: Context, command: PollVote) -> Done:
    changed = await polls.vote(ctx.db, command.conversation, command.message, ctx.user, command.options)
    ctx.publish(message_in(changed))
    return Done()


@handles(PollVoters)
async def voters(ctx: Context, command: PollVoters) -> VoterPage:
    """Read one more than was asked for, to know whether there are more."""
    await polls.secrecy(ctx.db, command.conversation, command.message, ctx.user)
    after = place_after(command.after)
    rows = await polls.voters(ctx.db, command.message, command.option, command.limit + 1, after)
    page, last = cut(rows, command.limit)
    following = last and as_cursor(last.created_at, last.user_id)
    return VoterPage([Voter(row.user_id, utc(row.created_at)) for row in page], following)
