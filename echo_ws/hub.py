"""Who hears what, on this node.

A *channel* is a counter that people listen to: a conversation's, or a user's own. While anybody connected to this node
listens to one, the node keeps a ``Topic`` for it: the stream that puts its changes in order, and the listeners. Who
hears a conversation changes only by a member change applied in rev order (and by connections that come and go).
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from echo_ws_protocol.codec import JSON, Codec

from .frame import Frame
from .stream import Stream


class Channel(NamedTuple):
    """A conversation (``c``) or a user (``u``)."""

    kind: Literal["c", "u"]
    id: UUID


class Listener(Protocol):
    """A connection, as far as the hub is concerned."""

    codec: Codec

    @property
    def user(self) -> UUID: ...

    @property
    def is_closed(self) -> bool: ...

    def write(self, wire: bytes, /) -> None:
        """Send a durable event."""

    def mention(self, wire: bytes, key: object, /) -> None:
        """Send a momentary event, unless the client reads too slowly: then the last one with this key, or None."""

    def hold(self) -> None:
        """Keep events back until the reply that is about to be given has been sent."""

    def renewed(self) -> None:
        """Mind that the session's token ends at another time."""


class Kind(IntEnum):
    """What a change is about, without looking into its frame."""

    POKE = 0
    """Something changed; ask the database."""
    MESSAGE = 1
    CONVERSATION = 2
    MEMBER = 3
    OWN = 4
    """What concerns one user alone."""
    MOMENTARY = 5
    """Typing, a new device: no rev, may be lost."""
    STATE = 6
    """A receipt: no rev, only the last one of each actor counts, and the actor's own devices are told as well."""


class Apart(NamedTuple):
    """Who is told something else than all the others: ``frame``, or nothing."""

    users: frozenset[UUID]
    frame: Frame | None


class Change(NamedTuple):
    """Something that listeners are told: durable with a rev above 0, or momentary."""

    rev: int
    kind: Kind
    frame: Frame
    actor: UUID | None = None
    """Who did it, of a change without rev: not told of what is momentary."""
    apart: Apart | None = None
    only_to: UUID | None = None
    """Who alone is told."""
    seq: int = 0
    """Of a message: its place."""

    def frame_for(self, user: UUID, floor: int = 0) -> Frame | None:
        """Return what one is told who reads messages above ``floor``: the one place where an event meets a viewer."""
        if 0 < self.seq <= floor or (self.only_to and user != self.only_to):
            return None
        return self.apart.frame if self.apart and user in self.apart.users else self.frame


@dataclass(slots=True, eq=False)
class Topic:
    """A channel that somebody on this node listens to."""

    channel: Channel
    stream: Stream[Change]
    members_rev: int
    """Who takes part may have changed in this rev; what was read before may be wrong about it."""
    listeners: dict[Listener, int] = field(default_factory=dict)
    """Each listener, and the rev up to which it needs nothing from here."""
    floors: dict[Listener, int] | None = None
    """Those who may not read everything, and the seq up to which they read nothing."""
    top_floor: int = 0
    """The highest of these."""

    def deliver(self, change: Change) -> int:
        """Write a durable change to everybody who is to hear it; return to how many."""
        if change.apart or 0 < change.seq <= self.top_floor:
            return self._deliver_to_each(change)
        rev, frame, json = change.rev, change.frame, change.frame.json
        heard = 0
        for listener, place in self.listeners.items():  # the hot loop of the server: a write changes nobody's place
            if place < rev:
                listener.write(json if listener.codec is JSON else frame.msgpack)
                heard += 1
        return heard

    def _deliver_to_each(self, change: Change) -> int:
        heard = 0
        floors = self.floors or {}
        for listener, place in self.listeners.items():
            if place < change.rev and (frame := change.frame_for(listener.user, floors.get(listener, 0))):
                listener.write(frame.wire(listener.codec))
                heard += 1
        return heard

    def raise_floor(self, listener: Listener, floor: int) -> None:
        """Let ``listener`` hear nothing more of messages up to ``floor``."""
        if floor:
            if self.floors is None:  # most conversations show everything to everybody: no dict for them
                self.floors = {}
            self.floors[listener] = floor
            self.top_floor = max(self.top_floor, floor)

    def drop(self, listener: Listener) -> bool:
        """Let ``listener`` hear nothing more; return whether it heard anything."""
        if self.floors:
            self.floors.pop(listener, None)
        return self.listeners.pop(listener, None) is not None

    def mention(self, change: Change) -> int:
        """Write a change without rev to everybody whom it is for; return to how many."""
        key = (self.channel, change.actor) if change.kind is Kind.STATE else None
        skipped = change.actor if key is None else None
        heard = 0
        for listener in self.listeners:
            if listener.user != skipped and (frame := change.frame_for(listener.user)):
                listener.mention(frame.wire(listener.codec), key)
                heard += 1
        return heard


class Hub:
    """The topics of this node and who is connected to it."""

    def __init__(self) -> None:
        self.topics: dict[Channel, Topic] = {}
        self._connected: dict[UUID, dict[Listener, list[Channel]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._connected.values()))

    def connections_of(self, user: UUID) -> tuple[Listener, ...]:
        return tuple(self._connected.get(user, ()))

    def is_connected(self, listener: Listener) -> bool:
        return listener in self._connected.get(listener.user, ())

    def is_in(self, listener: Listener, channel: Channel) -> bool:
        topic = self.topics.get(channel)
        return topic is not None and listener in topic.listeners

    def deliver(self, topic: Topic, change: Change) -> int:
        """Write a durable change of a topic to everybody who is to hear it; return to how many."""
        if change.only_to is None:
            return topic.deliver(change)
        heard = 0
        for listener in self.connections_of(change.only_to):  # not by looking at everybody in a large channel
            if topic.listeners.get(listener, change.rev) < change.rev:
                listener.write(change.frame.wire(listener.codec))
                heard += 1
        return heard

    def join(self, listener: Listener, channel: Channel, rev: int, floor: int = 0) -> bool:
        """Let ``listener`` hear what changes above ``rev``, but for messages up to ``floor``.

        Return whether the channel is new to this node.
        """
        topic = self.topics.get(channel)
        is_new = topic is None
        if topic is None:
            topic = self.topics[channel] = Topic(channel, Stream(rev), rev)
        topic.stream.hear_of(rev)
        if listener not in topic.listeners:
            topic.listeners[listener] = rev
            topic.raise_floor(listener, floor)
            self._connected.setdefault(listener.user, {}).setdefault(listener, []).append(channel)
        return is_new

    def leave(self, listener: Listener, channel: Channel) -> bool:
        """Let ``listener`` hear the channel no more; return whether that was the last one."""
        topic = self.topics.get(channel)
        if topic is None or not topic.drop(listener):
            return False
        self._connected[listener.user][listener].remove(channel)
        return self._close_if_empty(topic)

    def disconnect(self, listener: Listener) -> list[Channel]:
        """Forget a listener; return the channels that nobody on this node hears any more."""
        connections = self._connected.get(listener.user, {})
        left = [self.topics[channel] for channel in connections.pop(listener, ())]
        if not connections:
            self._connected.pop(listener.user, None)
        for topic in left:
            topic.drop(listener)
        return [topic.channel for topic in left if self._close_if_empty(topic)]

    def _close_if_empty(self, topic: Topic) -> bool:
        if topic.listeners:
            return False
        del self.topics[topic.channel]
        return True
