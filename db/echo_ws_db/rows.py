"""How rows become structs, and what a statement that was refused raises."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    import asyncpg

    from .pool import Store

Database: TypeAlias = "Store | asyncpg.Connection[asyncpg.Record]"
"""What statements run on: a pool, or a single connection."""

Refusal: TypeAlias = Literal[
    "not_found",
    "silenced",
    "admins_only",
    "is_admin",
    "not_yours",
    "fixed",
    "id_conflict",
    "bad_reply",
    "blocking",
    "gone",
    "busy",
    "empty",
    "too_late",
    "too_many",
    "bad_option",
    "closed",
    "anonymous",
    "wrong_type",
    "last_admin",
    "full",
]

T = TypeVar("T")


class Refused(Exception):
    """The statement had no effect; ``outcome`` is its reason."""

    def __init__(self, outcome: Refusal) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def as_rows(type_: type[T], records: Iterable[Any]) -> list[T]:
    """Return structs made from records by position."""
    return [type_(*record) for record in records]


def check(outcome: Any) -> None:
    """Return if a statement that returns its outcome alone had an effect, or raise ``Refused``."""
    if outcome != "ok":
        raise Refused(outcome)


def as_changed(type_: type[T], record: Any) -> T:
    """Return the struct behind a record's leading ``outcome``, or raise ``Refused``."""
    outcome, *columns = record
    check(outcome)
    return type_(*columns)
