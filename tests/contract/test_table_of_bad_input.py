"""Every row of the table of bad input is somebody's test: its docstring names the row."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROWS = {
    "B01": "JSON that is none",
    "B02": "text that is not UTF-8",
    "B03": "bytes that are no text within what is passed on unread",
    "B04": "overlong and surrogate bytes",
    "B05": "half a surrogate, escaped",
    "B06": "NUL and other control characters",
    "B07": "text and frames that are too long",
    "B08": "numbers that are no integers, or too large",
    "B09": "nesting without end",
    "B10": "repeated keys, numbers outside every range",
    "B11": "unknown or missing commands and fields",
    "B12": "MessagePack with false lengths, extensions and odd keys; what came through Redis",
    "B13": "small frames that become large in memory",
    "B14": "what is not one emoji",
    "B15": "ids in other spellings, and no ids",
    "B16": "an id that is used again",
    "B17": "ids of what one may not see",
    "B18": "the right command at the wrong moment",
    "B19": "frames of the wrong kind",
    "B20": "messages in many parts",
    "B21": "floods of pings and pongs",
    "B22": "a client that asks and never reads",
    "B23": "compression",
    "B24": "handshakes that drip",
    "B25": "connections without a session",
    "B26": "handshakes that are wrong",
    "B27": "HTTP requests that are wrong",
    "B28": "times that are none",
    "B29": "what would forge a line of a log or a terminal",
    "B30": "phone numbers that are none",
}
WAITING = {
    "B17": "media, forwarding, threads and blocks have no commands yet",
    "B27": "there is no upload yet, so neither file names nor pictures",
}
"""Parts of rows whose feature does not exist yet. Whoever brings it, brings the case."""


def named() -> Iterator[str]:
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield from re.findall(r"\bB\d\d\b", ast.get_docstring(node) or "")


def test_every_row_of_the_table_is_named_by_a_test() -> None:
    assert set(ROWS) == set(named())


def test_what_waits_for_a_feature_is_a_row() -> None:
    assert set(WAITING) < set(ROWS)
