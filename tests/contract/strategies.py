"""Hypothesis strategies for every struct of the protocol, drawn from its types."""

import json
import re
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from msgspec import Meta, Struct

from echo_ws_protocol.commands import MessageSend
from echo_ws_protocol.metadata import METADATA, PollMetadata, StickerMetadata
from echo_ws_protocol.types import (
    Code,
    Country,
    DeviceId,
    Email,
    Emoji,
    MimeType,
    Phone,
    PhoneText,
    Platform,
    TimeZone,
    Url,
)

EMOJIS = ["👍", "❤️", "👩‍👩‍👧‍👦", "👩🏻‍❤️‍💋‍👨🏻", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🫱🏻‍🫲🏿", "🇩🇪", "1️⃣", "🏳️‍🌈"]
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds the zone
WORDS = st.characters(codec="utf-8", exclude_characters="\0")
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    UUID: st.uuids(),
    str: st.text(max_size=20),
    bool: st.booleans(),
    int: st.integers(0, 2**53 - 1),
    datetime: TIMES,
    Any: st.one_of(st.integers(0, 9), st.text(max_size=3), st.booleans()),
}

EXACT: dict[Any, st.SearchStrategy[Any]] = {
    Emoji: st.sampled_from(EMOJIS),
    Code: st.from_regex(r"[0-9]{6}", fullmatch=True),
    DeviceId: st.from_regex(r"[A-Za-z0-9._:-]{8,64}", fullmatch=True),
    Platform: st.from_regex(r"[a-z0-9_-]{1,50}", fullmatch=True),
    Email: st.from_regex(r"[!-?A-~]{1,20}@[0-9A-Za-z-]{1,9}\.[a-z]{2,4}", fullmatch=True),
    Country: st.from_regex(r"[A-Z]{2}", fullmatch=True),
    TimeZone: st.sampled_from(["Europe/Berlin", "UTC", "America/Port-au-Prince", "Etc/GMT+12"]),
    Phone: st.from_regex(r"\+[0-9 ().-]{1,20}", fullmatch=True),
    PhoneText: st.from_regex(r"[+0-9 ().*#/-]{1,20}", fullmatch=True),
    MimeType: st.from_regex(r"[a-z]{1,9}/[a-z0-9.+-]{1,9}", fullmatch=True),
    Url: st.from_regex(r"https://[!-~]{1,20}", fullmatch=True),
}
"""What a random text hardly ever is."""


def polls() -> st.SearchStrategy[PollMetadata]:
    options = st.lists(st.text(WORDS, min_size=1, max_size=9), min_size=2, max_size=10, unique=True)
    return st.builds(
        PollMetadata,
        question=st.text(WORDS, min_size=1, max_size=20),
        options=options,
        multiple=st.booleans(),
        anonymous=st.booleans(),
        closes_at=st.none() | TIMES,
    )


def metadata(type_: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw what belongs to a message of this type, as it travels."""
    if type_ == "poll":
        drawn: st.SearchStrategy[Any] = polls()
    elif type_ == "sticker":
        drawn = st.builds(StickerMetadata, file_url=EXACT[Url], emoji=st.none() | st.sampled_from(EMOJIS))
    else:
        drawn = structs(METADATA[type_])  # type: ignore[index]  # one of the types
    return drawn.map(lambda struct: json.loads(msgspec.json.encode(struct)))


def sends() -> st.SearchStrategy[MessageSend]:
    """Draw messages of all types."""

    def of(type_: str) -> st.SearchStrategy[MessageSend]:
        known: dict[str, Any] = {"id": PLAIN[int], "conversation": st.uuids(), "message": st.uuids()}
        known |= {"mentions": st.lists(st.uuids(), max_size=3), "type": st.just(type_)}
        if type_ == "text":
            return st.builds(MessageSend, content=st.text(WORDS, min_size=1, max_size=20), **known)
        return st.builds(MessageSend, metadata=metadata(type_), **known)

    return st.sampled_from(["text", *METADATA]).flatmap(of)


@cache
def structs(cls: type[Struct]) -> st.SearchStrategy[Any]:
    if cls is MessageSend:
        return sends()
    hints = get_type_hints(cls, include_extras=True)
    required = {f.name: values(hints[f.name]) for f in msgspec.structs.fields(cls) if f.required}
    optional = {f.name: values(hints[f.name]) for f in msgspec.structs.fields(cls) if not f.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: cls(**given))


def values(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation in EXACT:
        return EXACT[annotation]
    if annotation in PLAIN:
        return PLAIN[annotation]
    if (origin := get_origin(annotation)) is not None:
        return _made_of(origin, get_args(annotation))
    return structs(annotation)


def _made_of(origin: Any, parts: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin is Annotated:
        return _limited(parts[0], next(part for part in parts[1:] if isinstance(part, Meta)))
    if origin in {Union, UnionType}:
        return st.one_of(*(values(part) for part in parts if part is not NoneType))
    if origin is Literal:
        return st.sampled_from(parts)
    if origin is list:
        return st.lists(values(parts[0]), max_size=3)
    return st.dictionaries(values(parts[0]), values(parts[1]), max_size=3)


def _limited(base: Any, meta: Meta) -> st.SearchStrategy[Any]:
    if base is int:
        return st.integers(int(meta.ge or 0), int(meta.le or 2**53 - 1))
    if base is float:
        return st.floats(float(meta.ge or 0), float(meta.le or 2**53))
    if base is not str:
        return values(base)
    texts = st.text(
        st.characters(codec="utf-8"), min_size=meta.min_length or 0, max_size=min(meta.max_length or 20, 20)
    )
    if meta.pattern is None:
        return texts
    pattern = re.compile(meta.pattern)
    return st.one_of(texts, st.text(st.characters(codec="ascii"), min_size=meta.min_length or 1, max_size=20)).filter(
        pattern.search
    )
