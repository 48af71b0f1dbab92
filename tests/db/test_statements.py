"""Every statement: PostgreSQL compares its header with its function and its struct."""

import importlib
import inspect
import re
from typing import Any, get_args, get_type_hints

import asyncpg
import pytest

from echo_ws_db import statements
from echo_ws_db.statements import blocks, files

NAMES = re.compile(r"(\w+)\((.*)\) -> (\w+)")

PYTHON_OF = {
    "uuid": "UUID",
    "uuid[]": "list",
    "text[]": "list",
    "int4[]": "list",
    "text": "str",
    "varchar": "str",
    "int8": "int",
    "int4": "int",
    "bool": "bool",
    "float8": "float",
    "timestamp": "datetime",
    "jsonb": "dict",
    "void": "None",
}


def named_blocks() -> list[Any]:
    return [
        pytest.param(file.removesuffix(".sql"), header, sql, id=f"{file}:{header.partition('(')[0]}")
        for file in files()
        for kind, header, sql in blocks(file)
        if kind == "name"
    ]


@pytest.mark.parametrize(("noun", "header", "sql"), named_blocks())
async def test_header_parameters_and_columns_fit_function_and_struct(
    noun: str, header: str, sql: str, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    match = NAMES.fullmatch(header)
    assert match, f"the header of {noun}.sql is not `name(parameters) -> result`: {header}"
    name, parameters, result = match.groups()
    module = importlib.import_module(f"echo_ws_db.{noun}")

    prepared = await db.prepare(sql)

    listed = [p for p in parameters.split(", ") if p]
    assert len(listed) == len(prepared.get_parameters())
    assert name in dir(module), f"{noun}.py has no function {name}"
    assert inspect.iscoroutinefunction(getattr(module, name))
    columns = [PYTHON_OF[attribute.type.name] for attribute in prepared.get_attributes() if attribute.name != "outcome"]
    if struct := getattr(module, result, None) if result.endswith("Row") else None:
        hints = {field: kind for field, kind in get_type_hints(struct).items() if field != "outcome"}
        assert [python_name(kind) for kind in hints.values()] == columns
    else:
        assert [result] == (columns or ["None"])


def python_name(kind: Any) -> str:
    """Return the name of a type, of ``X`` in ``X | None``, and of ``dict`` in ``dict[str, int]``."""
    (kind,) = [arg for arg in get_args(kind) if arg is not type(None)] if type(None) in get_args(kind) else [kind]
    return str(getattr(kind, "__name__", kind)).partition("[")[0]


def test_every_statement_has_its_own_name() -> None:
    for file in files():
        names = [header.partition("(")[0] for kind, header, _ in blocks(file) if kind == "name"]
        assert len(set(names)) == len(names), file


def test_a_file_of_statements_knows_no_other_names() -> None:
    with pytest.raises(AttributeError):
        _ = statements.Statements("messages").nothing
