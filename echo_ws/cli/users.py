import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import get_args

import click

from echo_ws import passwords
from echo_ws.config import Settings
from echo_ws_db import accounts, users
from echo_ws_db.accounts import Fate
from echo_ws_db.pool import Store

from .accounts import WHO, announce, as_json, find, name_of, number_of, was_deleted
from .audit import Audit, audited
from .database import with_store
from .options import Stop, configured

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
MOMENTS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S")


class Span(click.ParamType[timedelta]):
    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        match = re.fullmatch(r"([1-9]\d{0,4})([mhd])", str(value))
        if match is None:
            self.fail(f"{value}: expected 1 to 99999 minutes, hours or days, such as 30m, 2h or 7d", param, ctx)
        return timedelta(**{UNITS[match[2]]: int(match[1])})


@click.group()
def user() -> None:
    """Add, show, lock, unlock and delete users."""


@user.command()
@click.option("--phone", required=True, help="Phone number with country code, as in +49 151 23456789.")
@click.option("--name", required=True, help="Name that others see.")
@click.option("--password", "wants_password", is_flag=True, help="Ask for a password; without one, tokens only.")
@configured()
@audited
def add(settings: Settings, audit: Audit, phone: str, name: str, wants_password: bool) -> None:
    """Add a user with a verified phone number and print the id."""
    number = number_of(phone)
    shown = name_of("--name", name)
    password_hash = _ask_password(number) if wants_password else users.NO_PASSWORD
    added = asyncio.run(with_store(settings, lambda store: users.add(store, number, shown, password_hash)))
    if added is None:
        raise Stop(f"{number} belongs to another user; choose another number")
    audit("user_added", user=added)
    click.echo(added)


@user.command(epilog=WHO)
@click.argument("who", metavar="USER")
@click.option("--json", "is_json", is_flag=True, help="One JSON object.")
@configured()
@audited
def show(settings: Settings, audit: Audit, who: str, *, is_json: bool) -> None:
    """Show what is known of USER, and whether they may log in."""
    row = asyncio.run(with_store(settings, lambda store: find(store, who)))
    audit("user_shown", user=row.user)
    if is_json:
        click.echo(as_json(row))
        return
    for name, value in row._asdict().items():
        click.echo(f"{name.replace('_', ' '):<15}{_plain(value)}")


@user.command(epilog=WHO)
@click.argument("who", metavar="USER")
@click.option("--for", "span", type=Span(), help="How long: 30m, 2h, 7d; default: until it is unlocked.")
@click.option("--until", type=click.DateTime(MOMENTS), help="Until when, in UTC.")
@configured()
@audited
def lock(settings: Settings, audit: Audit, who: str, span: timedelta | None, until: datetime | None) -> None:
    """Keep USER out and end all sessions.

    Their connections are closed, and nobody logs in until the lock ends.
    """
    if span and until:
        raise Stop("--for or --until, not both")
    now = datetime.now(UTC).replace(tzinfo=None)
    if until and until <= now:
        raise Stop(f"--until: {until} is not in the future; it is {now:%Y-%m-%dT%H:%M} UTC")
    ends = now + span if span else until

    async def work(store: Store) -> None:
        owner = (await find(store, who)).user
        ended = await users.lock(store, owner, ends)
        if ended is None:
            raise was_deleted(who)
        audit("user_locked", user=owner, until=ends and f"{ends.isoformat()}Z", sessions=len(ended))
        await announce(settings, ended)
        click.echo(f"locked{f' until {ends:%Y-%m-%d %H:%M} UTC' if ends else ''}; sessions ended: {len(ended)}")

    asyncio.run(with_store(settings, work))


@user.command(epilog=WHO)
@click.argument("who", metavar="USER")
@configured()
@audited
def unlock(settings: Settings, audit: Audit, who: str) -> None:
    """Let USER in again, also who failed too often."""

    async def work(store: Store) -> None:
        owner = (await find(store, who)).user
        if not await users.unlock(store, owner):
            raise was_deleted(who)
        audit("user_unlocked", user=owner)

    asyncio.run(with_store(settings, work))
    click.echo("unlocked")


@user.command(epilog=WHO)
@click.argument("who", metavar="USER")
@click.option("--content", required=True, type=click.Choice(get_args(Fate)), help="What becomes of their messages.")
@click.confirmation_option(prompt="This cannot be undone. Delete the account?")
@configured()
@audited
def delete(settings: Settings, audit: Audit, who: str, content: Fate) -> None:
    """Delete the account of USER, as they would themselves."""

    async def work(store: Store) -> None:
        owner = (await find(store, who)).user
        ended = await accounts.delete(store, owner, content) or []
        audit("user_deleted", user=owner, messages=content, sessions=len(ended))
        await announce(settings, ended)

    asyncio.run(with_store(settings, work))
    click.echo("deleted")


def _ask_password(phone: str) -> str:
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        return passwords.hash_password(password, phone)
    except passwords.BadPassword as error:
        raise Stop(str(error)) from error


def _plain(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M} UTC"
        case _:
            return str(value)
