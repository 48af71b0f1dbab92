"""Bugs that a server must not have, each as a patch of the worker that it runs in: can the suite find them?

A bug is a function that builds itself in, named by what it does. Its docstring says what it would be in a review.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec

from echo_ws.broker import RedisBroker
from echo_ws.connection import Connection
from echo_ws.dispatch import HANDLERS, Context
from echo_ws.errors import Busy
from echo_ws.events import Told, utc
from echo_ws.feed import Feed
from echo_ws.hub import Topic
from echo_ws.sessions import Sessions
from echo_ws.stream import Stream
from echo_ws.writer import Writer
from echo_ws_db import changes, messages
from echo_ws_db.changes import ChangeRow
from echo_ws_db.messages import NewMessage, SendRow
from echo_ws_db.pool import Store
from echo_ws_db.rows import Refused
from echo_ws_protocol.commands import MessageEdit, MessageSend, SessionResume
from echo_ws_protocol.events import Member, Message
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Done, MessageSent, Reply

Bug = Callable[[], None]

BUGS: dict[str, Bug] = {}

_tasks: set[asyncio.Task[Any]] = set()


def bug(build_in: Bug) -> Bug:
    BUGS[build_in.__name__] = build_in
    return build_in


async def published(ctx: Context) -> None:
    """Return when what this worker published has most likely gone out."""
    broker = ctx.services.feed._broker
    assert isinstance(broker, RedisBroker)
    while broker.queued:  # noqa: ASYNC110  # a queue does not call back
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)


def _every(count: int) -> Callable[[], bool]:
    """Return what is true once in ``count`` calls."""
    numbers = itertools.count(1)
    return lambda: next(numbers) % count == 0


def replace(owner: object, name: str, by: object) -> None:
    """Put something in the place of a function or method, which need not keep what its type promises."""
    setattr(owner, name, by)


def _later(work: Any) -> None:
    task = asyncio.ensure_future(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


# -- the write path


@bug
def acknowledge_before_commit() -> None:
    """Answer when the statement has run, and commit a little later: fewer waits."""

    store = messages.send

    async def send(db: Store, batch: Sequence[NewMessage], *, tracked_members: int, wait: bool) -> list[SendRow]:
        connection = await db._pool.acquire()
        transaction = connection.transaction()
        await transaction.start()
        rows = await store(cast("Any", connection), batch, tracked_members=tracked_members, wait=wait)

        async def commit() -> None:
            await asyncio.sleep(0.2)
            await transaction.commit()
            await db._pool.release(connection)

        _later(commit())
        return rows

    replace(messages, "send", send)


@bug
def publish_before_commit() -> None:
    """Tell everybody first, then commit; and the commit may fail."""
    fails = _every(10)

    async def send(ctx: Context, command: MessageSend) -> MessageSent:
        new = NewMessage(command.message, command.conversation, ctx.user, command.content, command.reply_to)
        async with ctx.db._pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            (row,) = await messages.send(cast("Any", connection), [new], tracked_members=32, wait=True)
            if row.outcome == "ok" and row.seq and row.created_at:
                sent = MessageSent(row.seq, utc(row.created_at))
                if row.rev:
                    ctx.publish(Told(_message(ctx, command, sent, row.rev)))
                if not (row.is_new and fails()):
                    await transaction.commit()
                    return sent
            await transaction.rollback()
        raise Busy if row.outcome == "ok" else Refused(row.outcome)  # type: ignore[arg-type]  # one of its outcomes

    HANDLERS[MessageSend] = send


def _message(ctx: Context, command: MessageSend, sent: MessageSent, rev: int) -> Message:
    return Message(
        conversation=command.conversation,
        message=command.message,
        seq=sent.seq,
        rev=rev,
        sender=ctx.user,
        type="text",
        content=command.content,
        created_at=sent.created_at,
        reply_to=command.reply_to,
    )


@bug
def store_a_repeated_send_again() -> None:
    """Make the id on the server: a repeated send gets a new one, and a new seq."""
    store, seen = Writer.send, set[UUID]()

    async def send(writer: Writer, message: NewMessage) -> SendRow:
        if message.id in seen:
            message = message._replace(id=uuid7())
        seen.add(message.id)
        return await store(writer, message)

    replace(Writer, "send", send)


@bug
def say_retry_for_what_is_stored() -> None:
    """Take a slow commit for a failed one."""
    store, is_slow = Writer.send, _every(10)

    async def send(writer: Writer, message: NewMessage) -> SendRow:
        row = await store(writer, message)
        if is_slow():
            raise Busy
        return row

    replace(Writer, "send", send)


@bug
def answer_with_the_next_seq() -> None:
    """Read the counter again instead of taking the seq that the statement returned."""
    store, is_late = Writer.send, _every(10)

    async def send(writer: Writer, message: NewMessage) -> SendRow:
        row = await store(writer, message)
        return row._replace(seq=(row.seq or 0) + 1) if is_late() else row

    replace(Writer, "send", send)


@bug
def acknowledge_an_edit_and_forget_it() -> None:
    """Queue edits for later, and lose one in five."""
    store, loses = HANDLERS[MessageEdit], _every(5)

    async def edit(ctx: Context, command: MessageEdit) -> Any:
        return Done() if loses() else await store(ctx, command)

    HANDLERS[MessageEdit] = edit


@bug
def tell_what_an_edited_message_was() -> None:
    """Publish from a cache that has not heard of the edit."""
    publish, is_stale = Context.publish, _every(3)

    def publish_stale(ctx: Context, told: Told[Any]) -> None:
        if isinstance(told.event, Message) and told.event.edited and is_stale():
            told = told._replace(event=msgspec.structs.replace(told.event, edited=False))
        publish(ctx, told)

    replace(Context, "publish", publish_stale)


# -- streams and catching up


@bug
def catch_up_by_created_at() -> None:
    """Ask for what was created after the newest known message: an edit of an older one is never found."""
    read = changes.of_conversation
    newest = "SELECT max(created_at) FROM messages.messages WHERE conversation_id = $1 AND rev <= $2"

    async def of_conversation(db: Store, conversation: UUID, above_rev: int, limit: int) -> list[ChangeRow]:
        cursor = await db.fetchval(newest, conversation, above_rev)
        return [row for row in await read(db, conversation, above_rev, limit) if _is_after(row, cursor)]

    replace(changes, "of_conversation", of_conversation)


def _is_after(row: ChangeRow, cursor: Any) -> bool:
    if row.kind != "message" or row.body is None or cursor is None:
        return True
    return bool(msgspec.json.decode(row.body)["created_at"] > cursor.isoformat())


@bug
def ignore_a_resubscription() -> None:
    """A new subscription starts from now; nobody looks what came before. (And no sweep, which would find it.)"""
    replace(Feed, "_resync", _nothing)


@bug
def never_sweep() -> None:
    """Trust that a hole will show by itself."""

    async def sweep(_: Feed) -> None:
        await asyncio.Event().wait()

    replace(Feed, "_sweep", sweep)


@bug
def tell_held_changes_twice() -> None:
    """Release what was held, and forget to forget it."""
    release = Stream._release

    def release_twice(stream: Stream[Any]) -> list[Any]:
        return [change for change in release(stream) for _ in range(2)]

    replace(Stream, "_release", release_twice)


@bug
def ignore_holes() -> None:
    """Tell whatever comes when it comes."""

    def offer(stream: Stream[Any], rev: int, change: Any) -> list[Any]:
        stream.rev = stream.known = max(stream.rev, rev)
        return [change]

    replace(Stream, "offer", offer)


@bug
def drop_one_in_a_hundred() -> None:
    """Of a hundred deliveries one is lost between two buffers."""
    write, loses = Connection.write, _every(100)

    def lossy(connection: Connection, wire: bytes) -> None:
        if not (_tells_a_message(wire) and loses()):
            write(connection, wire)

    replace(Connection, "write", lossy)


@bug
def tell_one_in_a_hundred_twice() -> None:
    """Of a hundred deliveries one is written again: it looked as if it had failed."""
    write, repeats = Connection.write, _every(100)

    def write_some_twice(connection: Connection, wire: bytes) -> None:
        write(connection, wire)
        if _tells_a_message(wire) and repeats():
            write(connection, wire)

    replace(Connection, "write", write_some_twice)


@bug
def swap_two_now_and_then() -> None:
    """What one listener is told goes through two queues, and one of them is slower."""
    write, is_slow, late = Connection.write, _every(50), dict[Connection, bytes]()

    def write_late(connection: Connection) -> None:
        if wire := late.pop(connection, None):
            write(connection, wire)

    def write_in_any_order(connection: Connection, wire: bytes) -> None:
        if _tells_a_message(wire) and connection not in late and is_slow():
            late[connection] = wire
            asyncio.get_running_loop().call_later(0.1, write_late, connection)
            return
        write(connection, wire)
        if _tells_a_message(wire):
            write_late(connection)

    replace(Connection, "write", write_in_any_order)


def _tells_a_message(wire: bytes) -> bool:
    return b'"op":"message"' in wire[:40]


# -- who hears what


@bug
def never_remove_a_member() -> None:
    """Who may hear is decided when a device connects."""

    def follow(_: Feed, __: Topic, ___: Member) -> None:
        return None

    replace(Feed, "_follow_member", follow)


@bug
def forget_a_revocation() -> None:
    """A session is checked when it opens, and that is that."""
    replace(Sessions, "_end", _nothing)


# -- coming back


@bug
def resume_before_attaching() -> None:
    """Read what was missed, attach then: what is committed in between is heard by nobody."""
    read, attach = HANDLERS[SessionResume], Feed.attach

    async def resume(ctx: Context, command: SessionResume) -> Any:
        answer = await read(ctx, command)
        await asyncio.sleep(0.1)
        if ctx.listener:
            await attach(ctx.services.feed, ctx.listener)
        return answer

    async def attach_later(*_: Any) -> None:
        return None

    replace(Feed, "attach", attach_later)
    HANDLERS[SessionResume] = resume


@bug
def tell_while_answering_a_resume() -> None:
    """Events overtake the answer that they continue, and the client takes them for what the answer holds."""
    read = HANDLERS[SessionResume]

    async def resume(ctx: Context, command: SessionResume) -> Any:
        answer = await read(ctx, command)
        await asyncio.sleep(0.1)
        return answer

    replace(Connection, "hold", _nothing)
    replace(Connection, "release", _nothing)
    HANDLERS[SessionResume] = resume


@bug
def resume_with_one_page() -> None:
    """Answer with the first page, and call it all."""
    read = HANDLERS[SessionResume]

    async def resume(ctx: Context, command: SessionResume) -> Any:
        answer = await read(ctx, command)
        return msgspec.structs.replace(
            answer, conversations=[msgspec.structs.replace(page, more=False) for page in answer.conversations]
        )

    HANDLERS[SessionResume] = resume


# -- connections


@bug
def close_without_a_code() -> None:
    """Drop a connection when something is odd about it."""
    send, is_odd = Connection.send, _every(100)

    def send_or_drop(connection: Connection, frame: Any) -> None:
        if is_odd():
            connection.abort()
        else:
            send(connection, frame)

    replace(Connection, "send", send_or_drop)


@bug
def swallow_a_reply() -> None:
    """Lose one reply in fifty."""
    send, swallows = Connection.send, _every(50)

    def send_some(connection: Connection, frame: Any) -> None:
        if not (isinstance(frame, Reply) and swallows()):
            send(connection, frame)

    replace(Connection, "send", send_some)


def _nothing(*_: Any) -> None:
    return None
