"""What this release wants of a database: migrations in dbmate's file format, and SQL functions."""

import re
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from . import statements

MIGRATIONS = Path(__file__).parent / "migrations"

_FILE = re.compile(r"(\d+)_\w+")
_SECTION = re.compile(r"^-- *migrate:(up|down)\b(.*)$", re.MULTILINE)
_OPTION = re.compile(r"(\w+):(\w+)")
_COMMENT = re.compile(r"--.*")
_TABLE = re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+\.\w+)", re.MULTILINE)
_FUNCTION = re.compile(r"^CREATE OR REPLACE (?:FUNCTION|PROCEDURE) (\w+\.\w+)", re.MULTILINE)


class MigrationError(Exception):
    """The schema cannot be brought to what this release wants; the message says why, in one line."""


class Script(NamedTuple):
    sql: str
    first_line: int
    options: dict[str, str]

    @property
    def is_transactional(self) -> bool:
        return self.options.get("transaction") != "false"

    @property
    def is_empty(self) -> bool:
        return not _COMMENT.sub("", self.sql).strip()

    @property
    def tables(self) -> list[str]:
        return _TABLE.findall(self.sql)

    @property
    def schemas(self) -> list[str]:
        return sorted({table.partition(".")[0] for table in self.tables})


class Migration(NamedTuple):
    version: str
    name: str
    checksum: str
    up: Script
    down: Script | None


class Release(NamedTuple):
    migrations: list[Migration]
    functions: str

    @property
    def function_names(self) -> list[str]:
        return _FUNCTION.findall(self.functions)

    @property
    def functions_digest(self) -> str:
        return sha256(self.functions.encode()).hexdigest()


def read(directory: Path = MIGRATIONS, functions: str | None = None) -> Release:
    """Return the migrations of a directory, oldest first, and the functions of the package unless others are given."""
    migrations = [_migration(path) for path in sorted(directory.glob("*.sql"))]
    versions = [migration.version for migration in migrations]
    if twice := {version for version in versions if versions.count(version) > 1}:
        raise MigrationError(f"two migrations have the version {min(twice)}: renumber one")
    return Release(migrations, statements.functions() if functions is None else functions)


def _migration(path: Path) -> Migration:
    text = path.read_text(encoding="utf-8")  # \r\n becomes \n: a checkout on Windows has the same checksum
    match = _FILE.fullmatch(path.stem)
    if match is None:
        raise MigrationError(f"{path.name}: a migration is called like 0001_name.sql")
    sections = list(_SECTION.finditer(text))
    if [section[1] for section in sections] not in (["up"], ["up", "down"]):
        raise MigrationError(f'{path.name}: expected "-- migrate:up" and then "-- migrate:down"')
    ends = [section.start() for section in sections[1:]] + [len(text)]
    scripts = [_script(text, section, end) for section, end in zip(sections, ends, strict=True)]
    return Migration(
        match[1], path.stem, sha256(text.encode()).hexdigest(), scripts[0], scripts[1] if len(scripts) > 1 else None
    )


def _script(text: str, section: re.Match[str], end: int) -> Script:
    first_line = text.count("\n", 0, section.end()) + 1
    return Script(text[section.end() : end], first_line, dict(_OPTION.findall(section[2])))
