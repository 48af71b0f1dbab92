"""The command line, `echo-ws`. Each command's module is imported only when the command is run."""

from importlib import import_module

import click

from echo_ws import __version__

# Name to module, and what the list of commands says.
COMMANDS = {
    "serve": ("serve", "Run the server, with its own PostgreSQL and Redis unless others are named."),
    "config": ("settings", "Show the settings in force and where each came from."),
    "migrate": ("migrate", "Bring the database's schema up, down, or tell where it stands."),
    "user": ("users", "Add, show, lock, unlock and delete users."),
    "session": ("accounts", "Issue, list and revoke sessions."),
    "demo": ("accounts", "Make users to try and test the server with."),
    "restore-done": ("database", "Begin a new epoch after a restore from backup."),
    "psql": ("database", "Open the database in psql."),
    "healthcheck": ("healthcheck", "Ask the running server whether it is ready."),
}


class Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"{__name__}.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A WebSocket chat server: PostgreSQL is the truth, Redis is only speed.",
    epilog="Settings are ECHO_* variables or a TOML file; `echo-ws config` lists them all.",
)
@click.version_option(__version__, prog_name="echo_ws")
def main() -> None:
    pass
