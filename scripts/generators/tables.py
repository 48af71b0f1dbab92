"""The generated parts of Markdown files, between ``<!-- generated: name -->`` and ``<!-- end -->``."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from echo_ws.config import describe
from echo_ws.metrics import COUNTERS, GAUGES, HISTOGRAMS
from echo_ws_protocol.codec import COMMANDS, EVENTS
from echo_ws_protocol.commands import Command, Who
from echo_ws_protocol.errors import HTTP_STATUS, CloseCode, ErrorCode, may_come_back
from echo_ws_protocol.replies import Reply
from scripts.benchmarks import report

from .contract import (
    ALIASES,
    METADATA_STRUCTS,
    REPLY_STRUCTS,
    RESULTS,
    Field,
    StructType,
    alias_of,
    document,
    fields,
    members,
    meta_of,
    without_none,
)

BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(text: str, blocks: Mapping[str, str]) -> str:
    """Replace what stands between the markers. A marker without a block of its name is a ``KeyError``."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{blocks[block[2]]}\n{block[3]}", text)


def protocol_blocks() -> dict[str, str]:
    """Return the generated parts of protocol/README.md."""
    return {
        "commands": "\n".join(_command(op, command) for op, command in COMMANDS.items()),
        "replies": "\n".join(_section(s.__name__, s) for s in REPLY_STRUCTS if s is not Reply),
        "events": "\n".join(_section(op, event) for op, event in EVENTS.items()),
        "metadata": "\n".join(_section(s.__name__, s) for s in METADATA_STRUCTS),
        "types": _types(),
        "errors": _errors(),
        "closes": _closes(),
    }


def operating_blocks() -> dict[str, str]:
    """Return the generated parts of docs/operating.md."""
    rows = [[f"`{s.variable}`", s.kind, f"`{s.default}`" if s.default else "", s.description] for s in describe()]
    return {"settings": table(["variable", "value", "default", "meaning"], rows), "metrics": _metrics()}


def performance_blocks(figures: Path) -> dict[str, str]:
    """Return the generated part of docs/performance.md, from a run of ``scripts/bench``."""
    measured = report.read(figures)
    return {"figures": f"{measured.machine}, {measured.day}.\n\n{report.table(measured.figures)}"}


def _metrics() -> str:
    families = (("counter", "_total", COUNTERS), ("histogram", "", HISTOGRAMS), ("gauge", "", GAUGES))
    rows = [
        [f"`echo_{name}{suffix}`", kind, ", ".join(each.labels), each.help]
        for kind, suffix, family in families
        for name, each in family.items()
    ]
    return table(["metric", "kind", "labels", "meaning"], rows)


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def expression(annotation: Any) -> str:
    """Return a type in words."""
    annotation = without_none(annotation)
    if name := alias_of(annotation):
        return f"[{name}](#types)"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return f"{expression(arguments[0])} {_limits(annotation)}".rstrip()
    if origin in {Union, UnionType}:
        return " or ".join(map(expression, arguments))
    if origin is list:
        return f"list of {expression(arguments[0])}"
    if origin is dict:
        return f"object of {expression(arguments[1])}"
    return SIMPLE.get(annotation) or _link(annotation)


SIMPLE: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    UUID: "[uuid](#types)",
    Any: "anything",
    ErrorCode: "[error code](#error-codes)",
}


FOR: dict[Who, str] = {
    "anybody": "anybody, with or without a session",
    "newcomer": "who has no session on this connection",
    "user": "every user, about what is theirs",
    "guest": "every user where the channel is public, else who takes part in the conversation",
    "participant": "who takes part in the conversation",
    "poster": "who takes part in the conversation, in a channel its admins and posters",
    "author": "who wrote the message",
    "admin": "an admin of a group or channel",
    "author or admin": "who wrote the message, and admins of a group or channel",
}


def _command(op: str, command: type[Command[Any]]) -> str:
    result = RESULTS[op]
    answer = f"For {FOR[command.who]}. Answer: {_link(result)}. Example: [examples/{op}.json](examples/{op}.json)\n"
    own = [field for field in fields(command) if field.name != "id"]
    return "\n".join([f"### `{op}`\n", _text(command), _fields(own), answer])


def _section(title: str, struct: StructType) -> str:
    heading = f"### `{title}`\n"
    return "\n".join([heading, _text(struct), *([_fields(fields(struct))] if fields(struct) else [])])


def _link(struct: StructType) -> str:
    op = next((op for op, event in EVENTS.items() if event is struct), None)
    return f"[`{op or struct.__name__}`](#{(op or struct.__name__).lower()})"


def _text(struct: StructType) -> str:
    return document(struct).replace("\n", "\n\n") + "\n"


def _fields(own: list[Field]) -> str:
    rows = [[f"`{f.name}`", expression(f.type), _presence(f), f.doc] for f in own]
    return table(["field", "type", "presence", "meaning"], rows)


def _presence(field: Field) -> str:
    if field.required:
        return "required"
    if field.default in (None, []):
        return "optional"
    return f"default `{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _types() -> str:
    rows = [["uuid", "string", "RFC 9562, with dashes. In MessagePack, 16 bytes are taken as well.", ""]]
    for name, alias in ALIASES.items():
        base = "string" if get_origin(alias) is Literal else SIMPLE.get(get_args(alias)[0], "string")
        rows.append([name, base, meta_of(alias).description or "", _limits(alias)])
    return table(["type", "JSON", "meaning", "limits"], rows)


def _limits(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    meta = meta_of(annotation)
    bounds = [("at least", meta.ge, ""), ("at most", meta.le, "")]
    lengths = [("at least", meta.min_length, " long"), ("at most", meta.max_length, " long")]
    return ", ".join(f"{word} {bound:,}{unit}" for word, bound, unit in bounds + lengths if bound is not None)


def _errors() -> str:
    rows = [[f"`{value}`", str(HTTP_STATUS[ErrorCode(value)]), text] for _, value, text in members(ErrorCode)]
    return table(["code", "HTTP", "meaning"], rows)


def _closes() -> str:
    rows = [[str(v), name.lower(), "yes" if may_come_back(v) else "no", text] for name, v, text in members(CloseCode)]
    return table(["code", "name", "come back", "meaning"], rows)
