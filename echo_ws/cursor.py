"""Places in lists, as text: clients pass back `next` of the page before."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar, get_args
from uuid import UUID

from echo_ws_db import participants
from echo_ws_db.messages import Place
from echo_ws_protocol.types import MAX_SAFE_INTEGER, Role

from .errors import BadField
from .events import as_stored, utc

T = TypeVar("T")


def cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """Return the page of rows that were read with one more than was asked for, and its last one if there are more."""
    page = rows[:limit]
    return page, page[-1] if len(rows) > limit else None


def as_cursor(time: datetime, id_: UUID) -> str:
    """Return a place whose time has no zone, as the database has it."""
    return f"{utc(time).isoformat()}|{id_}"


def as_place(cursor: str) -> tuple[datetime, UUID]:
    """Return the place of a cursor; its time has no zone."""
    time, _, id_ = cursor.partition("|")
    try:
        return as_stored(datetime.fromisoformat(time), "$.after"), UUID(id_)
    except ValueError:
        raise _broken() from None


def place_after(cursor: str | None) -> tuple[datetime, UUID] | tuple[None, None]:
    """Return where to go on, or nowhere: from the beginning."""
    return (None, None) if cursor is None else as_place(cursor)


def user_after(cursor: str | None) -> UUID | None:
    """Return where to go on in a list of users by id, or None: from the beginning."""
    try:
        return None if cursor is None else UUID(cursor)
    except ValueError:
        raise _broken() from None


def as_role_cursor(role: str, user: UUID) -> str:
    return f"{role}|{user}"


def role_after(cursor: str | None) -> tuple[str, UUID]:
    """Return where to go on in a list of participants by role and id."""
    if cursor is None:
        return participants.FIRST
    role, _, user = cursor.partition("|")
    try:
        if role in get_args(Role):
            return role, UUID(user)
    except ValueError:
        pass
    raise _broken()


def as_search_cursor(place: Place) -> str:
    return f"{place.score}|{place.at.isoformat()}|{place.conversation}|{place.seq}|{place.as_of.isoformat()}"


def search_after(cursor: str | None) -> Place | None:
    """Return where to go on among what was found, or None: from the beginning."""
    if cursor is None:
        return None
    try:
        score, at, conversation, seq, as_of = cursor.split("|")
        place = Place(int(score), _without_zone(at), UUID(conversation), int(seq), _without_zone(as_of))
    except ValueError:
        raise _broken("$.cursor") from None
    if max(abs(place.score), abs(place.seq)) > MAX_SAFE_INTEGER:
        raise _broken("$.cursor")
    return place


def _without_zone(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


def _broken(field: str = "$.after") -> BadField:
    return BadField("pass `next` of the page before", field=field)
