"""Commands as the examples show them, about things that are here."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from echo_ws_protocol.ids import uuid7
from scripts.generators.examples import load

EXAMPLES = load()
NEW = {("conversation.create", "conversation"), ("message.send", "message"), ("message.forward", "message")}
"""Fields that name what is to be made."""


def shown(op: str, here: Mapping[str, Any]) -> dict[str, Any]:
    """Return the example's command that succeeds, each field with its value here if there is one."""
    command = EXAMPLES[op].success[0]
    asked = {name: uuid7() if (op, name) in NEW else here.get(name) or value for name, value in command.items()}
    return {name: str(value) if isinstance(value, UUID) else value for name, value in asked.items()}
