"""The schema reference, word for word in `schema-reference.md`, as SQL."""

import re
from pathlib import Path

TEXT = (Path(__file__).parent / "schema-reference.md").read_text()
TABLE_COUNTS = {
    schema: int(count) for schema, count in re.findall(r"^\| `(\w+)` \|[^|]+\| (\d+) \|", TEXT, re.MULTILINE)
}

_BLOCKS = [block for block in re.findall(r"^```sql\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL) if "CREATE" in block]
_TABLES = [block for block in _BLOCKS if block.startswith("CREATE TABLE")]
_FUNCTIONS = [block for block in _BLOCKS if block not in _TABLES]

SCHEMAS = "".join(f"CREATE SCHEMA {schema};\n" for schema in TABLE_COUNTS)
TABLES = "".join(_TABLES)


def everything() -> str:
    """Return all that the reference shows, and its one example of a trigger applied "to all tables", as it says."""
    functions = "".join(_FUNCTIONS)
    example = re.search(r"CREATE TRIGGER update_users_updated_at.*?;", functions, re.DOTALL)
    assert example is not None
    triggers = [
        example[0].replace("update_users", f"update_{name}").replace("auth.users", f"{schema}.{name}")
        for block in _TABLES
        for schema, name in re.findall(r"CREATE TABLE (\w+)\.(\w+)", block)
        if "updated_at TIMESTAMP" in block and name != "users"
    ]
    return "\n".join([SCHEMAS, TABLES, functions, *triggers])
