"""The verdict on a history: what, in it, breaks a promise. Pure, and as blind as a client.

Each kind of anomaly is one function, which knows nothing of the others: one bug may well be found by several.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from echo_ws_protocol.errors import CloseCode

from .history import Asked, Connection, History, Moved, Stay, Told

MAY_HAVE_BEEN_DONE = frozenset({"ok", "unknown", "lost", "silence"})


class Kind(StrEnum):
    LOST = "lost acknowledgement"
    DISHONEST = "dishonest failure"
    PHANTOM = "phantom"
    DUPLICATE = "duplicate"
    HOLE = "hole"
    FORK = "fork"
    ORDER = "order"
    UNDELIVERED = "undelivered"
    LEAK = "leak"
    SILENT_CLOSE = "silent close"
    UNANSWERED = "unanswered"


class Anomaly(NamedTuple):
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def check(history: History) -> list[Anomaly]:
    """Return everything that is wrong; nothing, of a good history."""
    return [Anomaly(kind, what) for kind, find in _CHECKS.items() for what in find(history)]


def _lost(history: History) -> Iterator[str]:
    """What was answered ``ok`` is there: a message at its seq, the text of an edit until the next, a deletion."""
    rows = {row.message: row for row in history.rows}
    for asked in history.asked:
        row = rows.get(asked.message)
        if asked.outcome != "ok" or asked.op == "react":
            continue
        if row is None:
            yield f"{asked.op} of {asked.message} was answered ok, and the message is not there"
        elif asked.op == "send" and row.seq != asked.seq:
            yield f"send of {asked.message} was answered seq {asked.seq}, and it stands at {row.seq}"
        elif asked.op == "delete" and row.content is not None:
            yield f"the deletion of {asked.message} was answered ok, and it is not deleted"
    for message, changes in _texts(history).items():
        if (row := rows.get(message)) is not None and row.content is not None:
            allowed = {change.content for change in changes if not _is_past(change, changes)}
            if row.content not in allowed and row.content in {change.content for change in changes}:
                yield f"{message} reads {row.content!r}, which an acknowledged edit replaced"


def _texts(history: History) -> dict[UUID, list[Asked]]:
    """Return, by message, what may have given it its text."""
    changes: dict[UUID, list[Asked]] = defaultdict(list)
    for asked in history.asked:
        if asked.op in {"send", "edit"} and asked.outcome in MAY_HAVE_BEEN_DONE:
            changes[asked.message].append(asked)
    return changes


def _is_past(change: Asked, changes: list[Asked]) -> bool:
    """Return whether an acknowledged edit began after this text was acknowledged, or after the send as such."""
    return any(
        other.op == "edit"
        and other.outcome == "ok"
        and other.content != change.content
        and (change.op == "send" or (change.outcome == "ok" and change.ended < other.began))
        for other in changes
    )


def _dishonest(history: History) -> Iterator[str]:
    """What was refused, each time that it was asked for, is not there."""
    answers: dict[tuple[UUID, str], set[str]] = defaultdict(set)
    acknowledged: dict[UUID, float] = {}
    for asked in history.asked:
        if asked.op in {"send", "edit"}:
            answers[asked.message, asked.content].add(asked.outcome)
        if asked.op == "send" and asked.outcome == "ok":
            acknowledged[asked.message] = min(asked.ended, acknowledged.get(asked.message, asked.ended))
    contents = {(row.message, row.content) for row in history.rows}
    contents |= {(_message_of(told), told.content) for told in history.told if told.content is not None}
    for (message, content), outcomes in answers.items():
        if not outcomes & MAY_HAVE_BEEN_DONE and (message, content) in contents:
            yield f"{message} reads {content!r}, which was answered {' and '.join(sorted(outcomes))}"
    for asked in history.asked:
        if asked.op == "send" and asked.outcome == "rejected" and asked.began > acknowledged.get(asked.message, 1e300):
            yield f"send of {asked.message} was answered ok first, and {asked.code} when it was sent again"


def _phantoms(history: History) -> Iterator[str]:
    """Nobody is told, and the database does not keep, what nobody asked for; what was told is in the database."""
    proposed: dict[UUID, set[str]] = defaultdict(set)
    for asked in history.asked:
        if asked.op in {"send", "edit"}:
            proposed[asked.message].add(asked.content)
    rows = {row.message: row for row in history.rows}
    for row in history.rows:
        if row.message not in proposed or row.content not in {None, *proposed[row.message]}:
            yield f"{row.message} is stored, seq {row.seq}: {row.content!r}, and nobody sent that"
    for told in history.told:
        if not told.thing.startswith("message:"):
            continue
        message = _message_of(told)
        if told.content is not None and told.content not in proposed[message]:
            yield f"{told.device} was told that {message} reads {told.content!r}, and nobody sent that"
        elif message not in rows:
            yield f"{told.device} was told of {message}, which is not stored"
        elif told.rev > rows[message].rev:
            yield f"{told.device} was told rev {told.rev} of {message}, which came to rev {rows[message].rev}"


def _duplicates(history: History) -> Iterator[str]:
    """Nothing is handed out twice at the same rev, stored twice, or answered with two seqs."""
    yield from _told_twice(history)
    for content, count in Counter(row.content for row in history.rows if row.content is not None).items():
        if count > 1:
            yield f"{content!r} is stored {count} times"
    seqs: dict[UUID, set[int | None]] = defaultdict(set)
    for asked in history.asked:
        if asked.op == "send" and asked.outcome == "ok":
            seqs[asked.message].add(asked.seq)
    for message, answered in seqs.items():
        if len(answered) > 1:
            yield f"send of {message} was answered {answered}"


def _told_twice(history: History) -> Iterator[str]:
    seen: set[tuple[str, UUID, str, int]] = set()
    for told in history.told:
        if told.how == "reset":
            seen = {key for key in seen if key[:2] != (told.device, told.channel)}
        if told.how != "event":
            continue
        key = (told.device, told.channel, told.thing, told.rev)
        if key in seen:
            yield f"{told.device} was told {told.thing} at rev {told.rev} twice"
        seen.add(key)


def _holes(history: History) -> Iterator[str]:
    """In the end every device shows what its user may read as it is; the database skips no seq."""
    stays = _stays(history)
    for view in history.views:
        for row in history.rows:
            if not any(stay.may_read(row.seq, row.rev) for stay in stays[row.conversation, view.user]):
                continue
            rev, state = view.messages.get(row.message, (0, ""))
            if (rev, state) != (row.rev, row.state):
                knows = f"knows rev {rev}" if rev else "knows nothing"
                yield f"{view.device} {knows} of {row.message} (seq {row.seq}, rev {row.rev})"
    seqs: dict[UUID, list[int]] = defaultdict(list)
    for row in history.rows:
        seqs[row.conversation].append(row.seq)
    for conversation, taken in seqs.items():
        if missing := set(range(1, max(taken) + 1)) - set(taken):
            yield f"the database has no seq {sorted(missing)} in {conversation}"


def _forks(history: History) -> Iterator[str]:
    """One rev of a thing looks the same to everybody, and one seq is one message."""
    states: dict[tuple[UUID, str, int], str] = {}
    places: dict[tuple[UUID, int], str] = {}
    for row in history.rows:
        states[row.conversation, f"message:{row.message}", row.rev] = row.state
        if places.setdefault((row.conversation, row.seq), f"message:{row.message}") != f"message:{row.message}":
            yield f"seq {row.seq} of {row.conversation} is stored twice"
    for told in history.told:
        if told.how == "reset":
            continue
        if states.setdefault((told.channel, told.thing, told.rev), told.state) != told.state:
            yield f"{told.device} saw {told.thing} at rev {told.rev} as {told.state}, others did not"
        if told.seq and places.setdefault((told.channel, told.seq), told.thing) != told.thing:
            yield f"{told.device} saw {told.thing} at seq {told.seq}, others saw {places[told.channel, told.seq]}"


def _disorder(history: History) -> Iterator[str]:
    """Revs never go back, and who sends after another's acknowledgement gets a higher seq."""
    last: dict[tuple[str, UUID], int] = {}
    for told in history.told:
        place = (told.device, told.channel)
        if told.how == "reset":
            last.pop(place, None)
        elif told.how == "event":
            if told.rev < last.get(place, 0):
                yield f"{told.device} was told {told.thing} at rev {told.rev} after rev {last[place]}"
            last[place] = max(told.rev, last.get(place, 0))
    sends: dict[UUID, list[Asked]] = defaultdict(list)
    first: dict[UUID, float] = {}
    for asked in history.asked:
        if asked.op == "send":
            first[asked.message] = min(asked.began, first.get(asked.message, asked.began))
            if asked.outcome == "ok" and asked.seq is not None:
                sends[asked.conversation].append(asked)
    for those in sends.values():
        yield from _seqs_going_back(those, first)


