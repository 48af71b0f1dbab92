"""The generated files are fresh, well-formed and say the same as the structs."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]  # it has no stubs

from echo_ws_protocol.codec import COMMANDS, EVENTS
from echo_ws_protocol.errors import HTTP_STATUS, CloseCode, ErrorCode
from scripts.generators.__main__ import ROOT, drifted, main, outputs
from scripts.generators.examples import load
from scripts.generators.schemas import reply_name

PROTOCOL = ROOT / "protocol"
EXAMPLES = load()
SCHEMA = json.loads((PROTOCOL / "schema.json").read_text("utf-8"))
ASYNCAPI = json.loads((PROTOCOL / "asyncapi.json").read_text("utf-8"))
OPENAPI = json.loads((PROTOCOL / "openapi.json").read_text("utf-8"))
TYPESCRIPT = (PROTOCOL / "protocol.d.ts").read_text("utf-8")
README = (PROTOCOL / "README.md").read_text("utf-8")

documents = pytest.mark.parametrize("document", [SCHEMA, ASYNCAPI, OPENAPI], ids=["schema", "asyncapi", "openapi"])


def validator(name: str) -> Any:
    return Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{name}"}]}, format_checker=FormatChecker())


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for part in value.values() for ref in references(part)]
    return [ref for part in value for ref in references(part)] if isinstance(value, list) else []


def resolve(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part.replace("~1", "/")]
    return document


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is generated, to be spoilt."""
    shutil.copytree(PROTOCOL, tmp_path / "protocol", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return tmp_path


def test_no_generated_file_drifted_from_the_code() -> None:
    assert [] == drifted(outputs())


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("asyncapi.json", '"3.1.0"'),
        ("openapi.json", '"3.1.0"'),
        ("schema.json", '"echo.v1"'),
        ("protocol.d.ts", "export type Uuid"),
        ("README.md", "| `bad_json` |"),
        ("examples/message.send.json", '{"op"'),
    ],
)
def test_the_check_names_a_file_that_drifted(
    tree: Path, name: str, old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tree / "protocol" / name
    path.write_text(path.read_text("utf-8").replace(old, " " + old, 1), "utf-8")

    status = main(["--check"], tree)

    assert (1, f"protocol/{name} drifted; run scripts/generate\n") == (status, capsys.readouterr().out)


def test_generating_mends_what_drifted_and_nothing_else(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "protocol" / "schema.json").unlink()

    statuses = main([], tree), main(["--check"], tree)

    assert ((0, 0), "protocol/schema.json written\n") == (statuses, capsys.readouterr().out)


def test_settings_are_written_between_the_markers_of_the_operating_manual(tree: Path) -> None:
    manual = tree / "docs" / "operating.md"
    manual.parent.mkdir()
    manual.write_text("# Operating\n<!-- generated: settings -->\nstale row\n<!-- end -->\nThe rest.\n", "utf-8")

    main([], tree)

    text = manual.read_text("utf-8")
    assert "| `ECHO_PORT` | integer | `8765` |" in text
    assert (False, True) == ("stale row" in text, text.endswith("<!-- end -->\nThe rest.\n"))


@documents
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        assert resolve(document, reference)


@documents
def test_every_schema_is_json_schema(document: dict[str, Any]) -> None:
    schemas = document.get("$defs") or document["components"]["schemas"]

    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("op", COMMANDS)
def test_the_schema_takes_the_examples(op: str) -> None:
    example = EXAMPLES[op]
    sent, reply = example.success

    validator(COMMANDS[op].__name__).validate(sent)
    validator(reply_name(op)).validate(reply)
    validator("Command").validate(sent)
    for event in example.events:
        validator(EVENTS[event["op"]].__name__).validate(event)
        validator("Event").validate(event)
    for step in example.story:
        if step.reply and "error" in step.reply:
            validator("ErrorReply").validate(step.reply)


@pytest.mark.parametrize("op", COMMANDS)
def test_the_schema_is_strict_about_commands(op: str) -> None:
    sent = EXAMPLES[op].success[0]
    check = validator(COMMANDS[op].__name__)

    assert not check.is_valid({**sent, "surplus": 1})
    assert not check.is_valid({**sent, "op": "message"})
    assert not check.is_valid({**sent, "id": -1})


@pytest.mark.parametrize("op", EVENTS)
def test_the_schema_is_open_about_events(op: str) -> None:
    event = next(event for example in EXAMPLES.values() for event in example.events if event["op"] == op)

    assert validator(EVENTS[op].__name__).is_valid({**event, "newer": 1})


def test_the_schema_is_open_about_error_codes() -> None:
    error = {"code": "quota_exceeded", "outcome": "rejected", "message": "no room"}

    assert validator("ErrorReply").is_valid({"op": "reply", "id": 1, "error": error})


@pytest.mark.parametrize(
    ("name", "value"), [("content", "a\0b"), ("content", ""), ("content", "a" * 4097), ("message", "1"), ("content", 1)]
)
def test_the_schema_knows_the_limits(name: str, value: object) -> None:
    assert not validator("MessageSend").is_valid({**EXAMPLES["message.send"].success[0], name: value})


@documents
def test_patterns_are_understood_outside_python(document: dict[str, Any]) -> None:
    assert [] == re.findall(r'"pattern": "[^"]*\\\\[UZAz]', json.dumps(document))


def test_asyncapi_describes_every_command_with_its_replies_and_every_event() -> None:
    operations = ASYNCAPI["operations"]

    for op, command in COMMANDS.items():
        answers = [message["$ref"].rpartition("/")[2] for message in operations[command.__name__]["reply"]["messages"]]
        assert ("receive", [reply_name(op), "ErrorReply"]) == (operations[command.__name__]["action"], answers)
    assert {event.__name__ for event in EVENTS.values()} == {
        name for name, operation in operations.items() if operation["action"] == "send"
    }


def test_asyncapi_messages_hold_examples_that_fit() -> None:
    for message in ASYNCAPI["components"]["messages"].values():
        check = Draft202012Validator({"$ref": message["payload"]["$ref"], "components": ASYNCAPI["components"]})
        for example in message["examples"]:
            check.validate(example["payload"])


def test_openapi_has_a_second_door_for_every_command() -> None:
    assert [f"/v1/{op}" for op in COMMANDS] == list(OPENAPI["paths"])


@pytest.mark.parametrize("op", COMMANDS)
def test_openapi_bodies_are_the_commands_without_op(op: str) -> None:
    operation = OPENAPI["paths"][f"/v1/{op}"]["post"]
    media = operation["requestBody"]["content"]["application/json"]
    check = Draft202012Validator({"$ref": media["schema"]["$ref"], "components": OPENAPI["components"]})

    check.validate(media["example"])
    assert "op" not in media["example"]
    assert not check.is_valid({**media["example"], "surplus": 1})


@pytest.mark.parametrize("op", COMMANDS)
def test_openapi_answers_with_the_status_of_every_error_code(op: str) -> None:
    responses = OPENAPI["paths"][f"/v1/{op}"]["post"]["responses"]

    assert {"200", *map(str, HTTP_STATUS.values())} == set(responses)


def test_every_error_code_has_a_status() -> None:
    assert list(ErrorCode) == list(HTTP_STATUS)
    assert all(400 <= status < 600 for status in HTTP_STATUS.values())


def test_typescript_has_a_type_for_every_command_and_event() -> None:
    for op, struct in {**COMMANDS, **EVENTS}.items():
        assert f'export interface {struct.__name__} {{\n  op: "{op}";\n' in TYPESCRIPT


def test_the_readme_lists_every_command_event_error_code_and_close_code() -> None:
    for name in [*COMMANDS, *EVENTS]:
        assert f"### `{name}`\n" in README
    for code in ErrorCode:
        assert f"| `{code}` |" in README
    for number in CloseCode:
        assert f"| {int(number)} | {number.name.lower()} |" in README


def test_every_link_in_the_readme_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target[1:] in anchors if target.startswith("#") else (PROTOCOL / target).exists(), target
