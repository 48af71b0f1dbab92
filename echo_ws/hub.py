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

    def frame_for(self, user: UUID) -> Frame | None:
        """Return what a user is told: the one place where an event meets a viewer."""
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

    def deliver(self, change: Change) -> int:
        """Write a durable change to everybody who is to hear it; return to how many."""
        if change.apart:
            return self._deliver_apart(change)
        rev, frame, json = change.rev, change.frame, change.frame.json
        heard = 0
        for listener, place in self.listeners.items():  # the hot loop of the server: a write changes nobody's place
            if place < rev:
                listener.write(json if listener.codec is JSON else frame.msgpack)
                heard += 1
        return heard

    def _deliver_apart(self, change: Change) -> int:
        heard = 0
        for listener, place in self.listeners.items():
            if place < change.rev and (frame := change.frame_for(listener.user)):
                listener.write(frame.wire(listener.codec))
                heard += 1
        return heard

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

    def join(self, listener: Listener, channel: Channel, rev: int) -> bool:
        """Let ``listener`` hear what changes above ``rev``; return whether the channel is new to this node."""
        topic = self.topics.get(channel)
        is_new = topic is None
        if topic is None:
            topic = self.topics[channel] = Topic(channel, Stream(rev), rev)
        topic.stream.hear_of(rev)
        if listener not in topic.listeners:
            topic.listeners[listener] = rev
            self._connected.setdefault(listener.user, {}).setdefault(listener, []).append(channel)
        return is_new

    def leave(self, listener: Listener, channel: Channel) -> bool:
        """Let ``listener`` hear the channel no more; return whether that was the last one."""
        topic = self.topics.get(channel)
        if topic is None or topic.listeners.pop(listener, None) is None:
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
            del topic.listeners[listener]
        return [topic.channel for topic in left if self._close_if_empty(topic)]

    def _close_if_empty(self, topic: Topic) -> bool:
        if topic.listeners:
            return False
        del self.topics[topic.channel]
        return True
