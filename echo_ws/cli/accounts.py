import asyncio
import sys
from uuid import UUID, uuid4

import click
import msgspec

from echo_ws import passwords, tokens
from echo_ws.broker.redis import RedisUnavailable, publish_once
from echo_ws.config import Settings
from echo_ws.demo import DemoUser, create_demo_users
from echo_ws.phones import BadPhone, e164
from echo_ws.sessions import REVOKED, revoked_payload
from echo_ws_db import sessions, users
from echo_ws_db.pool import Failed, Store

from .database import located, with_store
from .options import Stop, configured

FOREIGN_KEY_VIOLATION = "23503"
LONGEST_NAME = 100


@click.group()
def user() -> None:
    """Add users."""


@user.command()
@click.option("--phone", required=True, help="Phone number with country code, as in +49 151 23456789.")
@click.option("--name", required=True, help="Name that others see.")
@click.option("--password", "wants_password", is_flag=True, help="Ask for a password; without one, tokens only.")
@configured()
def add(settings: Settings, phone: str, name: str, wants_password: bool) -> None:
    """Add a user with a verified phone number and print the id."""
    number = _e164(phone)
    if not 0 < len(name.strip()) <= LONGEST_NAME:
        raise Stop(f"--name: 1 to {LONGEST_NAME} characters, please, got {len(name.strip())}")
    password_hash = _ask_password(number) if wants_password else users.NO_PASSWORD
    added = asyncio.run(with_store(settings, lambda store: users.add(store, number, name.strip(), password_hash)))
    if added is None:
        raise Stop(f"{number} belongs to another user; choose another number")
    click.echo(added)


@click.group()
def session() -> None:
    """Issue, list and revoke sessions.

    USER is an id, or a phone number with country code.
    """


@session.command()
@click.argument("user")
@click.option("--device", help="Name of the device.")
@click.option("--platform", default="cli", show_default=True, help="ios, android, web, cli …")
@click.option("--days", type=click.IntRange(1, 3650), help="Days that it lasts; default: ECHO_SESSION_DAYS.")
@configured()
def issue(settings: Settings, user: str, device: str | None, platform: str, days: int | None) -> None:
    """Open a session for USER and print its token.

    The token is shown this once: it is stored nowhere.
    """
    token = tokens.new_session_token()
    lasts = days or settings.session_days

    async def work(store: Store) -> UUID:
        owner = await _find(store, user)
        return await sessions.issue(store, owner, tokens.digest(token), f"cli-{uuid4()}", platform, device, lasts)

    try:
        opened = asyncio.run(with_store(settings, work))
    except Failed as error:
        if str(error).startswith(FOREIGN_KEY_VIOLATION):
            raise Stop(f"{user}: no such user; `echo-ws user add` adds one") from error
        raise
    click.echo(f"session {opened}, for {lasts} days; the token is shown only now:", err=True)
    click.echo(token)


@session.command(name="list")
@click.argument("user")
@configured()
def list_(settings: Settings, user: str) -> None:
    """List the sessions of USER, the one used last first."""

    async def work(store: Store) -> list[sessions.SessionListRow]:
        return await sessions.of_user(store, await _find(store, user))

    rows = asyncio.run(with_store(settings, work))
    if not rows:
        click.echo("no sessions", err=True)
    for row in rows:
        device = f"{row.device_name or row.device_id} ({row.platform})"
        used = f"used {row.last_activity_at:%Y-%m-%d %H:%M}{f' from {row.ip_address}' if row.ip_address else ''}"
        click.echo(f"{row.id}  {device}  {used}, ends {row.expires_at:%Y-%m-%d}")


@session.command()
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True, type=click.UUID)
@configured()
def revoke(settings: Settings, session_ids: tuple[UUID, ...]) -> None:
    """End sessions and close their connections."""
    revoked = asyncio.run(with_store(settings, lambda store: sessions.revoke(store, session_ids)))
    for unknown in set(session_ids) - set(revoked):
        click.echo(f"{unknown}: no such session", err=True)
    if revoked:
        asyncio.run(_announce(settings, revoked))
    click.echo(f"{len(revoked)} revoked")
    sys.exit(len(revoked) < len(set(session_ids)))


@click.group()
def demo() -> None:
    """Make users to try and test the server with."""


@demo.command(name="users")
@click.option("--count", default=2, show_default=True, type=click.IntRange(min=1), help="How many.")
@configured()
def demo_users(settings: Settings, count: int) -> None:
    """Create users and print them with their tokens.

    One JSON object a line: user, name, phone, token.
    """
    named = located(settings)
    with click.progressbar(length=count, label=f"creating {count} users", file=sys.stderr) as bar:

        def show(batch: list[DemoUser]) -> None:
            for person in batch:
                click.echo(msgspec.json.encode(person))
            bar.update(len(batch))

        asyncio.run(create_demo_users(named, count, show))


def _e164(phone: str) -> str:
    try:
        return e164(phone)
    except BadPhone:
        shown = phone if phone.isprintable() else ascii(phone)
        raise Stop(f"{shown}: not a phone number with country code, such as +49 151 23456789") from None


def _ask_password(phone: str) -> str:
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        return passwords.hash_password(password, phone)
    except passwords.BadPassword as error:
        raise Stop(str(error)) from error


async def _find(store: Store, who: str) -> UUID:
    """Return the user that an id or a phone number names."""
    try:
        return UUID(who)
    except ValueError:
        found = await users.by_phone(store, who if who.startswith("+999") else _e164(who))
    if found is None:
        raise Stop(f"{who}: no such user; `echo-ws user add` adds one")
    return found


async def _announce(settings: Settings, revoked: list[UUID]) -> None:
    url = located(settings).redis_url
    if not url or url == "memory:":
        return
    try:
        await publish_once(url, REVOKED, revoked_payload(revoked))
    except RedisUnavailable as error:
        click.echo(f"echo-ws: {error}; open connections end within {settings.revalidate_s:g} s", err=True)
