"""What stands in a database, and how it differs from what is wanted."""

from collections.abc import Collection, Iterator
from typing import NamedTuple, TypeAlias

from .exclusive import Connection


class Thing(NamedTuple):
    """A table, column, constraint, index, trigger or function; ``restricts`` when it may refuse somebody's INSERT."""

    kind: str
    table: str
    name: str
    definition: str
    columns: list[str]
    restricts: bool

    @property
    def label(self) -> str:
        return f"{self.kind} {'.'.join(filter(None, (self.table, self.name)))}"


Catalog: TypeAlias = dict[str, Thing]  # by label


_QUERY = """
WITH relation AS (
    SELECT c.oid, format('%s.%s', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY($1::text[]) AND c.relkind IN ('r', 'p')
)
SELECT 'table', name, '', 'TABLE', '{}'::text[], false
FROM relation
UNION ALL
SELECT 'column', r.name, a.attname,
    concat_ws(' ', format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || a.attcollation::regcollation::text END,
        CASE WHEN a.attnotnull THEN 'NOT NULL' END,
        CASE WHEN a.attgenerated <> '' THEN 'GENERATED' WHEN a.attidentity <> '' THEN 'IDENTITY' END,
        'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)),
    ARRAY[a.attname::text], a.attnotnull AND d.oid IS NULL AND a.attidentity = ''
FROM relation r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT 'constraint', r.name, c.conname, pg_get_constraintdef(c.oid),
    ARRAY(
        SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey) ORDER BY a.attname
    ), true
FROM relation r
JOIN pg_constraint c ON c.conrelid = r.oid AND c.contype IN ('p', 'u', 'f', 'c', 'x')
UNION ALL
SELECT 'index', r.name, c.relname,
    pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' (invalid)' END,
    ARRAY(
        SELECT a.attname::text FROM pg_depend d
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = r.oid AND d.refobjsubid > 0
        ORDER BY a.attname
    ), i.indisunique
FROM relation r
JOIN pg_index i ON i.indrelid = r.oid
JOIN pg_class c ON c.oid = i.indexrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT 'trigger', r.name, t.tgname,
    pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' (not enabled)' END, '{}', false
FROM relation r
JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'function', '', p.oid::regprocedure::text, pg_get_functiondef(p.oid), '{}', false
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE (n.nspname = ANY($1) OR n.nspname = 'public') AND p.prokind IN ('f', 'p')
    AND NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
"""


async def read(connection: Connection, schemas: Collection[str]) -> Catalog:
    """Return what stands in ``schemas``, and the functions of ``public``. The search path must be ``public`` alone."""
    things = [Thing(*row) for row in await connection.fetch(_QUERY, list(schemas))]
    return {thing.label: thing for thing in things}


def differences(wanted: Catalog, found: Catalog) -> list[str]:
    """Return one line for each thing that is missing, that differs, or that is found alone and may refuse inserts."""
    return [*_missing(wanted, found), *_tightened(wanted, found)]


def _missing(wanted: Catalog, found: Catalog) -> Iterator[str]:
    for label, thing in wanted.items():
        other = found.get(label)
        if other is None:
            if thing.kind == "table" or not thing.table or f"table {thing.table}" in found:
                yield f"{label} is missing" if thing.kind == "table" else f"{label} is missing: {thing.definition}"
        elif other.definition != thing.definition:
            yield f"{label} is «{other.definition}», expected «{thing.definition}»"


def _tightened(wanted: Catalog, found: Catalog) -> Iterator[str]:
    """Skip what stands on additional columns: it binds nobody who does not know them, unless they are mandatory."""
    for label, thing in found.items():
        if label in wanted or not thing.restricts or f"table {thing.table}" not in wanted:
            continue
        if thing.kind == "column":
            yield f"{label} is not in the reference: make it nullable or give it a default"
        elif all(f"column {thing.table}.{column}" in wanted for column in thing.columns):
            yield f"{label} is not in the reference and may refuse what is valid there: {thing.definition}"