def _seqs_going_back(sends: list[Asked], first: dict[UUID, float]) -> Iterator[str]:
    """Compare when each message was first tried with what was acknowledged before that."""
    steps = sorted(
        [(first[asked.message], 1, asked) for asked in sends] + [(asked.ended, 0, asked) for asked in sends],
        key=lambda step: step[:2],
    )
    highest = 0
    for _, begins, asked in steps:
        assert asked.seq is not None
        if not begins:
            highest = max(highest, asked.seq)
        elif asked.seq < highest:
            yield f"{asked.message} began after the acknowledgement of seq {highest} and got {asked.seq}"


def _undelivered(history: History) -> Iterator[str]:
    """Whoever is connected, and a member, hears a message in time while nothing is broken."""
    heard: dict[tuple[str, str], float] = {}
    for told in history.told:
        heard.setdefault((told.device, told.thing), told.at)
    users = {view.device: view.user for view in history.views if view.device not in history.slow}
    stays = _stays(history)
    rows = {row.message: row for row in history.rows}
    for asked in history.asked:
        deadline = asked.ended + history.reach_s
        row = rows.get(asked.message)
        if asked.op != "send" or asked.outcome != "ok" or row is None or _is_troubled(history, asked.began, deadline):
            continue
        for connection in history.connections:
            user = users.get(connection.device)
            if user is None or not _lasts(connection, asked.began, deadline):
                continue
            if not any(stay.left_rev is None and stay.joined_seq < row.seq for stay in stays[row.conversation, user]):
                continue
            if any((moved.user, moved.conversation) == (user, row.conversation) for moved in history.moved):
                continue  # a member of changing luck: what counts is what it shows in the end
            if heard.get((connection.device, f"message:{asked.message}"), deadline + 1) > deadline:
                yield f"{connection.device} had not heard of {asked.message} {history.reach_s:g} s after its ok"


