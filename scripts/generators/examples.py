"""The golden examples, protocol/examples/<op>.json: documentation, and data for tests and for a replay."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct, field

FOLDER = Path(__file__).resolve().parents[2] / "protocol" / "examples"
WIDTH = 120

Frame = dict[str, Any]


class Seen(Struct, forbid_unknown_fields=True):
    """An event, and who gets it. Others may get it too, on other devices for instance."""

    by: list[str]
    event: Frame


class Given(Struct, forbid_unknown_fields=True):
    """What happened before the story."""

    role: str = field(name="as")
    send: Frame


class Step(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A command with its reply, or something that happens by itself; and the events that follow."""

    about: str
    role: str | None = field(name="as", default=None)
    send: Frame | None = None
    reply: Frame | None = None
    when: str | None = None
    """What happens by itself; a replay leaves such a step out."""
    seen: list[Seen] = field(default_factory=list)
    closed: int | None = None
    """The code with which the connections that saw or sent this are closed then."""


class Example(Struct, forbid_unknown_fields=True, omit_defaults=True):
    command: str
    about: str
    cast: dict[str, UUID]
    """The users by their role in the story. A replay makes users of its own and maps these ids to theirs."""
    story: list[Step]
    authenticated: bool = True
    """Whether the connections come with an ``Authorization`` header."""
    given: list[Given] = field(default_factory=list)

    @property
    def commands(self) -> list[Frame]:
        """All that is sent, in order."""
        return [g.send for g in self.given] + [step.send for step in self.story if step.send]

    @property
    def events(self) -> list[Frame]:
        return [seen.event for step in self.story for seen in step.seen]

    @property
    def success(self) -> tuple[Frame, Frame]:
        """The first command of this example's kind that succeeds, and its reply."""
        for step in self.story:
            if step.send and step.reply and step.send["op"] == self.command and "ok" in step.reply:
                return step.send, step.reply
        raise LookupError(f"protocol/examples/{self.command}.json: show a {self.command} that succeeds")


def load(folder: Path = FOLDER) -> dict[str, Example]:
    """Read all examples, by file name."""
    return {path.stem: msgspec.json.decode(path.read_bytes(), type=Example) for path in sorted(folder.glob("*.json"))}


def tidy(text: str) -> str:
    """Lay an example out the one way: the story a step at a time, frames filled to the width."""
    return _lay(json.loads(text), 0, "") + "\n"


def _lay(value: Any, indent: int, label: str) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value:
        return flat
    if label not in {"", "story", "given", "step", "seen", "entry"}:
        return _fill(value, indent + len(label) + 4)
    step = " " * (indent + 2)
    if isinstance(value, list):
        inner = {"seen": "entry"}.get(label, "step")
        return "[\n" + ",\n".join(step + _lay(item, indent + 2, inner) for item in value) + "\n" + " " * indent + "]"
    lines = (f"{step}{json.dumps(key)}: {_lay(item, indent + 2, key)}" for key, item in value.items())
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"


def _fill(value: Any, column: int) -> str:
    """Put as many parts on a line as fit, and the next ones below the first."""
    flat = json.dumps(value, ensure_ascii=False)
    if column + len(flat) < WIDTH or not isinstance(value, dict | list):
        return flat
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_fill(item, column + len(key) + 5)}" for key, item in value.items()]
    else:
        parts = [_fill(item, column + 1) for item in value]
    lines = [parts[0]]
    for part in parts[1:]:
        if "\n" not in lines[-1] + part and column + len(lines[-1]) + len(part) + 4 < WIDTH:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + (",\n" + " " * (column + 1)).join(lines) + closing
