import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog

from echo_ws import logs
from echo_ws.config import Settings

TOKEN = "dGhpcyBpcyBhIHNlY3JldCB0b2tlbiwgYmVsaWV2ZSBtZQ"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def configured(stream: io.StringIO, **changes: Any) -> io.StringIO:
    logs.configure(Settings(**changes), stream, worker=3)
    return stream


def line(stream: io.StringIO) -> dict[str, Any]:
    """Return the only line that was logged."""
    (text,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_is_a_json_object_with_time_level_event_and_fields(stream: io.StringIO) -> None:
    configured(stream)

    logs.get_logger("echo_ws.here").info("session_started", connection="c1", user=UUID(int=7))

    found = line(stream)
    assert list(found)[:3] == ["at", "level", "event"]
    assert found["at"].endswith("Z")
    del found["at"]
    assert found == {
        "level": "info",
        "event": "session_started",
        "logger": "echo_ws.here",
        "worker": 3,
        "connection": "c1",
        "user": "00000000-0000-0000-0000-000000000007",
    }


def test_lines_of_libraries_look_like_ours(stream: io.StringIO) -> None:
    configured(stream)

    logging.getLogger("asyncio").warning("%s took %.1f s", "something", 1.5)

    found = line(stream)
    assert (found["event"], found["level"]) == ("something took 1.5 s", "warning")
    assert (found["logger"], found["worker"]) == ("asyncio", 3)


@pytest.mark.parametrize("library", ["websockets.client", "uvicorn.error"])
def test_libraries_that_tell_of_every_connection_are_silent(stream: io.StringIO, library: str) -> None:
    configured(stream)

    logging.getLogger(library).info("connection open")
    logging.getLogger(library).warning("kept")

    assert line(stream)["event"] == "kept"


def test_a_database_that_is_away_is_told_by_our_own_events(stream: io.StringIO) -> None:
    configured(stream)

    logging.getLogger("asyncpg.pool").warning("Failed to restore the pool connection floor; retrying")
    logging.getLogger("asyncpg.pool").error("kept")

    assert line(stream)["event"] == "kept"


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_less_than_the_level_is_not_logged(stream: io.StringIO, level: str, expected: int) -> None:
    configured(stream, log_level=level)
    log = logs.get_logger("echo_ws")

    for method in (log.debug, log.info, log.warning, log.error):
        method("something")

    assert expected == len(stream.getvalue().splitlines())


@pytest.mark.parametrize("key", ["token", "session_token", "content", "phone", "password", "Authorization", "cookie"])
def test_keys_that_name_a_secret_are_blanked(stream: io.StringIO, key: str) -> None:
    configured(stream)

    logs.get_logger("echo_ws").info("something", **{key: TOKEN}, headers={key: TOKEN})

    assert TOKEN not in stream.getvalue()
    assert line(stream)[key] == "[hidden]"


def test_phone_numbers_tokens_and_passwords_within_a_text_are_hidden(stream: io.StringIO) -> None:
    configured(stream)

    logging.getLogger("library").error(
        "user +4915112345678 sent Authorization: Bearer %s to postgresql://echo:hunter2@db/echo", TOKEN
    )

    event = line(stream)["event"]
    assert event == "user +…5678 sent Authorization: Bearer [hidden] to postgresql://echo:***@db/echo"


def test_a_long_text_is_cut(stream: io.StringIO) -> None:
    """B29"""
    configured(stream)

    logs.get_logger("echo_ws").info("something", user_agent="x" * 100_000, names=["y" * 1000])

    found = line(stream)
    assert len(found["user_agent"]) == 256
    assert len(found["names"][0]) == 256


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("hostile", ["\r\nroot logged in", "\x1b[2J", "\u202eevil", "\ud800", "\x00"])
def test_a_hostile_text_stays_on_its_line_and_is_escaped(stream: io.StringIO, log_format: str, hostile: str) -> None:
    """B29"""
    configured(stream, log_format=log_format)

    logs.get_logger("echo_ws").info("something", user_agent=f"a{hostile}b")

    assert len(stream.getvalue().splitlines()) == 1
    assert hostile not in stream.getvalue()
    assert "a\\" in stream.getvalue()


def test_a_field_of_any_type_can_be_logged(stream: io.StringIO) -> None:
    configured(stream)

    logs.get_logger("echo_ws").info("something", a=object(), b={1: {2}}, c=b"\xff", d=float("nan"), e=10**30)

    found = line(stream)
    assert found["b"] == {"1": [2]}
    assert found["c"] == "1 bytes"


def refuse() -> None:
    raise ValueError("duplicate key\nDETAIL: Key (name)=(Alice)")


def test_an_exception_is_shown_without_the_row_that_it_quotes(stream: io.StringIO) -> None:
    configured(stream)

    try:
        refuse()
    except ValueError:
        logs.get_logger("echo_ws").exception("something_failed")

    found = line(stream)
    assert (found["error_type"], found["error"]) == ("ValueError", "duplicate key")
    assert "test_logs.py" in found["frames"][-1]
    assert "Alice" not in stream.getvalue()


def test_an_exception_of_a_library_is_shown_likewise(stream: io.StringIO) -> None:
    configured(stream)

    logging.getLogger("asyncio").error("task failed", exc_info=OSError("gone"))

    assert line(stream)["error"] == "gone"


def test_what_a_task_bound_is_on_its_lines(stream: io.StringIO) -> None:
    configured(stream)

    with structlog.contextvars.bound_contextvars(connection="c9"):
        logs.get_logger("echo_ws").info("something")

    assert line(stream)["connection"] == "c9"


def test_lines_for_people_are_text(stream: io.StringIO) -> None:
    configured(stream, log_format="console")

    logs.get_logger("echo_ws").warning("something", connection="c1")

    assert "something" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
