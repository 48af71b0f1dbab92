"""A worker of the fault suite: the real one in which a test can set off faults, and which may have a bug on purpose.

`FAULT_ARMED` is a folder: a file in it arms the fault of its name, which takes the file away when it goes off.
`FAULT_BUG` names one of ``bugs.BUGS``. Nothing of this is in the server: this process patches itself.
"""

import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

from echo_ws import handlers, sessions, worker
from echo_ws.dispatch import HANDLERS, Context
from echo_ws_db import messages
from echo_ws_db.messages import NewMessage, SendRow
from echo_ws_db.rows import Database
from echo_ws_protocol.commands import MessageSend

from . import bugs

KILLED = 9
LONGEST_STALL_S = 30.0

armed_folder = Path(os.environ["FAULT_ARMED"])

store_batch = messages.send
answer_send = HANDLERS[MessageSend]
publish = Context.publish


def goes_off(fault: str) -> str | None:
    """Disarm a fault if it is armed, and return what the test wrote into its file."""
    file = armed_folder / fault
    try:
        said = file.read_text()
        file.unlink()
    except OSError:  # also when no file can be opened: that fault is somebody else's
        return None
    return said


def exit_if_armed(fault: str) -> None:
    if goes_off(fault) is not None:
        os._exit(KILLED)


async def send_batch(db: Database, batch: Sequence[NewMessage], *, tracked_members: int, wait: bool) -> list[SendRow]:
    exit_if_armed("exit_before_commit")
    rows = await store_batch(db, batch, tracked_members=tracked_members, wait=wait)
    if any(row.is_new for row in rows):
        exit_if_armed("exit_after_commit")
    return rows


async def send(ctx: Context, command: MessageSend) -> Any:
    if seconds := goes_off("stall"):
        time.sleep(min(float(seconds), LONGEST_STALL_S))  # noqa: ASYNC251 - the fault
    if seconds := goes_off("clock"):
        step_clock(float(seconds))
    sent = await answer_send(ctx, command)
    if (armed_folder / "exit_after_publish").exists():
        await bugs.published(ctx)
        exit_if_armed("exit_after_publish")
    return sent


def step_clock(seconds: float) -> None:
    """Let this process believe that it is earlier or later; its monotonic clock goes on."""
    true_time = time.time

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=seconds)

    bugs.replace(time, "time", lambda: true_time() + seconds)
    bugs.replace(sessions, "datetime", Clock)


def main() -> int:
    messages.send = send_batch
    HANDLERS[MessageSend] = send
    if bug := os.environ.get("FAULT_BUG"):
        bugs.BUGS[bug]()
    return worker.main()


if __name__ == "__main__":
    assert handlers  # their import fills HANDLERS
    sys.exit(main())
