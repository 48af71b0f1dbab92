"""What bots do: read from TOML, or from the attributes of a Python class.

A scenario has *crowds*. The bots of a crowd are put into conversations of one type and size; together they act so many
times a second, whatever the answers take (an open loop), each act one of the crowd's ``mix``.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct, field

Act: TypeAlias = Literal["send", "edit", "delete", "react", "type", "read", "history"]
Behaviour: TypeAlias = Literal["good", "flood", "slow", "garbage"]

SCENARIOS = Path(__file__).parent / "scenarios"
"""Those that are ready-made."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Range: TypeAlias = tuple[float, float]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Weight: TypeAlias = Annotated[float, Meta(ge=0)]


class ScenarioError(Exception):
    """A scenario that cannot be run; one line says why."""


class Drop(Struct, forbid_unknown_fields=True):
    """Each bot loses its connection every ``every`` seconds, and comes back after ``away`` seconds."""

    every: Range
    away: Range = (0, 0)


class Crowd(Struct, forbid_unknown_fields=True):
    """Bots that are alike."""

    talk: Literal["direct", "group", "channel", "none"] = "direct"
    size: Annotated[int, Meta(ge=2, le=1001)] = 2
    """Participants of each conversation. In a channel one of them sends."""
    share: Weight = 1.0
    """Of the users."""
    rate: Weight = 0.0
    """Acts a second, of the whole crowd in all processes …"""
    every: Weight = 0.0
    """… or seconds between two acts of one bot."""
    mix: dict[Act, Weight] = field(default_factory=lambda: {"send": 1.0})
    bytes: tuple[Positive, Annotated[int, Meta(le=4096)]] = (40, 200)
    """Of a message's text: from, to."""
    drop: Drop | None = None
    storm: Weight = 0.0
    """Seconds between two losses of all connections at once; 0: none."""
    behaviour: Behaviour = "good"
    """``flood`` does not wait when it is told to, ``slow`` says something and then reads nothing for a while,
    ``garbage`` sends what is no command."""
    may_close: list[int] = field(default_factory=list)
    """Close codes that are no fault of the server here. 1001 and 4000, a drain, never are."""


class Stage(Struct, forbid_unknown_fields=True, rename={"for_": "for"}):
    """For a while, everything at so many times its rate."""

    for_: str
    rate: Weight = 1.0


class Scenario(Struct, forbid_unknown_fields=True, rename={"for_": "for"}):
    """A whole run, as its file says; options of the command line come before it."""

    name: str = ""
    about: str = ""
    users: Positive = 100
    ramp: str = "200/s"
    for_: str = "1m"
    crowd: list[Crowd] = field(default_factory=list)
    stage: list[Stage] = field(default_factory=list)
    """One after the other; the last one goes on to the end."""
    thresholds: list[str] = field(default_factory=list)
    """Such as ``send_to_ack p99 < 100 ms``; that nothing is lost, doubled, … is always one."""

    @property
    def seconds(self) -> float:
        return duration_s(self.for_)

    @property
    def ramp_per_s(self) -> float:
        return float(self.ramp.removesuffix("/s"))

    def pace(self, elapsed_s: float) -> float:
        """Return by how much rates are multiplied now."""
        pace = 1.0
        for stage in self.stage:
            pace = stage.rate
            if elapsed_s < (seconds := duration_s(stage.for_)):
                break
            elapsed_s -= seconds
        return pace


def duration_s(text: str) -> float:
    """Return the seconds of ``90s``, ``1m30s``, ``500ms``."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ScenarioError(f"{text!r} is no duration such as 90s, 5m or 1m30s")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def load(name: str) -> Scenario:
    """Return a scenario by its file, or by its name if it is ready-made."""
    path = Path(name)
    if not path.suffix:
        path = SCENARIOS / f"{name}.toml"
    try:
        scenario = msgspec.convert(tomllib.loads(path.read_text()), Scenario)
    except FileNotFoundError:
        raise ScenarioError(f"there is no scenario {name}; ready-made ones: {', '.join(ready_made())}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    return check(msgspec.structs.replace(scenario, name=scenario.name or path.stem))


def ready_made() -> list[str]:
    return sorted(path.stem for path in SCENARIOS.glob("*.toml"))


def check(scenario: Scenario) -> Scenario:
    """Return a scenario that can be run, or raise ``ScenarioError``."""
    from .thresholds import parsed  # noqa: PLC0415 - it reads our errors

    if not scenario.crowd:
        raise ScenarioError("a scenario needs a [[crowd]]")
    if not re.fullmatch(r"\d+(\.\d+)?/s", scenario.ramp) or not scenario.ramp_per_s:
        raise ScenarioError(f"{scenario.ramp!r} is no ramp such as 200/s")
    for text in (scenario.for_, *(stage.for_ for stage in scenario.stage)):
        if not duration_s(text):
            raise ScenarioError(f"{text!r} is no time at all")
    for crowd in scenario.crowd:
        _check_crowd(crowd)
    for threshold in scenario.thresholds:
        parsed(threshold)
    return scenario


def _check_crowd(crowd: Crowd) -> None:
    acts = crowd.rate or crowd.every
    if crowd.rate and crowd.every:
        raise ScenarioError("a crowd has a rate, or acts every so often, and not both")
    if acts and not sum(crowd.mix.values()):
        raise ScenarioError("a mix needs an act that is not 0, such as mix = { send = 1 }")
    if acts and crowd.talk == "none" and crowd.behaviour in {"good", "flood"}:
        raise ScenarioError("a crowd that has a rate, or acts every so often, needs conversations: talk is none")
    ranges = {"bytes": crowd.bytes} | ({"every": crowd.drop.every, "away": crowd.drop.away} if crowd.drop else {})
    for name, (least, most) in ranges.items():
        if not 0 <= least <= most or not (most or name == "away"):
            raise ScenarioError(f"{name} = [{least:g}, {most:g}] is no range: from, to")
