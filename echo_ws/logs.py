"""Log lines: one JSON object each, or coloured lines for people; ours and those of libraries alike.

What somebody else wrote (a name, a user agent, an error's text) is cut, escaped and searched for phone numbers and
tokens before it is written; keys that name a secret are blanked whatever they hold.
"""

import logging
import re
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

import msgspec
import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from .config import Settings

LONGEST = 256
MOST_ITEMS = 30
HIDDEN = "[hidden]"
QUIET = ("websockets", "uvicorn.access", "uvicorn.error", "asyncio", "httptools", "httpx2", "httpcore2")
"""Libraries that tell of every connection at INFO, or of requests with all their headers at DEBUG."""

AFTER_OURS = "asyncpg"
"""Warns again and again, with all frames, of what our own events say: that PostgreSQL is away."""

_TIME = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")
_TIME_FOR_PEOPLE = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
_SECRET_KEY = re.compile(r"token|content$|phone|password|authorization|secret|cookie|jwt", re.IGNORECASE)
_PHONE = re.compile(r"\+[1-9][0-9]{2,10}([0-9]{4})")
_BEARER = re.compile(r"\b(bearer)\s+\S+", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^:/?#@\s]*):[^\s]*@")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def configure(settings: Settings, stream: TextIO | None = None, **always: object) -> None:
    """Send everything that this process logs to ``stream`` (stderr), with the fields ``always``."""
    stream, is_json = stream or sys.stderr, settings.log_format == "json"
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _TIME if is_json else _TIME_FOR_PEOPLE,
        _Always(always),
        _show_exception,
        clean,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    render = _render_json if is_json else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.raiseExceptions = False  # a log that cannot be written must not break anything else
    logging.captureWarnings(capture=True)
    for library in QUIET:
        logging.getLogger(library).setLevel(max(level, logging.WARNING))
    logging.getLogger(AFTER_OURS).setLevel(max(level, logging.ERROR))


def to_stream(settings: Settings, stream: TextIO) -> structlog.stdlib.BoundLogger:
    """Return a logger for a program of one command, whose other output stays what it is."""
    is_json = settings.log_format == "json"
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.stdlib.add_log_level,
            _TIME if is_json else _TIME_FOR_PEOPLE,
            clean,
            _render_json if is_json else structlog.dev.ConsoleRenderer(colors=stream.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return logger


def clean(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Return the line without secrets, and with every text cut and escaped."""
    return {
        key: value if key.startswith("_") else HIDDEN if _SECRET_KEY.search(key) else _clean(value)
        for key, value in event.items()
    }


def _clean(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _escape(value)
        case Mapping():
            items = list(value.items())[:MOST_ITEMS]
            return {str(key): HIDDEN if _SECRET_KEY.search(str(key)) else _clean(each) for key, each in items}
        case list() | tuple() | set() | frozenset():
            return [_clean(each) for each in list(value)[:MOST_ITEMS]]
        case bytes() | bytearray() | memoryview():
            return f"{len(value)} bytes"
        case _:
            return _escape(str(value))


def _escape(text: str) -> str:
    text = _URL_PASSWORD.sub(r"\1:***@", _BEARER.sub(rf"\1 {HIDDEN}", _PHONE.sub(r"+…\1", text[: 4 * LONGEST].strip())))
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 1]}…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _show_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put type, first line and places of an exception into the line; further lines of a text may quote a row."""
    found = _exception(event.pop("exc_info", None))
    if found is not None:
        event["error_type"] = type(found).__qualname__
        event.setdefault("error", str(found).partition("\n")[0])
        event["frames"] = _frames(found.__traceback__)
        cause = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
        if cause is not None:
            event["caused_by"] = f"{type(cause).__qualname__}: {str(cause).partition(chr(10))[0]}"
    return event


def _exception(exc_info: ExcInfo | BaseException | bool | None) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
        case _:
            return None


def _frames(traceback: TracebackType | None) -> list[str]:
    """Return the innermost places, outermost first."""
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{'/'.join(code.co_filename.rsplit('/', 3)[-3:])}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return frames[-MOST_ITEMS:]


class _Always:
    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**self._fields, **event}


_FIRST = ("at", "level", "event")


def _render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    ordered = {key: event.pop(key) for key in _FIRST if key in event}
    return msgspec.json.encode({**ordered, **event}).decode()
