"""Fan-out: this worker's own commits and what others publish go into streams, and what is due to the listeners.

The feed is the shell around the pure ``hub`` and ``stream``: it talks to the broker, reads from the database what a
stream misses (a hole, a fresh subscription, the sweep), and never makes a publisher wait.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from uuid import UUID

from echo_ws_db import changes
from echo_ws_db.changes import ChangeRow
from echo_ws_db.pool import Store, StoreError
from echo_ws_protocol.events import Conversation, Member, Receipt, Session, Typing

from .broker import Broker
from .events import MembershipBody, Thing, Told, events_in, memberships_in, own_changes_in
from .frame import Frame
from .hub import Change, Channel, Hub, Kind, Listener, Topic
from .logs import get_logger
from .metrics import Metrics
from .payload import MOMENTARY, change_of, checked, event_of, mention_of, own_change_of, pack, unpack

log = get_logger(__name__)

PATIENCE_S = 0.05
"""Seconds that a hole may fill by itself before the database is asked: commits of two workers cross on the way."""

PAGE = 200
"""Changes read at once."""

SWEEP_CHUNK = 1000
AT_ONCE = 4
"""Repairs that run at the same time, so that sends are never starved."""


def name_of(channel: Channel) -> str:
    """Return the channel's name in Redis."""
    return f"echo:{channel.kind}:{channel.id}"


