"""Random histories in which no promise is broken: a server, a database and clients in forty lines each.

What is legal and looks wrong is in them: lost answers of what was stored, repeated sends, crossing edits, devices that
go away and come back, messages that nobody hears live, members who are removed and let in again.
"""

import itertools
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from .history import Asked, Connection, History, Moved, Outcome, Row, Stay, Told, View

_ANSWERS: list[list[Outcome]] = [["ok"], ["ok", "ok"], ["lost", "ok"], ["unknown"], ["retry"], ["retry", "ok"]]
"""To the attempts at one message, one after the other."""


@dataclass
class _Device:
    name: str
    user: UUID
    position: int = 0
    knows: dict[UUID, tuple[int, str]] = field(default_factory=dict)
    connection: Connection | None = None


class LegalRun:
    """One conversation whose changes take one rev each, and devices that hear them now or later."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._now = 0.0
        self._numbers = itertools.count(1)
        self._conversation = self._uuid()
        self._rows: dict[UUID, Row] = {}
        self._rev = 1
        self._stays: list[Stay] = []
        self._devices: list[_Device] = []
        self.history = History(reach_s=0.5)
        for number in range(3):
            user = self._uuid()
            self._stays.append(Stay(conversation=self._conversation, user=user, joined_seq=0, joined_rev=1))
            self._devices += [_Device(f"{number}-{device}", user) for device in range(self._random.choice((1, 2)))]

    def run(self, steps: int) -> History:
        for device in self._devices:
            self._come(device)
        for _ in range(steps):
            self._now += self._random.uniform(0.001, 0.1)
            self._random.choice((self._send, self._send, self._edit, self._delete, self._go_or_come, self._move))()
            for device in self._devices:
                if self._random.random() < 0.5:
                    self._hear(device)
            if self._rev % 2:
                self._hear_all()
        self._hear_all()
        self.history.rows = list(self._rows.values())
        self.history.stays = self._stays
        self.history.views = [View(device=d.name, user=d.user, messages=d.knows) for d in self._devices]
        return self.history

    def _send(self) -> None:
        device = self._random.choice(self._devices)
        message, content = self._uuid(), self._text()
        stay = self._stay(device.user)
        outcomes: list[Outcome] = ["rejected"]
        if stay:
            outcomes = self._random.choice(_ANSWERS)
        if {"ok", "unknown"} & set(outcomes):
            self._store(message, len(self._rows) + 1, device.user, content)
        for outcome in outcomes:
            self._ask(device, "send", message, content, outcome)

    def _edit(self) -> None:
        if row := self._some_row():
            content = self._text()
            outcome: Outcome = self._random.choice(("ok", "ok", "lost", "retry"))
            if outcome != "retry":
                self._store(row.message, row.seq, row.sender, content)
            self._ask(self._random.choice(self._devices), "edit", row.message, content, outcome)

    def _delete(self) -> None:
        if (row := self._some_row()) and self._random.random() < 0.3:
            self._store(row.message, row.seq, row.sender, None)
            self._ask(
                self._random.choice(self._devices), "delete", row.message, "", self._random.choice(("ok", "lost"))
            )

    def _move(self) -> None:
        """Remove the last user or let it in again."""
        user = self._devices[-1].user
        stay = self._stay(user)
        self._hear_all()
        self._rev += 1
        if stay:
            self._stays[self._stays.index(stay)] = Stay(
                conversation=stay.conversation,
                user=user,
                joined_seq=stay.joined_seq,
                joined_rev=stay.joined_rev,
                left_seq=len(self._rows),
                left_rev=self._rev,
            )
        else:
            self._stays.append(Stay(conversation=self._conversation, user=user, joined_seq=0, joined_rev=self._rev))
        moved = Moved(
            user=user, conversation=self._conversation, is_in=not stay, rev=self._rev, began=self._now, ended=self._now
        )
        self.history.moved.append(moved)
        for device in self._devices:
            if device.user == user and not stay:
                self._read(device)

    def _go_or_come(self) -> None:
        device = self._random.choice(self._devices)
        if device.connection:
            device.connection.closed, device.connection.code = self._now, 4000
            device.connection = None
        else:
            self._come(device)

    def _come(self, device: _Device) -> None:
        device.connection = Connection(device=device.name, opened=self._now)
        self.history.connections.append(device.connection)

    def _hear_all(self) -> None:
        for device in self._devices:
            if not device.connection:
                self._come(device)
            self._hear(device)

    def _hear(self, device: _Device) -> None:
        """Tell what changed above the device's position, as it now is, in rev order."""
        if not device.connection or not self._stay(device.user):
            return
        for row in sorted(self._rows.values(), key=lambda row: row.rev):
            if row.rev > device.position:
                self._tell(device, row, "event")
        device.position = self._rev

    def _read(self, device: _Device) -> None:
        reset = Told(
            device=device.name, user=device.user, at=self._now, channel=self._conversation, rev=self._rev, how="reset"
        )
        self.history.told.append(reset)
        for row in self._rows.values():
            self._tell(device, row, "read")
        device.position = self._rev

    def _tell(self, device: _Device, row: Row, how: str) -> None:
        told = Told(
            device=device.name,
            user=device.user,
            at=self._now,
            channel=self._conversation,
            rev=row.rev,
            thing=f"message:{row.message}",
            state=row.state,
            content=row.content,
            seq=row.seq,
            how="read" if how == "read" else "event",
        )
        self.history.told.append(told)
        device.knows[row.message] = (row.rev, row.state)

    def _store(self, message: UUID, seq: int, sender: UUID, content: str | None) -> None:
        self._rev += 1
        self._rows[message] = Row(
            conversation=self._conversation,
            message=message,
            seq=seq,
            rev=self._rev,
            sender=sender,
            state=str(content),
            content=content,
        )

    def _ask(self, device: _Device, op: str, message: UUID, content: str, outcome: Outcome) -> None:
        began, self._now = self._now, self._now + self._random.uniform(0.001, 0.01)
        asked = Asked(
            device=device.name,
            op=op,  # type: ignore[arg-type]  # one of the ops
            conversation=self._conversation,
            message=message,
            content=content,
            began=began,
            ended=self._now,
            outcome=outcome,
            seq=self._rows[message].seq if op == "send" and outcome == "ok" else None,
        )
        self.history.asked.append(asked)

    def _stay(self, user: UUID) -> Stay | None:
        return next((stay for stay in self._stays if stay.user == user and stay.left_rev is None), None)

    def _some_row(self) -> Row | None:
        rows = [row for row in self._rows.values() if row.content is not None]
        return self._random.choice(rows) if rows else None

    def _text(self) -> str:
        return f"text {next(self._numbers)}"

    def _uuid(self) -> UUID:
        return UUID(int=next(self._numbers))
