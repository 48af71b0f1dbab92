"""Short-lived tokens, and how a connection ends for good."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from echo_ws.client import Client, Closed
from echo_ws.settings import JwtKey
from echo_ws.tokens import LIFETIME, AccessTokens
from echo_ws_protocol.events import Bye

from .world import World

KEYS = {
    "2026-b": JwtKey(alg="HS256", key="b" * 32),
    "2026-a": JwtKey(alg="HS256", key="a" * 32),
}


async def access_token(people: World, user: UUID, **claims: Any) -> str:
    """Return an access token of the user's only session, or of ``session``."""
    session = claims.get("session") or await people.store.fetchval(
        "SELECT id FROM auth.sessions WHERE user_id = $1", user
    )
    keys = {"2026-a": KEYS["2026-a"]} if "keys" not in claims else claims["keys"]
    return AccessTokens(keys, "echo_ws").sign(session, user, claims.get("now", datetime.now(UTC)))


async def ending(people: World, user: UUID, *, seconds: int = 2) -> str:
    """Return an access token that ends in so many seconds, or up to one less: it counts whole ones."""
    return await access_token(people, user, now=datetime.now(UTC) - LIFETIME + timedelta(seconds=seconds))


async def closed(person: Client) -> int:
    """Return the code with which the server closes for good."""
    with pytest.raises(Closed) as end:
        await person.next(Bye)
    return end.value.code
