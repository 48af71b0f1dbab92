"""What is logged during a test."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from echo_ws import logs
from echo_ws.settings import Settings


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(Settings(log_level="debug"), stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
