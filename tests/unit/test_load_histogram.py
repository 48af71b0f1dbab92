"""Times that are counted in buckets: percentiles, sums, and several processes together."""

import math
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.loadtest.histogram import GROWTH, Histogram, merged

ROUNDING = 1 + 1e-9
times = st.lists(st.floats(1e-6, 1e4), max_size=200)
percents = st.integers(1, 100)


def histogram(seconds: list[float]) -> Histogram:
    made = Histogram()
    for each in seconds:
        made.record(each)
    return made


def nearest_rank(seconds: list[float], percent: int) -> float:
    return sorted(seconds)[-(-len(seconds) * percent // 100) - 1]


@given(times.filter(bool), percents)
def test_a_percentile_is_the_exact_one_or_at_most_two_percent_more(seconds: list[float], percent: int) -> None:
    exact = nearest_rank(seconds, percent)

    told = histogram(seconds).percentile(percent)

    assert exact / ROUNDING <= told <= exact * GROWTH * ROUNDING


@given(times.filter(bool))
def test_the_longest_time_and_the_mean_are_exact(seconds: list[float]) -> None:
    made = histogram(seconds)

    assert max(seconds) == made.most == made.percentile(100)
    assert math.isclose(math.fsum(seconds) / len(seconds), made.mean)


@given(st.lists(times, max_size=4))
def test_histograms_that_are_merged_are_as_one_that_recorded_everything(parts: list[list[float]]) -> None:
    whole = histogram(list(chain(*parts)))

    together = merged(map(histogram, parts))

    assert (whole.counts, whole.count, whole.most) == (together.counts, together.count, together.most)
    assert math.isclose(whole.total, together.total)


def test_merging_changes_none_of_the_parts() -> None:
    one, other = histogram([1.0]), histogram([2.0])

    merged([one, other])

    assert (1, 1) == (one.count, other.count)


def test_nothing_takes_no_time() -> None:
    empty = Histogram()

    assert (0, 0.0, 0.0, 0.0) == (empty.count, empty.mean, empty.most, empty.percentile(99))


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e-6])
def test_what_took_no_time_at_all_counts_too(seconds: float) -> None:
    made = histogram([seconds, 1.0])

    assert 2 == made.count
    assert seconds <= made.percentile(50) <= 1e-6
