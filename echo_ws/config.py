"""The settings in force, and where each came from.

A value comes from the command line, an ``ECHO_*`` variable, the TOML file or the default: the first that has one.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from .settings import JwtKey, Settings, default_data_dir

__all__ = [
    "ConfigError",
    "JwtKey",
    "Setting",
    "Settings",
    "decode",
    "describe",
    "encode",
    "load",
    "load_with_sources",
    "shown",
]

PREFIX = "ECHO_"
FILE_VARIABLE = "ECHO_CONFIG"
HIDDEN = "***"


class ConfigError(Exception):
    """A setting that is wrong: one line that names it."""


class Setting(NamedTuple):
    """One row of the table in docs/operating.md."""

    name: str
    variable: str
    kind: str
    default: str
    description: str


_KINDS: dict[type[inspect.Type], str] = {
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.StrType: "text",
    inspect.VarTupleType: "list, by comma",
    inspect.DictType: "table, as JSON",
    inspect.CustomType: "path",
}
_FIELDS = {each.name: each for each in msgspec.structs.fields(Settings)}


def load(environ: Mapping[str, str], file: Path | None, overrides: Mapping[str, object]) -> Settings:
    """Return the settings in force, or raise ``ConfigError``; ``file`` None means the one ``ECHO_CONFIG`` names."""
    return load_with_sources(environ, file, overrides)[0]


def load_with_sources(
    environ: Mapping[str, str], file: Path | None, overrides: Mapping[str, object]
) -> tuple[Settings, dict[str, str]]:
    """Also return where each value came from, by name."""
    if file is None and environ.get(FILE_VARIABLE):
        file = Path(environ[FILE_VARIABLE])
    values: dict[str, Any] = {"data_dir": default_data_dir(environ, os.geteuid())}
    sources = dict.fromkeys(_FIELDS, "default")
    for name, raw, source in (*_from_file(file), *_from_environ(environ), *_from_overrides(overrides)):
        values[name] = _convert(name, raw, source)
        sources[name] = source
    settings = Settings(**values)
    if settings.redis_url == "memory:" and settings.workers > 1:
        raise ConfigError(f"{PREFIX}REDIS_URL: memory: serves one worker, got {PREFIX}WORKERS {settings.workers}")
    return settings, sources


def describe() -> list[Setting]:
    defaults = Settings()
    return [
        Setting(
            name=name,
            variable=PREFIX + name.upper(),
            kind=_kind(_unwrap(each.type)),
            default="" if name == "data_dir" else _text(getattr(defaults, name)),
            description=_meta(each.type).description,
        )
        for name, each in _FIELDS.items()
    ]


def shown(settings: Settings) -> dict[str, str]:
    """Return every value as text, without passwords and keys."""
    return {name: _shown(name, _text(getattr(settings, name))) for name in _FIELDS}


def encode(settings: Settings) -> bytes:
    """Return one line of JSON for a worker. It holds secrets: for a pipe only."""
    return msgspec.json.encode(settings, enc_hook=str)


def decode(line: bytes) -> Settings:
    return msgspec.json.decode(line, type=Settings, dec_hook=_make)


def _from_file(file: Path | None) -> list[tuple[str, object, str]]:
    if file is None:
        return []
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    for name in table:
        if name not in _FIELDS:
            raise ConfigError(f"{file}: {name}: no such setting; `echo-ws config` lists them")
    return [(name, value, str(file)) for name, value in table.items()]


def _from_environ(environ: Mapping[str, str]) -> list[tuple[str, object, str]]:
    found: list[tuple[str, object, str]] = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in _FIELDS or variable != variable.upper():
            raise ConfigError(f"{variable}: no such setting; `echo-ws config` lists them")
        if environ[variable] or _is_list(name):  # an empty variable counts as none, an empty list as a list
            found.append((name, _parse(name, environ[variable]), variable))
    return found


def _from_overrides(overrides: Mapping[str, object]) -> list[tuple[str, object, str]]:
    return [(name, value, f"--{name.replace('_', '-')}") for name, value in overrides.items() if value is not None]


def _parse(name: str, text: str) -> object:
    """Return a variable's text as lists and tables would come from TOML."""
    if _is_list(name):
        return [item for item in (item.strip() for item in text.split(",")) if item]
    if isinstance(_unwrap(_FIELDS[name].type), inspect.DictType):
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise ConfigError(f"{PREFIX}{name.upper()}: expected {_expected(name)}") from None
    return text


