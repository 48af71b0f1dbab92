import asyncio

import click

from echo_ws.config import Settings
from echo_ws_db import migrate as migrations

from .database import accepts, located, not_running
from .options import Stop, configured


@click.group()
def migrate() -> None:
    """Bring the database's schema up, down, or tell where it stands.

    The files and the table are dbmate's. `echo-ws serve` migrates its own database by itself; yours it leaves alone.
    """


@migrate.command()
@configured()
def up(settings: Settings) -> None:
    """Apply every migration that is pending. A running server of the release before goes on."""
    asyncio.run(migrations.up(_url(settings), on_step=_tell))
    click.echo("the database is up to date")


@migrate.command()
@click.option("--steps", default=1, show_default=True, type=click.IntRange(min=1), help="Migrations to undo.")
@click.confirmation_option(prompt="This drops tables and what is in them. Go on?")
@configured()
def down(settings: Settings, steps: int) -> None:
    """Undo the last migrations, with the data in what they made."""
    asyncio.run(migrations.down(_url(settings), steps, on_step=_tell))


@migrate.command()
@configured()
def status(settings: Settings) -> None:
    """List the migrations and whether each is applied."""
    for row in asyncio.run(migrations.status(_url(settings))):
        click.echo(f"{row.state:<8}  {row.name or row.version}")


def _url(settings: Settings) -> str:
    url = located(settings).database_url
    assert url
    if not settings.database_url and not accepts(url):
        raise Stop(not_running(settings))
    return url


def _tell(name: str, seconds: float) -> None:
    click.echo(f"{name} ({seconds:.2f} s)", err=True)
