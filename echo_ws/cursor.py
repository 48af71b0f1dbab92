"""A place in a list that is ordered by time and id, as text that clients pass back."""

from datetime import UTC, datetime
from uuid import UUID

from .errors import BadField
from .events import utc


def as_cursor(time: datetime, id_: UUID) -> str:
    """Return a place whose time has no zone, as the database has it."""
    return f"{utc(time).isoformat()}|{id_}"


def as_place(cursor: str) -> tuple[datetime, UUID]:
    """Return the place of a cursor; its time has no zone."""
    time, _, id_ = cursor.partition("|")
    try:
        return datetime.fromisoformat(time).astimezone(UTC).replace(tzinfo=None), UUID(id_)
    except (ValueError, OverflowError):
        raise BadField("pass `next` of the page before", field="$.after") from None


def place_after(cursor: str | None) -> tuple[datetime, UUID] | tuple[None, None]:
    """Return where to go on, or nowhere: from the beginning."""
    return (None, None) if cursor is None else as_place(cursor)


def user_after(cursor: str | None) -> UUID | None:
    """Return where to go on in a list of users, from ``next`` of the page before; None: at the beginning."""
    try:
        return UUID(cursor) if cursor else None
    except ValueError:
        raise BadField("pass `next` of the page before", field="$.after") from None
