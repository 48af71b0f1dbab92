"""protocol/asyncapi.json: the socket, as the server sees it (it receives commands and sends replies and events)."""

from typing import Any

from echo_ws_protocol.codec import COMMANDS, EVENTS

from .contract import document
from .examples import Example
from .schemas import components, reply_name

SUBPROTOCOLS = ["echo.v1.json", "echo.v1.msgpack"]


def asyncapi_json(examples: dict[str, Example]) -> dict[str, Any]:
    messages = _messages(examples)
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "echo_ws",
            "version": "1",
            "description": "The chat protocol echo.v1. Guarantees and the course of a connection: protocol/README.md.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8765",
                "protocol": "ws",
                "security": [{"$ref": "#/components/securitySchemes/bearer"}],
            }
        },
        "channels": {
            "ws": {
                "address": "/ws",
                "summary": "The socket.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "headers": _handshake_headers(), "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {**_commands(), **_events()},
        "components": {
            "schemas": components("#/components/schemas/"),
            "messages": messages,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "On the upgrade; or leave it out and send session.start first.",
                }
            },
        },
    }


def _handshake_headers() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"Sec-WebSocket-Protocol": {"type": "string", "enum": SUBPROTOCOLS}},
    }


def _messages(examples: dict[str, Example]) -> dict[str, Any]:
    seen = {event["op"]: event for example in examples.values() for event in example.events}
    named: list[tuple[str, str, str, dict[str, Any]]] = []
    for op, command in COMMANDS.items():
        sent, reply = examples[op].success
        named.append((command.__name__, op, document(command), sent))
        named.append((reply_name(op), f"{op} reply", f"The answer to `{op}`.", reply))
    failed = next(step.reply for step in examples["message.send"].story if step.reply and "error" in step.reply)
    named.append(("ErrorReply", "error reply", "The command was not carried out.", failed))
    named.extend((event.__name__, op, document(event), seen[op]) for op, event in EVENTS.items())
    return {
        name: {
            "name": wire_name,
            "summary": text.splitlines()[0],
            "payload": {"$ref": f"#/components/schemas/{name}"},
            "examples": [{"payload": example}],
        }
        for name, wire_name, text, example in named
    }


def _commands() -> dict[str, Any]:
    return {
        command.__name__: {
            "action": "receive",
            "channel": {"$ref": "#/channels/ws"},
            "title": op,
            "description": document(command),
            "messages": [_message(command.__name__)],
            "reply": {
                "channel": {"$ref": "#/channels/ws"},
                "messages": [_message(reply_name(op)), _message("ErrorReply")],
            },
        }
        for op, command in COMMANDS.items()
    }


def _events() -> dict[str, Any]:
    return {
        event.__name__: {
            "action": "send",
            "channel": {"$ref": "#/channels/ws"},
            "title": op,
            "description": document(event),
            "messages": [_message(event.__name__)],
        }
        for op, event in EVENTS.items()
    }


def _message(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/ws/messages/{name}"}
