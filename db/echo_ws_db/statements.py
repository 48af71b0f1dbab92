"""The SQL files of this package: constant text, one named block a statement.

A block begins with ``-- name: edit(conversation, message) -> MessageRow`` (a statement, called by the function of the
same name in the module beside the file) or with ``-- function: messages.edit`` (a PostgreSQL function, put in place by
``echo-ws migrate up``).
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources

HEADER = re.compile(r"^-- (name|function): (.+)$", re.MULTILINE)


class Statements:
    """The statements of one file, as attributes."""

    def __init__(self, noun: str) -> None:
        self._texts = {header.partition("(")[0]: text for kind, header, text in blocks(f"{noun}.sql") if kind == "name"}

    def __getattr__(self, name: str) -> str:
        try:
            return self._texts[name]
        except KeyError:
            raise AttributeError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)


def blocks(file: str) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, header, text) of each block of a SQL file of this package."""
    parts = HEADER.split(resources.files(__package__).joinpath(file).read_text())
    for kind, header, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        yield kind, header, text.strip()


def files() -> list[str]:
    """Return the names of all SQL files of this package, migrations aside."""
    return sorted(entry.name for entry in resources.files(__package__).iterdir() if entry.name.endswith(".sql"))


@cache
def functions() -> str:
    """Return the text that creates, or replaces, every PostgreSQL function of these files."""
    return "\n\n".join(text for file in files() for kind, _, text in blocks(file) if kind == "function")
