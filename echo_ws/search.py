"""What people type into a search field, and where in a message they find it. Pure.

Rules of this file:

* Words stand side by side: a message has all of them. `OR` between two makes them alternatives, quotes make a phrase,
  and what has a `-` before it must not be there.
* While the last word is being typed it stands for all words that begin so; a space after it ends it.
* Nothing is an error but a query without any word, and one with too many.
* Which words of a message fit is PostgreSQL's to say, for it knows the stems; where they stand is found here.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from echo_ws_db.messages import Question

from .errors import BadField

MOST_TERMS = 16
MOST_WORDS = 2000
"""How many different words of a page are looked at, to be marked."""

# Scripts without spaces between words, as in messages.words_of.
_SIGNS = (
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\U00020000-\U0003ffff]"
)
_PART = re.compile(rf"(?P<signs>{_SIGNS}+)|(?:(?!{_SIGNS})(?:[^\W_]|[\u0300-\u036f\u0900-\u0dff]))+")
_TOKEN = re.compile(r'(?P<no>-?)"(?P<phrase>[^"]*)"?|(?P<bare>\S+)')
_QUOTES = str.maketrans("“”„«»", '"""""')


class Span(NamedTuple):
    """A part of a text, in characters."""

    start: int
    end: int


class _Term(NamedTuple):
    text: str
    is_negated: bool
    is_bare: bool


def question(query: str) -> Question:
    """Return what a query asks for.

    Raises:
        BadField: there is no word in it that a message could have, or there are too many.
    """
    terms: list[_Term] = []
    groups: list[int] = []
    is_alternative = False
    last = ""
    for match in _TOKEN.finditer(query.translate(_QUOTES)):
        last = match[0]
        if last == "OR":
            is_alternative = True
            continue
        term = _as_term(match)
        if _PART.search(term.text):
            joins = is_alternative and bool(terms) and not (term.is_negated or terms[-1].is_negated)
            groups.append(groups[-1] if joins else len(groups))
            terms.append(term)
        is_alternative = False
    if not any(not term.is_negated for term in terms):
        raise BadField("name a word to look for", field="$.query")
    if len(terms) > MOST_TERMS:
        raise BadField(f"name at most {MOST_TERMS} words", field="$.query")
    end = terms[-1]
    is_open = end.is_bare and not end.is_negated and end.text == last and not query[-1].isspace()
    return Question([term.text for term in terms], groups, [term.is_negated for term in terms], is_open)


def _as_term(match: re.Match[str]) -> _Term:
    if match["bare"] is None:
        return _Term(match["phrase"], match["no"] == "-", is_bare=False)
    is_negated = match["bare"].startswith("-")
    return _Term(match["bare"][is_negated:], is_negated, is_bare=True)


def candidates(contents: Iterable[str], asked: Question) -> list[str]:
    """Return the words of some messages that may fit: all of them that begin like one that was asked for."""
    initials = {_initial(part[0]) for term in _wanted(asked) for part in _PART.finditer(term)}
    words = {
        part[0]: None
        for content in contents
        for part in _PART.finditer(content)
        if part["signs"] is None and _initial(part[0]) in initials
    }
    return list(words)[:MOST_WORDS]


def marks(content: str, words: set[str], asked: Question) -> list[Span]:
    """Return where a message has these words, and what was asked for in scripts without spaces."""
    pieces = {part["signs"] for term in _wanted(asked) for part in _PART.finditer(term) if part["signs"]}
    spans: list[Span] = []
    for part in _PART.finditer(content):
        if part["signs"]:
            spans += _places(part["signs"], pieces, part.start())
        elif part[0] in words:
            spans.append(Span(part.start(), part.end()))
    return spans


def _places(run: str, pieces: Iterable[str], at: int) -> list[Span]:
    """Return where pieces stand in a run of signs, those that touch as one."""
    is_marked = [False] * len(run)
    for piece in pieces:
        for match in re.finditer(f"(?={re.escape(piece)})", run):
            is_marked[match.start() : match.start() + len(piece)] = [True] * len(piece)
    text = "".join("x" if each else " " for each in is_marked)
    return [Span(at + found.start(), at + found.end()) for found in re.finditer("x+", text)]


def _wanted(asked: Question) -> Sequence[str]:
    return [term for term, is_negated in zip(asked.terms, asked.negated, strict=True) if not is_negated]


def _initial(word: str) -> str:
    return unicodedata.normalize("NFKD", word[0]).lower()[0]