class Feed:
    """What the people connected to this worker hear."""

    def __init__(self, store: Store, broker: Broker, hub: Hub, metrics: Metrics, *, sweep_s: float) -> None:
        self._store = store
        self._broker = broker
        self._hub = hub
        self._metrics = metrics
        self._sweep_s = sweep_s
        self._origin = 1 << 63 | secrets.randbits(63)  # no rev gets that high
        self._names: dict[str, Channel] = {}
        self._others: dict[str, Callable[[bytes], None]] = {}
        self._arrivals: dict[Listener, dict[Channel, int]] = {}
        """Conversations that a connection is being let into, each from the rev of the user's arrival on."""
        self._repairing: set[Channel] = set()
        self._stale: dict[Channel, None] = {}
        self._stale_arrived = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._broker.start(self._hear, self._resync)
        self._spawn(self._sweep())
        self._spawn(self._check_stale())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._broker.close()

    def listen(self, name: str, hear: Callable[[bytes], None]) -> None:
        """Call ``hear`` with what is published on a channel of Redis that is neither a conversation nor a user."""
        self._others[name] = hear
        self._broker.subscribe(name)

    def unlisten(self, name: str) -> None:
        if self._others.pop(name, None):
            self._broker.unsubscribe(name)

    def say(self, name: str, payload: bytes) -> None:
        """Publish to those who ``listen`` on other workers."""
        self._broker.publish(name, payload)

    # -- who hears

    async def attach(self, listener: Listener) -> None:
        """Let a connection hear its user's conversations: whatever is committed from now on reaches it.

        Attached already: nothing changes.
        """
        if self._hub.is_connected(listener):
            return
        places = await self._places_of(listener.user)
        while any(self._may_be_outdated(channel, rev) for channel, rev, _ in places):
            places = await self._places_of(listener.user)
        if listener.is_closed:  # it went while the database was asked
            return
        for channel, rev, floor in places:
            self._join(listener, channel, rev, floor)

    async def _places_of(self, user: UUID) -> list[tuple[Channel, int, int]]:
        rows = await changes.places(self._store, user)
        return [
            (
                Channel("c", row.conversation_id) if row.conversation_id else Channel("u", user),
                row.last_rev,
                row.joined_seq,
            )
            for row in rows
        ]

    def _may_be_outdated(self, channel: Channel, rev: int) -> bool:
        """Tell whether this node knows of a later change of membership than somebody who has read at ``rev``."""
        topic = self._hub.topics.get(channel)
        return topic is not None and topic.members_rev > rev

    def detach(self, listener: Listener) -> None:
        for channel in self._hub.disconnect(listener):
            self._unsubscribe(channel)
        self._arrivals.pop(listener, None)

    def _join(self, listener: Listener, channel: Channel, rev: int, floor: int) -> None:
        if self._hub.join(listener, channel, rev, floor):
            name = name_of(channel)
            self._names[name] = channel
            self._broker.subscribe(name)
        if (topic := self._hub.topics[channel]).stream.is_behind:
            self._repair_soon(topic)

    def _leave(self, listener: Listener, channel: Channel) -> None:
        if self._hub.leave(listener, channel):
            self._unsubscribe(channel)

    def _unsubscribe(self, channel: Channel) -> None:
        name = name_of(channel)
        self._names.pop(name, None)
        self._broker.unsubscribe(name)

    # -- what is said

    def publish(self, told: Told[Thing]) -> None:
        """Tell everybody in the conversation of a committed change: here at once, elsewhere by the broker."""
        self._publish(Channel("c", told.event.conversation), change_of(told))

    def mention(
        self, event: Receipt | Typing, kept_from: Collection[UUID] = (), *, instead: Receipt | Typing | None = None
    ) -> None:
        """Tell the others in the conversation something momentary, but some something else or nothing."""
        self._publish(Channel("c", event.conversation), mention_of(event, kept_from, instead))

    def tell(self, user: UUID, event: Session | Receipt) -> None:
        """Tell a user's connections something momentary."""
        self._publish(Channel("u", user), mention_of(event))

    def poke(self, channel: Channel) -> None:
        """Let every worker ask the database what changed in a channel."""
        self._publish(channel, Change(0, Kind.POKE, Frame(b"")))

    def _publish(self, channel: Channel, change: Change) -> None:
        self._take(channel, change)
        payload = pack(change if change.rev else change._replace(rev=self._origin))
        had_room = self._broker.publish(name_of(channel), payload)
        self._metrics.count("published", "queued" if had_room else "dropped")

    def _hear(self, name: str, payload: bytes) -> None:
        channel = self._names.get(name)
        if channel is None:
            if hear := self._others.get(name):
                hear(payload)
            return
        try:
            change = unpack(payload)
            if change.rev != self._origin and self._is_news(channel, change):
                self._take(channel, checked(change))
        except ValueError:
            log.warning("payload_broken", channel=name, size=len(payload))

    def _is_news(self, channel: Channel, change: Change) -> bool:
        """Whether it was not heard before: what this worker has said itself comes back, too."""
        topic = self._hub.topics.get(channel)
        return topic is not None and change.rev > topic.stream.rev

    def _take(self, channel: Channel, change: Change) -> None:
        topic = self._hub.topics.get(channel)
        if topic is None:
            return
        if change.kind in MOMENTARY:
            self._metrics.fanout(topic.mention(change))
        elif change.kind is Kind.POKE:
            self._recheck((channel,))
        else:
            was_behind = topic.stream.is_behind
            self._deliver(topic, topic.stream.offer(change.rev, change))
            if topic.stream.is_behind and not was_behind:
                self._repair_soon(topic)

    def _deliver(self, topic: Topic, due: Iterable[Change]) -> None:
        for change in due:
            self._metrics.fanout(self._hub.deliver(topic, change))
            if change.kind is Kind.MEMBER:
                topic.members_rev = change.rev
                self._follow_member(topic, event_of(change, Member))
            elif change.kind is Kind.CONVERSATION and event_of(change, Conversation).deleted:
                self._close(topic)

    def _follow_member(self, topic: Topic, member: Member) -> None:
        """Let one who left hear no more; one who came is let in by the user's own channel, which tells him first."""
        self._recheck((Channel("u", member.user),))
        for listener in self._hub.connections_of(member.user) if member.left else ():
            self._leave(listener, topic.channel)
            self._turn_back(listener, topic.channel, member.rev)

    def _close(self, topic: Topic) -> None:
        """Nobody hears a conversation that is gone."""
        for listener in tuple(topic.listeners):
            self._leave(listener, topic.channel)

    def _turn_back(self, listener: Listener, channel: Channel, rev: int) -> None:
        """Let nobody in who arrived before ``rev``: whoever comes back later arrives anew."""
        arrivals = self._arrivals.get(listener, {})
        if arrivals.get(channel, rev) < rev:
            del arrivals[channel]

    # -- what was missed

    def _resync(self, names: Iterable[str]) -> None:
        """Look where these channels stand: what was said before they were subscribed may have been missed."""
        self._recheck(channel for name in names if (channel := self._names.get(name)))

    def _recheck(self, channels: Iterable[Channel]) -> None:
        self._stale.update(dict.fromkeys(channels))
        self._stale_arrived.set()

    async def _check_stale(self) -> None:
        """Look where stale channels stand, many in one query."""
        while True:
            await self._stale_arrived.wait()
            self._stale_arrived.clear()
            stale, self._stale = self._stale, {}
            await self._look(tuple(stale))

    async def _sweep(self) -> None:
        """Look where all channels stand, every now and then: pub/sub drops without a word."""
        while True:
            await asyncio.sleep(self._sweep_s * random.uniform(0.9, 1.1))  # noqa: S311  # so that workers do not beat in time
            await self._look(tuple(self._hub.topics))

    async def _look(self, channels: Sequence[Channel]) -> None:
        try:
            await self._compare_all(channels)
        except StoreError as error:
            log.warning("sweep_failed", error=str(error))
        except Exception:  # a sweep that ended would never be noticed
            log.exception("sweep_failed")
            self._metrics.count("errors", "sweep")

    async def _compare_all(self, channels: Sequence[Channel]) -> None:
        for kind, heads in (("c", changes.conversation_heads), ("u", changes.user_heads)):
            some = [channel for channel in channels if channel.kind == kind]
            for start in range(0, len(some), SWEEP_CHUNK):
                chunk = some[start : start + SWEEP_CHUNK]
                self._compare(chunk, dict(await heads(self._store, [channel.id for channel in chunk])))

    def _compare(self, channels: Iterable[Channel], heads: dict[UUID, int]) -> None:
        """Repair what is behind; a conversation without a head has been deleted, row and all."""
        for channel in channels:
            topic = self._hub.topics.get(channel)
            if topic is None:
                continue
            if channel.id in heads:
                topic.stream.hear_of(heads[channel.id])
                self._repair_if_behind(topic)
            elif channel.kind == "c":
                self._close(topic)

    def _repair_soon(self, topic: Topic) -> None:
        """Let what is missing arrive by itself, or ask the database in a moment."""
        asyncio.get_running_loop().call_later(PATIENCE_S, self._repair_if_behind, topic)

    def _repair_if_behind(self, topic: Topic) -> None:
        if topic.stream.is_behind and topic.channel not in self._repairing and topic.channel in self._hub.topics:
            self._repairing.add(topic.channel)
            self._spawn(self._repair(topic))

    async def _repair(self, topic: Topic) -> None:
        """Read what a stream misses, until it is no longer behind."""
        catch_up = self._catch_up_conversation if topic.channel.kind == "c" else self._catch_up_user
        try:
            async with self._places:
                while topic.stream.is_behind and topic.listeners:
                    await catch_up(topic)
        except StoreError as error:
            log.warning("repair_failed", channel=name_of(topic.channel), error=str(error))  # the sweep tries again
        except Exception:
            log.exception("repair_failed", channel=name_of(topic.channel))
            self._metrics.count("errors", "repair")
        finally:
            self._repairing.discard(topic.channel)

    async def _catch_up_conversation(self, topic: Topic) -> None:
        rows = await changes.of_conversation(self._store, topic.channel.id, topic.stream.rev, PAGE)
        if not rows:
            self._close(topic)
            return
        found, up_to = changes_in(rows)
        self._metrics.count("repaired", "conversation")
        self._deliver(topic, topic.stream.fill(found, up_to))

    async def _catch_up_user(self, topic: Topic) -> None:
        rows = await changes.of_user(self._store, topic.channel.id, topic.stream.rev, PAGE)
        if not rows:
            self._close(topic)
            return
        applied = topic.stream.rev
        found = own_changes_in(rows)
        up_to = found[-1].rev if len(rows) == PAGE else rows[0].last_rev
        due = topic.stream.fill([(event.rev, own_change_of(event)) for event in found], up_to)
        topic.members_rev = topic.stream.rev
        for change in due:
            self._metrics.fanout(topic.deliver(change))
        for membership in memberships_in(rows):
            if membership.user_rev > applied:
                self._follow_membership(topic, membership)

    def _follow_membership(self, topic: Topic, membership: MembershipBody) -> None:
        channel, since, floor = Channel("c", membership.conversation_id), membership.since_rev, membership.joined_seq
        for listener in topic.listeners:
            if membership.left:
                self._turn_back(listener, channel, since)
                continue
            if self._hub.is_in(listener, channel):
                self._hub.topics[channel].raise_floor(listener, floor)
            self._let_in(listener, channel, since, floor)

    def _let_in(self, listener: Listener, channel: Channel, since: int, floor: int) -> None:
        arrivals = self._arrivals.setdefault(listener, {})
        if channel not in arrivals:
            arrivals[channel] = since
            self._spawn(self._enter(listener, channel, since, floor))

    async def _enter(self, listener: Listener, channel: Channel, since: int, floor: int) -> None:
        """Let a connection hear a conversation from its user's arrival on, however long that took to reach this node.

        What has changed since is read from the database and written first, until nothing is missing that this node has
        told the others already.
        """
        rev = since
        while self._is_arriving(listener, channel, since):
            try:
                await self._reach(channel, since)
                if self._hub.is_in(listener, channel):
                    break
                rows = await changes.of_conversation(self._store, channel.id, rev, PAGE)
            except StoreError as error:
                log.warning("entering_failed", channel=name_of(channel), error=str(error))
                await asyncio.sleep(self._sweep_s)
                continue
            if not rows or not self._is_arriving(listener, channel, since):
                break
            found, rev = changes_in(rows)
            if _tell(listener, found, floor):
                break
            topic = self._hub.topics.get(channel)
            if len(rows) < PAGE and (topic is None or topic.stream.rev <= rev):
                self._join(listener, channel, rev, floor)
                break
        if self._is_arriving(listener, channel, since):
            del self._arrivals[listener][channel]

    def _is_arriving(self, listener: Listener, channel: Channel, since: int) -> bool:
        return self._arrivals.get(listener, {}).get(channel) == since

    async def _reach(self, channel: Channel, rev: int) -> None:
        """Bring this node's stream up to an arrival, past the departure of one who comes back."""
        topic = self._hub.topics.get(channel)
        while topic and topic.listeners and topic.stream.rev < rev:
            await self._catch_up_conversation(topic)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _tell(listener: Listener, found: Sequence[tuple[int, Change]], floor: int) -> bool:
    """Write changes up to the one with which the conversation ends for the listener; return whether there is one."""
    for _, change in found:
        if frame := change.frame_for(listener.user, floor):
            listener.write(frame.wire(listener.codec))
        if _ends(change, listener.user):
            return True
    return False


def _ends(change: Change, user: UUID) -> bool:
    """Tell whether a conversation ends with this change, for one user or for all."""
    if change.kind is Kind.CONVERSATION:
        return event_of(change, Conversation).deleted
    if change.kind is not Kind.MEMBER:
        return False
    member = event_of(change, Member)
    return member.user == user and member.left


def changes_in(rows: Sequence[ChangeRow]) -> tuple[list[tuple[int, Change]], int]:
    """Return the changes of a page, and the rev up to which it is complete."""
    changed, up_to = events_in(rows, PAGE)
    return [(told.event.rev, change_of(told)) for told in changed], up_to
