"""Taking over tables that another service made by the schema reference."""

import re

from . import catalog
from .catalog import Catalog, Thing
from .exclusive import Connection
from .release import MigrationError, Script

_COMPLETED = {"trigger", "function"}


async def adopt(connection: Connection, script: Script) -> None:
    """Accept the tables of ``script`` as they are and add missing triggers and functions, or say what differs."""
    found = await catalog.read(connection, script.schemas)
    wanted = await _built(connection, script)
    structure = {label: thing for label, thing in wanted.items() if thing.kind not in _COMPLETED}
    if differences := catalog.differences(structure, found):
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise MigrationError(f"cannot adopt the tables that are there: {differences[0]}{more}")
    for thing in sorted(wanted.values()):  # functions come before the triggers that call them
        if thing.kind in _COMPLETED and not _is_there(thing, found):
            await connection.execute(thing.definition)


async def _built(connection: Connection, script: Script) -> Catalog:
    """Return what ``script`` makes on this very server: run beside the schemas that are there, and rolled back.

    Renaming a schema locks none of its tables, and nobody else ever sees it.
    """
    trial = connection.transaction()
    await trial.start()
    try:
        schemas = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname = ANY($1)", script.schemas)
        for (schema,) in schemas:
            await connection.execute(f'ALTER SCHEMA "{schema}" RENAME TO "echo_ws_adopts_{schema}"')
        await connection.execute(script.sql)
        return await catalog.read(connection, script.schemas)
    finally:
        await trial.rollback()


def _is_there(thing: Thing, found: Catalog) -> bool:
    """Look for a trigger under any name; a function of the same signature is the other service's to define."""
    if thing.kind == "function":
        return thing.label in found
    return any(_nameless(thing) == _nameless(other) for other in found.values() if other.kind == "trigger")


def _nameless(trigger: Thing) -> str:
    return re.sub(r"^CREATE TRIGGER \S+", "", trigger.definition)
