"""JSON Schema of all commands, replies and events: protocol/schema.json, and the components of the two API files."""

from collections.abc import Iterator
from typing import Any

import msgspec

from echo_ws_protocol.codec import COMMANDS, EVENTS
from echo_ws_protocol.commands import MessageSend
from echo_ws_protocol.errors import ErrorCode
from echo_ws_protocol.metadata import METADATA
from echo_ws_protocol.replies import Reply

from .contract import METADATA_STRUCTS, REPLY_STRUCTS, RESULTS, StructType, attribute_docs, document

Schema = dict[str, Any]

STRUCTS: list[StructType] = [
    *COMMANDS.values(),
    *METADATA_STRUCTS,
    *(s for s in REPLY_STRUCTS if s is not Reply),
    *EVENTS.values(),
]
BY_NAME = {struct.__name__: struct for struct in STRUCTS}


def components(place: str) -> dict[str, Schema]:
    """Return every struct's schema by name, referring to each other at ``place``."""
    _, schemas = msgspec.json.schema_components(STRUCTS, ref_template=place + "{name}")
    for name, schema in schemas.items():
        if struct := BY_NAME.get(name):
            _describe(schema, struct)
        _mend_patterns(schema)
    schemas[MessageSend.__name__]["allOf"] = list(_by_type(place))
    schemas[ErrorCode.__name__] = {
        "description": "Why a command failed. New codes may come; treat an unknown one by its `outcome`.",
        "anyOf": [{"enum": [code.value for code in ErrorCode]}, {"type": "string"}],
    }
    schemas["ErrorReply"] = _reply("The command was not carried out.", "error", {"$ref": place + "Failure"})
    for op, result in RESULTS.items():
        title = f"The answer to `{op}`."
        schemas[reply_name(op)] = _reply(title, "ok", {"$ref": place + result.__name__})
    return dict(sorted(schemas.items()))


def reply_name(op: str) -> str:
    """Return the name of the schema of what answers a command."""
    return COMMANDS[op].__name__ + "Reply"


def schema_json() -> Schema:
    """Return protocol/schema.json: a frame of either direction."""
    place = "#/$defs/"

    def either(names: list[str]) -> Schema:
        return {"oneOf": [{"$ref": place + name} for name in names]}

    unions = {
        "Command": either([command.__name__ for command in COMMANDS.values()]),
        "Reply": {"anyOf": [{"$ref": place + name} for name in ["ErrorReply", *map(reply_name, COMMANDS)]]},
        "Event": either([event.__name__ for event in EVENTS.values()]),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:echo.v1",
        "title": "echo.v1",
        "description": "A frame of echo.v1.json: a command from the client, a reply or an event from the server.",
        "anyOf": [{"$ref": place + name} for name in unions],
        "$defs": {**unions, **components(place)},
    }


def body_of(schema: Schema) -> Schema:
    """Return a command's schema without ``op``, which stands in the path of the second door."""
    return {
        **schema,
        "properties": {name: part for name, part in schema["properties"].items() if name != "op"},
        "required": [name for name in schema["required"] if name != "op"],
    }


def _by_type(place: str) -> Iterator[Schema]:
    """Yield what each type of message asks of its content and metadata."""
    is_text = {"properties": {"type": {"const": "text"}}}
    text = {"properties": {"content": {"minLength": 1}, "metadata": {"type": "null"}}, "required": ["content"]}
    yield {"if": is_text, "then": text}
    for type_, struct in METADATA.items():
        is_type = {"properties": {"type": {"const": type_}}, "required": ["type"]}
        there = {"properties": {"metadata": {"$ref": place + struct.__name__}}, "required": ["metadata"]}
        yield {"if": is_type, "then": there}


def _reply(description: str, part: str, schema: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {
            "op": {"const": "reply"},
            "id": {"type": "integer", "description": "The `id` of the command."},
            part: schema,
        },
        "required": ["op", "id", part],
    }


def _describe(schema: Schema, struct: StructType) -> None:
    schema["description"] = document(struct)
    docs = attribute_docs(struct)
    for field in msgspec.structs.fields(struct):
        if field.name in docs:
            schema["properties"][field.encode_name].setdefault("description", docs[field.name])


def _mend_patterns(schema: Any) -> None:
    """Keep the patterns that mean the same in Python and in ECMA-262, which JSON Schema wants."""
    if isinstance(schema, dict):
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and r"\U" in pattern:
            del schema["pattern"]  # no spelling above U+FFFF is shared by all tools; the server is the judge
        elif isinstance(pattern, str):
            schema["pattern"] = pattern.replace(r"\Z", "$")
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            _mend_patterns(part)
