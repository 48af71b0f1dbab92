"""Who is at the other end of a connection, and whether a command may run now."""

from datetime import datetime, timedelta
from uuid import UUID

from echo_ws_protocol.commands import WITHOUT_SESSION, Command, SessionStart, TypingSet
from echo_ws_protocol.types import OwnStatus

from .errors import AlreadyAuthenticated, RateLimited, Unauthenticated
from .limits import Allowance, Limits

TYPING_EVERY_S = 2.0
"""Seconds between two ``typing.set`` in one conversation that the others are told of."""

MAX_TYPING_IN = 32
"""Conversations that a session remembers to have typed in."""


WARNING = timedelta(minutes=1)
"""How long before its end a token is warned of."""

WARNING_PART = 10
"""The last part in so many of a shorter life is warned of."""


class Session:
    """One connection's authenticated session; the clock is passed in, in seconds.

    ``expires_at`` is when the token ends that it was opened or last renewed with: with the session, or before.
    """

    __slots__ = (
        "_typed_at",
        "_warn_at",
        "allowance",
        "expires_at",
        "id",
        "in_flight",
        "is_used",
        "status",
        "touched_at",
        "user",
    )

    def __init__(self, id: UUID, user: UUID, expires_at: datetime, now: float, today: datetime) -> None:  # noqa: A002
        self.id = id
        self.user = user
        self.renew(expires_at, today)
        self.allowance: Allowance | None = None
        """What is left of its limits; None before the first command."""
        self.in_flight = 0
        """Commands at work."""
        self.is_used = False
        """Whether a command came since ``touched_at``."""
        self.touched_at = now
        """When ``last_activity_at`` was last written."""
        self.status: OwnStatus = "online"
        """Whether its user is at this device."""
        self._typed_at: dict[UUID, float] | None = None

    def renew(self, expires_at: datetime, today: datetime) -> None:
        """Go on with a token that ends at another time."""
        self.expires_at = expires_at
        self._warn_at = expires_at - min(WARNING, (expires_at - today) / WARNING_PART)

    def is_to_be_warned(self, today: datetime) -> bool:
        """Whether to tell now that the token ends soon: once."""
        is_near = self._warn_at <= today < self.expires_at
        if is_near:
            self._warn_at = self.expires_at
        return is_near

    def until_due(self, today: datetime) -> float:
        """Return the seconds until the warning or, after it, until the end."""
        return (self._warn_at - today).total_seconds()

    def may_tell_typing(self, command: TypingSet, now: float) -> bool:
        """Whether the others are to be told; ``stopped`` always is, and makes room for a new beginning."""
        if command.kind == "stopped":
            if self._typed_at:
                self._typed_at.pop(command.conversation, None)
            return True
        typed_at = self._typed_at = self._typed_at or {}
        if now - typed_at.get(command.conversation, float("-inf")) < TYPING_EVERY_S:
            return False
        if len(typed_at) >= MAX_TYPING_IN:
            typed_at.clear()
        typed_at[command.conversation] = now
        return True


def admit(
    session: Session | None, command: Command[object], limits: Limits, now: float, address: str | None = None
) -> None:
    """Return if ``command`` may run on a connection with this session, or raise what to answer.

    ``address`` is where commands that need no session come from, and counted by; None: they are not.
    """
    needs_session = type(command) not in WITHOUT_SESSION
    if isinstance(command, SessionStart):
        if session is not None:
            raise AlreadyAuthenticated
    elif session is None and needs_session:
        raise Unauthenticated("start a session first: session.start, or an Authorization header")
    elif not needs_session and (wait_ms := limits.of_stranger(address, now)):
        raise RateLimited(retry_after_ms=wait_ms)
    elif session is not None:
        allowance = session.allowance = session.allowance or limits.of_connection()
        if wait := limits.ask(session.user, allowance, type(command), now):
            raise RateLimited(retry_after_ms=wait.ms, is_last=wait.is_last)
        session.is_used = True
