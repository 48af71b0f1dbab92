"""What was applied to a database: dbmate's table, and beside it one of ours with checksums."""

from typing import Any, NamedTuple

from .exclusive import Connection
from .release import Migration, MigrationError

_VERSION_TYPE = """
SELECT format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = to_regclass('public.schema_migrations') AND attname = 'version' AND NOT attisdropped
"""
_CREATE = """
CREATE TABLE IF NOT EXISTS public.schema_migrations (version VARCHAR PRIMARY KEY);

CREATE TABLE public.schema_migration_checksums (
    version VARCHAR PRIMARY KEY,
    checksum VARCHAR(64) NOT NULL,
    adopted BOOLEAN NOT NULL DEFAULT FALSE,
    applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

COMMENT ON TABLE public.schema_migration_checksums IS
    'sha256 of each migration as applied; "functions:…" are the SQL functions, the latest is in force';
"""
_ADD_CHECKSUM = """
INSERT INTO public.schema_migration_checksums (version, checksum, adopted, applied_at)
VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (version) DO UPDATE SET checksum = $2, adopted = $3, applied_at = clock_timestamp()
"""
_FUNCTIONS = "functions:"


class Ledger(NamedTuple):
    applied: set[str]
    checksums: dict[str, str]
    adopted: set[str]
    functions: str | None
    """The digest of the SQL functions in force."""
    functions_ever: set[str]


async def read(connection: Connection) -> Ledger:
    """Return what was applied; nothing, where nobody ever migrated."""
    applied: set[str] = set()
    if await _version_type(connection):
        applied = {version for (version,) in await connection.fetch("SELECT version FROM public.schema_migrations")}
    checksums: list[Any] = []
    if await _has_checksums(connection):
        checksums = await connection.fetch(
            "SELECT version, checksum, adopted FROM public.schema_migration_checksums ORDER BY applied_at"
        )
    functions = [row["checksum"] for row in checksums if row["version"].startswith(_FUNCTIONS)]
    return Ledger(
        applied,
        {row["version"]: row["checksum"] for row in checksums},
        {row["version"] for row in checksums if row["adopted"]},
        functions[-1] if functions else None,
        set(functions),
    )


async def create(connection: Connection) -> None:
    if not await _has_checksums(connection):  # asked first: IF NOT EXISTS wants the right to create even so
        await _version_type(connection)
        await connection.execute(_CREATE)


async def add(connection: Connection, migration: Migration, *, adopted: bool) -> None:
    await connection.execute("INSERT INTO public.schema_migrations (version) VALUES ($1)", migration.version)
    await connection.execute(_ADD_CHECKSUM, migration.version, migration.checksum, adopted)


async def complete(connection: Connection, migrations: list[Migration], ledger: Ledger) -> None:
    """Take note of the checksums of what dbmate itself applied."""
    for migration in migrations:
        if migration.version in ledger.applied - ledger.checksums.keys():
            await connection.execute(_ADD_CHECKSUM, migration.version, migration.checksum, False)


async def remove(connection: Connection, migration: Migration) -> None:
    await connection.execute("DELETE FROM public.schema_migrations WHERE version = $1", migration.version)
    await connection.execute("DELETE FROM public.schema_migration_checksums WHERE version = $1", migration.version)


async def add_functions(connection: Connection, digest: str) -> None:
    await connection.execute(_ADD_CHECKSUM, _FUNCTIONS + digest[:16], digest, False)


async def remove_functions(connection: Connection) -> None:
    await connection.execute("DELETE FROM public.schema_migration_checksums WHERE starts_with(version, $1)", _FUNCTIONS)


async def _version_type(connection: Connection) -> str | None:
    found: str | None = await connection.fetchval(_VERSION_TYPE)
    if found not in (None, "character varying", "text"):
        raise MigrationError(
            f"public.schema_migrations belongs to another tool (its version is {found}): rename that table"
        )
    return found


async def _has_checksums(connection: Connection) -> bool:
    return await connection.fetchval("SELECT to_regclass('public.schema_migration_checksums')") is not None