def _leaks(history: History) -> Iterator[str]:
    """Nobody hears what happens while not a member, nor anything once the session was ended."""
    stays = _stays(history)
    let_in: dict[tuple[UUID, UUID], list[Moved]] = defaultdict(list)
    for moved in history.moved:
        if moved.is_in:
            let_in[moved.conversation, moved.user].append(moved)
    for told in history.told:
        if told.how == "reset":
            continue
        place = (told.channel, told.user)
        if told.channel != told.user and not _was_member(told, stays[place], let_in[place]):
            yield f"{told.device} was told {told.thing} at rev {told.rev}, not being a member"
    ended = {revoked.device: revoked for revoked in history.revoked}
    for told in history.told:
        revoked = ended.get(told.device.partition("#")[0])
        if revoked and told.at > revoked.by and told.how == "event":
            yield f"{told.device} was told {told.thing} {told.at - revoked.at:.1f} s after its session was ended"


def _was_member(told: Told, stays: list[Stay], let_in: list[Moved]) -> bool:
    """Return whether the rev lies in a stay, or in a past that was opened to the user by then."""
    if any(s.joined_rev <= told.rev and (s.left_rev is None or told.rev <= s.left_rev) for s in stays):
        return True
    began = {s.joined_rev for s in stays if s.joined_rev > told.rev and (not told.seq or told.seq > s.joined_seq)}
    return any(moved.rev in began and moved.began <= told.at for moved in let_in)


def _silent_closes(history: History) -> Iterator[str]:
    """A server that lives closes with a code of the table."""
    for connection in history.connections:
        if connection.closed is None or connection.code in set(CloseCode):
            continue
        if not _may_close(history, connection.closed, connection.closed):
            yield f"{connection.device} was closed with {connection.code} at {connection.closed:.2f}"


def _unanswered(history: History) -> Iterator[str]:
    for asked in history.asked:
        if asked.outcome == "silence" and not _may_close(history, asked.began, asked.ended):
            waited = asked.ended - asked.began
            yield f"{asked.op} of {asked.message} by {asked.device} had no answer after {waited:.1f} s"


def _stays(history: History) -> dict[tuple[UUID, UUID], list[Stay]]:
    stays: dict[tuple[UUID, UUID], list[Stay]] = defaultdict(list)
    for stay in history.stays:
        stays[stay.conversation, stay.user].append(stay)
    return stays


def _is_troubled(history: History, began: float, ended: float) -> bool:
    return any(trouble.began < ended and began < trouble.ended for trouble in history.troubles)


def _may_close(history: History, began: float, ended: float) -> bool:
    """Return whether a process or a wire was cut, so that what was under way may have gone with it."""
    return any(t.may_close and t.began <= ended and began <= t.ended for t in history.troubles)


def _lasts(connection: Connection, began: float, ended: float) -> bool:
    return connection.opened <= began and (connection.closed is None or connection.closed > ended)


def _message_of(told: Told) -> UUID:
    return UUID(told.thing.removeprefix("message:"))


_CHECKS: dict[Kind, Callable[[History], Iterator[str]]] = {
    Kind.LOST: _lost,
    Kind.DISHONEST: _dishonest,
    Kind.PHANTOM: _phantoms,
    Kind.DUPLICATE: _duplicates,
    Kind.HOLE: _holes,
    Kind.FORK: _forks,
    Kind.ORDER: _disorder,
    Kind.UNDELIVERED: _undelivered,
    Kind.LEAK: _leaks,
    Kind.SILENT_CLOSE: _silent_closes,
    Kind.UNANSWERED: _unanswered,
}
