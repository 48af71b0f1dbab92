"""What a run found out: the same for one process, for all of them, and in the report."""

from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct, field

from .histogram import Histogram

Latency: TypeAlias = Literal["connect", "send_to_ack", "send_to_deliver", "reconnect", "resume", "command"]
"""``send_…`` and ``command`` (all others) count from when it was meant to be sent; ``reconnect`` from the loss of a
connection to the hello of the next one, ``resume`` from there to the last answer."""


class Verdict(Struct):
    """What went wrong, counted over every message and connection. All zero: the server kept its word."""

    lost: int = 0
    """Deliveries that never came: a message that a bot takes part in and has not heard, not even by resuming."""
    doubled: int = 0
    """Events that came twice."""
    out_of_order: int = 0
    """Live messages, edits and the like that came after a later one of the same conversation."""
    changed: int = 0
    """Messages that are not what was sent: another text, or another place than the one that was acknowledged."""
    unanswered: int = 0
    """Commands without a reply, though their bot stayed, or came back and asked again."""
    closed: int = 0
    """Connections that ended and were not to end, neither by the bot nor by a code that the scenario expects; and bots
    that could not come back."""

    @property
    def is_clean(self) -> bool:
        return not any((self.lost, self.doubled, self.out_of_order, self.changed, self.unanswered, self.closed))


class Second(Struct):
    """What happened in one second of a run."""

    connected: int = 0
    """Connections at its end."""
    meant: int = 0
    """Messages that were to be sent in it …"""
    sent: int = 0
    """… and that were."""
    acked: int = 0
    delivered: int = 0
    refused: int = 0
    """Replies that are errors."""
    closed: int = 0
    """Connections that ended, wanted or not."""
    send_to_ack: Histogram = field(default_factory=Histogram)
    send_to_deliver: Histogram = field(default_factory=Histogram)


class Swarm(Struct):
    """What one process of bots found out, or several together."""

    verdict: Verdict = field(default_factory=Verdict)
    latencies: dict[str, Histogram] = field(default_factory=dict)
    """By ``Latency``."""
    counts: dict[str, int] = field(default_factory=dict)
    """``sent``, ``acked``, ``delivered``, ``resent``, ``connections``, ``reconnects``, ``resumes``, ``resets``, …

    Acts for which nobody was there are ``left_out``. What belongs to bots that misbehave on purpose is only here:
    ``abuse``, ``abuse_answered``, ``abuse_refused``, …
    """
    refusals: dict[str, int] = field(default_factory=dict)
    """Replies that are errors, by code."""
    closes: dict[str, int] = field(default_factory=dict)
    """Connections that the other side ended, by close code; ``handshake`` counts refused handshakes."""
    examples: list[str] = field(default_factory=list)
    """A few of the anomalies in words, for whoever looks for their cause."""
    timeline: list[Second] = field(default_factory=list)
    """From the first connection on."""
    users: int = 0
    cpu_s: float = 0.0
    lag_s: float = 0.0
    """How late the loop of a bot process was at worst: what is measured may be wrong by so much."""
    memory_bytes: int = 0
    """What the bots added to the process, at the peak."""


class Sample(Struct):
    """The server at one moment of a run. None: not known."""

    at: float
    """Seconds since the first connection."""
    connections: int | None = None
    loop_lag_s: float | None = None
    writer_queue: int | None = None
    redis_queue: int | None = None
    cpu: dict[str, float] = field(default_factory=dict)
    """Cores in use since the sample before, by ``workers``, ``postgres``, ``redis``."""
    memory_bytes: dict[str, int] = field(default_factory=dict)


class Judgement(Struct):
    """One threshold, and whether it was kept."""

    threshold: str
    """As in the scenario: ``send_to_ack p99 < 100 ms``."""
    measured: str
    is_kept: bool


class Report(Struct):
    """A whole run."""

    scenario: str
    about: str
    began: datetime
    seconds: float
    """From the first connection to the last answer."""
    against: str
    """The server's URL, without secrets."""
    server: str
    """What the server calls itself."""
    processes: int
    swarm: Swarm
    judgements: list[Judgement]
    samples: list[Sample] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Why the figures are to be taken with care: bots that were too slow themselves."""

    @property
    def has_passed(self) -> bool:
        return all(judgement.is_kept for judgement in self.judgements)