def _convert(name: str, raw: object, source: str) -> object:
    try:
        value = msgspec.convert(raw, _FIELDS[name].type, strict=False, dec_hook=_make)
        if name == "trusted_networks":
            for network in value:
                ipaddress.ip_network(network)
    except (msgspec.ValidationError, ValueError) as error:
        where = source if source.startswith((PREFIX, "--")) else f"{source}: {name}"
        got = "" if _is_secret(name) else f", got {msgspec.json.encode(raw, enc_hook=str).decode():.100}"
        _, is_inside, place = str(error).rpartition(" - at `$")
        at = place.strip(".`") if is_inside and isinstance(raw, dict) else ""
        raise ConfigError(f"{where}: expected {_expected(name)}{got}{at and f' (see {at})'}") from None
    return value


def _make(kind: type, text: object) -> object:
    if kind is Path and isinstance(text, str) and (path := Path(text).expanduser()).is_absolute():
        return path
    raise ValueError("expected an absolute path")


def _shown(name: str, text: str) -> str:
    if _meta(_FIELDS[name].type).extra.get("secret") == "whole":
        return HIDDEN if text else ""
    return _hide(text) if _is_secret(name) else text


def _is_list(name: str) -> bool:
    return isinstance(_unwrap(_FIELDS[name].type), inspect.VarTupleType)


def _is_secret(name: str) -> bool:
    return bool(_meta(_FIELDS[name].type).extra.get("secret"))


class _Meta(NamedTuple):
    description: str
    extra: dict[str, Any]


def _meta(kind: object) -> _Meta:
    return _read_meta(inspect.type_info(kind))


def _read_meta(info: inspect.Type) -> _Meta:
    if isinstance(info, inspect.UnionType):
        return next(found for found in map(_read_meta, info.types) if found.description)
    if isinstance(info, inspect.Metadata):
        return _Meta((info.extra_json_schema or {}).get("description", ""), info.extra or {})
    return _Meta("", {})


def _unwrap(kind: object) -> inspect.Type:
    """Return the bare type: without its metadata, and without None."""
    info = kind if isinstance(kind, inspect.Type) else inspect.type_info(kind)
    if isinstance(info, inspect.UnionType):
        info = next(each for each in info.types if not isinstance(each, inspect.NoneType))
    return info.type if isinstance(info, inspect.Metadata) else info


def _kind(info: inspect.Type) -> str:
    if isinstance(info, inspect.LiteralType):
        return " or ".join(map(str, info.values))
    return _KINDS[type(info)]


def _expected(name: str) -> str:
    expected = _meta(_FIELDS[name].type).extra.get("expected")
    match _unwrap(_FIELDS[name].type):
        case _ if isinstance(expected, str):
            return expected
        case inspect.IntType(ge=int(low), le=int(high)):
            return f"an integer between {low} and {high}"
        case inspect.IntType(ge=low):
            return f"an integer of at least {low}"
        case inspect.FloatType(le=high):
            return f"a number above 0 and up to {high:g}"
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case _:
            return "a text that is not empty"


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ",".join(value)
        case dict():
            return ",".join(f"{key} ({each.alg})" if isinstance(each, JwtKey) else key for key, each in value.items())
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _hide(url: str) -> str:
    """Return a URL without its passwords; rather hide too much."""
    url = re.sub(r"://([^:/?#@]*):.*@", rf"://\1:{HIDDEN}@", url)
    return re.sub(r"(password=)[^&]*", rf"\1{HIDDEN}", url)
