"""What a run must keep, as k6 knows it: ``send_to_ack p99 < 100 ms``, ``errors < 0.1 %``, ``delivered > 1000 /s``."""

import operator
import re
from collections.abc import Callable
from typing import NamedTuple, get_args

from .results import Judgement, Latency, Swarm, Verdict
from .scenario import ScenarioError

_GRAMMAR = re.compile(r"(\w+)(?: (p\d{1,2}(?:\.\d+)?|mean|max))? (<=|>=|<|>|=) (\d+(?:\.\d+)?) ?(ms|s|%|/s)?")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}
_LATENCIES: tuple[str, ...] = get_args(Latency)
_COUNTS = ("sent", "acked", "delivered", "connections", "reconnects", "resumes", "commands")

ALWAYS = tuple(f"{name} = 0" for name in Verdict.__struct_fields__)


class Threshold(NamedTuple):
    text: str
    name: str
    statistic: str
    compare: str
    limit: float
    unit: str


def parsed(text: str) -> Threshold:
    """Return what a threshold says, or raise ``ScenarioError``."""
    found = _GRAMMAR.fullmatch(text.strip())
    if not found:
        raise ScenarioError(f"{text!r} is no threshold such as 'send_to_ack p99 < 100 ms' or 'errors < 0.1 %'")
    name, statistic, compare, limit, unit = found.groups(default="")
    threshold = Threshold(text, name, statistic, compare, float(limit), unit)
    if name in _LATENCIES and statistic and unit in {"ms", "s"}:
        return threshold
    if name in (*Verdict.__struct_fields__, *_COUNTS, "errors") and not statistic and unit in {"", "/s", "%"}:
        return threshold
    known = ", ".join((*_LATENCIES, *Verdict.__struct_fields__, *_COUNTS, "errors"))
    raise ScenarioError(
        f"{text!r} compares nothing that is measured: times (p99, mean, max in ms or s) and counts of {known}"
    )


def judge(texts: list[str], swarm: Swarm, seconds: float) -> list[Judgement]:
    """Compare what was measured with every threshold; that the verdict is clean is always one."""
    return [_judged(parsed(text), swarm, seconds) for text in (*ALWAYS, *texts)]


def _judged(threshold: Threshold, swarm: Swarm, seconds: float) -> Judgement:
    measured = _measured(threshold, swarm, seconds)
    is_kept = measured is not None and _OPERATORS[threshold.compare](measured, threshold.limit)
    shown = "nothing" if measured is None else f"{measured:,.4g} {threshold.unit}".rstrip()
    return Judgement(threshold.text, shown, is_kept)


def _measured(threshold: Threshold, swarm: Swarm, seconds: float) -> float | None:
    """Return it in the threshold's unit; None if it never happened."""
    name, unit = threshold.name, threshold.unit
    if name in _LATENCIES:
        times = swarm.latencies.get(name)
        if not times or not times.count:
            return None
        statistic = threshold.statistic
        value = {"mean": times.mean, "max": times.most}.get(statistic)
        value = times.percentile(float(statistic[1:])) if value is None else value
        return value * 1000 if unit == "ms" else value
    if name == "errors":
        count = float(sum(swarm.refusals.values()))
    else:
        count = float(getattr(swarm.verdict, name, swarm.counts.get(name, 0)))
    if unit == "/s":
        return count / seconds
    if unit == "%":
        asked = swarm.counts.get("commands", 0)
        return 100 * count / asked if asked else 0.0
    return count
