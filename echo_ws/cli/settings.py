import os
from pathlib import Path

import click

from echo_ws.config import ConfigError, describe, load_with_sources, shown

from .options import Stop, config_option


@click.command()
@config_option
def config(config_file: Path | None) -> None:
    """Show the settings in force, and where each came from. Passwords and keys are not shown."""
    try:
        settings, sources = load_with_sources(os.environ, config_file, {})
    except ConfigError as error:
        for row in describe():
            click.echo(f"{row.variable} ({row.kind}): {row.description}")
        raise Stop(str(error)) from error
    width = max(len(row.variable) for row in describe())
    for row in describe():
        value = shown(settings)[row.name] or "-"
        origin = "" if sources[row.name] in ("default", row.variable) else f" from {sources[row.name]}"
        mark = " " if sources[row.name] == "default" else "*"
        click.echo(f"{mark} {row.variable:<{width}}  {value}{origin}")
    click.echo("\n* set by you; the others are defaults. docs/operating.md explains each.", err=True)
