"""What a query asks for, and where a message has it."""

import pytest

from echo_ws.errors import BadField
from echo_ws.search import candidates, marks, question


@pytest.mark.parametrize(
    ("query", "terms", "groups", "negated", "is_open"),
    [
        ("tea", ["tea"], [0], [False], True),
        ("tea ", ["tea"], [0], [False], False),
        ("green tea", ["green", "tea"], [0, 1], [False, False], True),
        ('"green tea"', ["green tea"], [0], [False], False),
        ('"green te', ["green te"], [0], [False], False),
        ("tea -milk", ["tea", "milk"], [0, 1], [False, True], False),
        ("tea OR coffee cake", ["tea", "coffee", "cake"], [0, 0, 2], [False] * 3, True),
        ("tea OR -milk", ["tea", "milk"], [0, 1], [False, True], False),
        ("OR tea", ["tea"], [0], [False], True),
        ("tea OR", ["tea"], [0], [False], False),
        ("tea …", ["tea"], [0], [False], False),
    ],
)
def test_a_query_is_read_as_people_mean_it(
    query: str, terms: list[str], groups: list[int], negated: list[bool], is_open: bool
) -> None:
    assert (terms, groups, negated, is_open) == question(query)


@pytest.mark.parametrize("query", ["-tea", "…", '""', "👍", "- -", "tea " * 17])
def test_a_query_without_a_word_or_with_too_many_is_a_bad_field(query: str) -> None:
    with pytest.raises(BadField):
        question(query)


def test_words_that_begin_otherwise_are_no_candidates() -> None:
    assert ["Ärger", "arg"] == candidates(["Ärger im Büro", "arg"], question("arg"))


def test_marks_are_counted_in_characters() -> None:
    content = "👍 tea, e\u0301clair and 天気の天気"

    spans = marks(content, {"tea", "e\u0301clair"}, question("tea éclair 天気"))

    assert ["tea", "e\u0301clair", "天気", "天気"] == [content[start:end] for start, end in spans]
