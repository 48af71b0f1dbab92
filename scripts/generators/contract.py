"""What the protocol package says of itself: structs with their fields, and the docstrings below them."""

import ast
import inspect
from collections.abc import Iterator
from enum import Enum
from functools import cache, reduce
from operator import or_
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta, Struct, UnsetType

from echo_ws_protocol import commands, replies, types
from echo_ws_protocol.codec import COMMANDS
from echo_ws_protocol.commands import result_of
from echo_ws_protocol.metadata import METADATA

StructType = type[Struct]

RESULTS: dict[str, StructType] = {op: result_of(command) for op, command in COMMANDS.items()}
"""What the ``ok`` of each command holds."""

METADATA_STRUCTS: list[StructType] = list(METADATA.values())
"""What belongs to each type of message, in the order of the types."""

REPLY_STRUCTS: list[StructType] = [
    cls
    for module in (replies, commands)
    for cls in vars(module).values()
    if isinstance(cls, type) and cls.__module__ == module.__name__ and issubclass(cls, Struct)
    if not issubclass(cls, commands.Command)
]
"""All structs of replies.py, in its order, the envelope ``Reply`` among them; then those that are part of a command."""

ALIASES: dict[str, Any] = {
    name: alias
    for name, alias in vars(types).items()
    if not name.startswith("_") and get_origin(alias) in {Annotated, Literal}
}
"""The named types of types.py that have limits or a choice of values."""


class Field(NamedTuple):
    name: str
    """As on the wire."""
    type: Any
    required: bool
    default: Any
    doc: str


def fields(struct: StructType) -> list[Field]:
    """Return the fields in the order in which they are encoded."""
    hints = get_type_hints(struct, include_extras=True)
    docs = attribute_docs(struct)
    return [
        Field(
            name=field.encode_name,
            type=hints[field.name],
            required=field.required,
            default=field.default if field.default_factory is NODEFAULT else field.default_factory(),
            doc=docs.get(field.name, ""),
        )
        for field in msgspec.structs.fields(struct)
    ]


def document(cls: type) -> str:
    """Return the docstring of a class, its paragraphs as lines."""
    return "\n".join(map(_one_line, inspect.cleandoc(cls.__doc__ or "").split("\n\n")))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def attribute_docs(cls: type) -> dict[str, str]:
    """Return the docstrings that stand below the attributes of a class and its bases."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if (module := inspect.getmodule(base)) is not None and module.__name__.startswith(types.__package__ or ""):
            docs |= _docs_in(module).get(base.__name__, {})
    return docs


def members(enum: type[Enum]) -> Iterator[tuple[str, Any, str]]:
    """Yield name, value and meaning of each member."""
    docs = attribute_docs(enum)
    return ((name, member.value, docs[name]) for name, member in enum.__members__.items())


@cache
def _docs_in(module: ModuleType) -> dict[str, dict[str, str]]:
    tree = ast.parse(inspect.getsource(module))
    return {node.name: dict(_docs_of(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docs_of(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, below in zip(node.body, node.body[1:], strict=False):
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]  # type: ignore[assignment]  # a name, in a class body
        if isinstance(target, ast.Name) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield target.id, _one_line(str(below.value.value))


def alias_of(annotation: Any) -> str | None:
    """Return the name that types.py gives to this type."""
    return next((name for name, alias in ALIASES.items() if alias == annotation), None)


def without_none(annotation: Any) -> Any:
    """Take away what only says that a field may be absent."""
    if get_origin(annotation) not in {Union, UnionType}:
        return annotation
    return reduce(or_, (part for part in get_args(annotation) if part not in {NoneType, UnsetType}))


def meta_of(annotation: Any) -> Meta:
    """Return the limits of an annotated type; none for a plain one."""
    parts = get_args(annotation) if get_origin(annotation) is Annotated else ()
    return next((part for part in parts if isinstance(part, Meta)), Meta())
