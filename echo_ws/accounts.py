"""What the handlers of accounts work with, one of each for a worker: keys, senders, the thread for passwords."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from echo_ws_protocol.replies import LoggedIn

from . import codes, tokens
from .errors import BadField, Busy, Forbidden, RateLimited
from .events import utc
from .limits import Limits
from .passwords import BadPassword, PasswordThread, check, needs_rehash
from .phones import BadPhone, e164
from .post import Post
from .providers import Provider, open_providers
from .senders import Notice, open_sender
from .settings import Settings
from .web import Web

MOST_SESSIONS = 10
"""Sessions of a user; one more ends the one that was used longest ago."""

MOST_WAITING, LONGEST_WAIT_S = 8, 2.0
"""How many passwords wait while one is hashed, and for how long."""

BUSY_MS = 2000
"""When to try again while too many passwords wait."""


class Opened(Protocol):
    """A session that was opened or renewed."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def session(self) -> UUID: ...
    @property
    def expires_at(self) -> datetime: ...


class Accounts:
    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        clock: Callable[[], float],
        access: tokens.AccessTokens,
    ) -> None:
        self.session_days = settings.session_days
        self.refresh_days = settings.refresh_days
        self.key = settings.secret_key or ""
        self._limits = limits
        self._clock = clock
        self._access = access
        self._passwords = PasswordThread()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._web = Web(settings.oauth_deadline_s) if settings.oauth else None
        self._providers = open_providers(settings, self._web, clock) if self._web else {}
        self._redirects = frozenset(settings.oauth_redirects)
        sender = open_sender(settings)
        self._post = Post(sender, settings.send_deadline_s) if sender else None
        if self.key:
            self._passwords.warm_up()

    async def close(self) -> None:
        self._passwords.close()
        if self._post:
            await self._post.close()
        if self._web:
            await self._web.close()

    def check(self) -> None:
        """Return where people can register and log in, or raise what to answer."""
        if not self.key:
            raise Forbidden("this server has no accounts: ECHO_SECRET_KEY is not set")

    # Codes.

    def take_code(self, address: str) -> None:
        """Return if a code may be sent for somebody at this address, or raise what to answer."""
        if self._post is None:
            raise Forbidden("this server sends no codes: ECHO_SENDER is not set")
        if wait_ms := self._limits.of_code(address, self._clock()):
            raise RateLimited("too many codes were asked for; ask again after the time given", retry_after_ms=wait_ms)

    def send(self, notice: Notice) -> None:
        """Send a notice, if there is anything that sends. Never waits."""
        if self._post:
            self._post.send(notice)

    def code_digest(self, verification: UUID, purpose: str, code: str) -> str:
        return codes.code_digest(self.key, verification, purpose, code)

    # Identities at providers.

    def provider(self, name: str) -> Provider:
        if name not in self._providers:
            raise Forbidden(f"this server takes no identities of {name}: ECHO_OAUTH does not name it")
        return self._providers[name]

    def check_redirect(self, uri: str | None, provider: Provider) -> None:
        """Return if people may be sent back there, or raise what to answer."""
        if uri is None and provider.needs_browser:
            raise BadField("this provider sends people back to an address: name it", field="$.redirect_uri")
        if uri is not None and uri not in self._redirects:
            raise BadField("not one of ECHO_OAUTH_REDIRECTS, to the letter", field="$.redirect_uri")

    def flow_secrets(self, flow: UUID, begun_at: datetime) -> codes.FlowSecrets:
        return codes.flow_secrets(self.key, flow, begun_at)

    # Passwords.

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until those who came before are through, or raise what to answer where too many wait, or for too long.

        What a try at a password asks of the database is done in its turn, too: a crowd at the door takes neither all
        connections nor, beside the thread, the other cores.
        """
        if self._waiting >= MOST_WAITING:
            raise _too_many()
        self._waiting += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise _too_many() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turn.release()

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether the password is right, in a turn; it takes as long where there is none."""
        return await self._passwords.verify(password_hash, password)

    async def hash(self, password: str) -> str:
        """Wait for a turn and return the hash of a password that ``check_new`` let pass."""
        async with self.turn():
            return await self._passwords.hash(password)

    async def rehash(self, password_hash: str, password: str) -> str:
        """Return the hash, or another of the same password where it was made with another cost than ours."""
        return await self.hash(password) if needs_rehash(password_hash) else password_hash

    # Sessions.

    def logged_in(self, opened: Opened, token: str, refresh_token: str) -> LoggedIn:
        now = datetime.now(UTC)
        is_signing = self._access.can_sign
        return LoggedIn(
            user=opened.user_id,
            session=opened.session,
            token=token,
            expires_at=utc(opened.expires_at),
            refresh_token=refresh_token,
            access_token=self._access.sign(opened.session, opened.user_id, now) if is_signing else None,
            access_expires_at=now + tokens.LIFETIME if is_signing else None,
        )


def check_new(password: str, phone: str, field: str = "$.password") -> None:
    """Return if somebody with this number may have the password, or raise what to answer."""
    try:
        check(password, phone)
    except BadPassword as error:
        raise BadField(str(error), field=field) from None


def _too_many() -> Busy:
    return Busy("too many passwords wait to be checked", retry_after_ms=BUSY_MS)


def phone_of(text: str) -> str:
    """Return the phone number in the form in which it is stored."""
    try:
        return e164(text)
    except BadPhone:
        raise BadField("not a phone number with country code, such as +49 151 23456789", field="$.phone") from None
