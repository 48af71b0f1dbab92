import asyncio
import sys
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import click
import msgspec

from echo_ws import tokens
from echo_ws.broker.redis import RedisUnavailable, publish_once
from echo_ws.config import Settings
from echo_ws.demo import DemoUser, create_demo_users
from echo_ws.phones import BadPhone, e164
from echo_ws.sessions import REVOKED, revoked_payload
from echo_ws_db import sessions, users
from echo_ws_db.pool import Store
from echo_ws_protocol.types import DisplayName

from .audit import Audit, audited
from .database import located, with_store
from .options import Stop, configured

EXAMPLE = "+49 151 23456789"
WHO = "USER is an id, or a phone number with country code."


@click.group()
def session() -> None:
    """Issue, list and revoke sessions."""


@session.command(epilog=WHO)
@click.argument("user")
@click.option("--device", help="Name of the device.")
@click.option("--platform", default="cli", show_default=True, help="ios, android, web, cli …")
@click.option("--days", type=click.IntRange(1, 3650), help="Days that it lasts; default: ECHO_SESSION_DAYS.")
@configured()
@audited
def issue(settings: Settings, audit: Audit, user: str, device: str | None, platform: str, days: int | None) -> None:
    """Open a session for USER and print its token.

    The token is shown this once: it is stored nowhere.
    """
    token = tokens.new_session_token()
    lasts = days or settings.session_days
    named = None if device is None else name_of("--device", device)

    async def work(store: Store) -> tuple[UUID, UUID]:
        account = await find(store, user)
        if account.deleted_at:
            raise was_deleted(user)
        if account.locked:
            until = f" until {account.locked_until:%Y-%m-%d %H:%M} UTC" if account.locked_until else ""
            raise Stop(f"{user} is locked{until}; `echo-ws user unlock` lets them in")
        digest = tokens.digest(token)
        opened = await sessions.issue(store, account.user, digest, f"cli-{uuid4()}", platform, named, lasts)
        return account.user, opened

    owner, opened = asyncio.run(with_store(settings, work))
    audit("session_issued", user=owner, session=opened, days=lasts)
    click.echo(f"session {opened}, for {lasts} days; the token is shown only now:", err=True)
    click.echo(token)


@session.command(name="list", epilog=WHO)
@click.argument("user")
@click.option("--json", "is_json", is_flag=True, help="One JSON object a line.")
@configured()
@audited
def list_(settings: Settings, audit: Audit, user: str, *, is_json: bool) -> None:
    """List the sessions of USER, the one used last first."""

    async def work(store: Store) -> tuple[UUID, list[sessions.SessionListRow]]:
        owner = (await find(store, user)).user
        return owner, await sessions.of_user(store, owner)

    owner, rows = asyncio.run(with_store(settings, work))
    audit("sessions_listed", user=owner)
    if not rows:
        click.echo("no sessions", err=True)
    for row in rows:
        if is_json:
            click.echo(as_json(row))
            continue
        device = f"{row.device_name or row.device_id} ({row.platform})"
        address = f" from {row.ip_address}" if row.ip_address else ""
        is_new = row.last_activity_at == row.created_at
        used = "never used" if is_new else f"used {row.last_activity_at:%Y-%m-%d %H:%M}{address}"
        click.echo(f"{row.id}  {device}  {used}, ends {row.expires_at:%Y-%m-%d}")


@session.command()
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True, type=click.UUID)
@configured()
@audited
def revoke(settings: Settings, audit: Audit, session_ids: tuple[UUID, ...]) -> None:
    """End sessions and close their connections."""
    revoked = asyncio.run(with_store(settings, lambda store: sessions.revoke(store, session_ids)))
    for row in revoked:
        audit("session_revoked", user=row.user_id, session=row.id)
    ended = [row.id for row in revoked]
    for unknown in set(session_ids) - set(ended):
        click.echo(f"{unknown}: no such session", err=True)
    asyncio.run(announce(settings, ended))
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


def as_json(row: NamedTuple) -> bytes:
    """Return a row of the database, whose times are UTC."""
    utc = {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
    }
    return msgspec.json.encode(utc)


def number_of(phone: str, wanted: str = "not a phone number") -> str:
    """Return a phone number as it is stored."""
    try:
        return e164(phone)
    except BadPhone:
        shown = phone if phone.isprintable() else ascii(phone)
        raise Stop(f"{shown}: {wanted} with country code, such as {EXAMPLE}") from None


def name_of(option: str, name: str) -> str:
    """Return a name, of a user or a device, that the protocol would take, too."""
    try:
        return msgspec.convert(name.strip(), DisplayName)
    except msgspec.ValidationError:
        raise Stop(f"{option}: 1 to 100 characters, please, and no control characters") from None


async def find(store: Store, who: str) -> users.AccountRow:
    """Return the user that a phone number names, or an id, this also after the account was deleted."""
    try:
        owner: UUID | None = UUID(who)
    except ValueError:
        is_tester = who.startswith("+999")
        number = who if is_tester else number_of(who, "neither a user's id nor a phone number")
        owner = await users.by_phone(store, number)
    account = await users.show(store, owner) if owner else None
    if account is None:
        raise Stop(f"{who}: no such user; `echo-ws user add` adds one")
    return account


def was_deleted(who: str) -> Stop:
    return Stop(f"{who} was deleted, which nobody can take back")


async def announce(settings: Settings, revoked: list[UUID]) -> None:
    """Let all workers close the connections of sessions that were ended."""
    url = located(settings).redis_url
    if not revoked or not url or url == "memory:":
        return
    try:
        await publish_once(url, REVOKED, revoked_payload(revoked))
    except RedisUnavailable as error:
        click.echo(f"echo-ws: {error}; open connections end within {settings.revalidate_s:g} s", err=True)
