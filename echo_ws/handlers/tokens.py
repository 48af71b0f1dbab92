from echo_ws import tokens
from echo_ws.codes import successors
from echo_ws.dispatch import Context, handles
from echo_ws.errors import Unauthenticated
from echo_ws.logs import get_logger
from echo_ws.sessions import address_of
from echo_ws_db import refresh_tokens
from echo_ws_protocol.commands import TokenRefresh
from echo_ws_protocol.replies import LoggedIn

GRACE_S = 30
"""Seconds in which a token that was spent leads to the same again: the answer may have been lost."""

log = get_logger(__name__)


@handles(TokenRefresh)
async def refresh(ctx: Context, command: TokenRefresh) -> LoggedIn:
    """Spend the token, or say again what it led to; else somebody has a copy, and what it led to ends."""
    services, address, agent = ctx.accounts, address_of(ctx.address), ctx.user_agent or None
    next_ = successors(services.key, command.refresh_token)
    digests = [tokens.digest(token) for token in (command.refresh_token, next_.refresh, next_.session)]
    old, refresh_digest, session_digest = digests
    row = await refresh_tokens.rotate(
        ctx.db, old, refresh_digest, session_digest, address, agent, services.session_days, services.refresh_days
    ) or await refresh_tokens.repeated(ctx.db, old, refresh_digest, session_digest, GRACE_S)
    if row is None:
        ended = await refresh_tokens.revoke_family(ctx.db, old, address, agent)
        if ended:
            log.warning("refresh_repeated", sessions=ended)
        ctx.services.sessions.revoked(ended)
        raise Unauthenticated("the refresh token is not, or no longer, good; log in again")
    return services.logged_in(row, next_.session, next_.refresh)
