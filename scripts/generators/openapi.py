"""protocol/openapi.json: the second door, POST /v1/{command}."""

from collections import defaultdict
from http import HTTPStatus
from typing import Any

from echo_ws_protocol.codec import COMMANDS
from echo_ws_protocol.commands import WITHOUT_SESSION
from echo_ws_protocol.errors import HTTP_STATUS

from .contract import document
from .examples import Example
from .schemas import body_of, components, reply_name

RETRY_LATER = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def openapi_json(examples: dict[str, Example]) -> dict[str, Any]:
    schemas = components("#/components/schemas/")
    for command in COMMANDS.values():
        schemas[command.__name__] = body_of(schemas[command.__name__])
    responses = _error_responses()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "echo_ws",
            "version": "1",
            "description": "Every command of echo.v1 over HTTP: the same structs, the same errors as on the socket.",
        },
        "servers": [{"url": "http://127.0.0.1:8765"}],
        "security": [{"bearer": []}],
        "paths": {f"/v1/{op}": {"post": _operation(op, examples[op], responses)} for op in COMMANDS},
        "components": {
            "schemas": dict(sorted((name, schema) for name, schema in schemas.items() if name in _used(schemas))),
            "responses": responses,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(op: str, example: Example, responses: dict[str, Any]) -> dict[str, Any]:
    command = COMMANDS[op]
    sent, reply = example.success
    summary, *rest = document(command).splitlines()
    body = {name: value for name, value in sent.items() if name != "op"}
    return {
        "operationId": command.__name__,
        "tags": [op.partition(".")[0]],
        "summary": summary,
        "description": "\n\n".join(rest),
        **({"security": []} if command in WITHOUT_SESSION else {}),
        "requestBody": {"required": True, "content": _json(command.__name__, body)},
        "responses": {
            "200": {"description": "Done.", "content": _json(reply_name(op), reply)},
            **{name: {"$ref": f"#/components/responses/{name}"} for name in responses},
        },
    }


def _error_responses() -> dict[str, Any]:
    codes = defaultdict(list)
    for code, status in HTTP_STATUS.items():
        codes[status].append(code.value)
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(codes[status])}.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}},
            **({"headers": {"Retry-After": _RETRY_AFTER}} if status in RETRY_LATER else {}),
        }
        for status in sorted(codes)
    }


_RETRY_AFTER = {"description": "Seconds to wait, rounded up.", "schema": {"type": "integer", "minimum": 1}}


def _json(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}}


def _used(schemas: dict[str, Any]) -> set[str]:
    """Return the schemas that the second door reaches: no events but those within replies."""
    used: set[str] = set()
    open_ends = [*(command.__name__ for command in COMMANDS.values()), *map(reply_name, COMMANDS), "ErrorReply"]
    while open_ends:
        name = open_ends.pop()
        if name not in used:
            used.add(name)
            open_ends.extend(_references(schemas[name]))
    return used


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            return [reference.rpartition("/")[2]]
        schema = list(schema.values())
    return [name for part in schema for name in _references(part)] if isinstance(schema, list) else []
