"""What a fault may cost, beyond what it may never do: which answers, how late, and whose connection."""

from collections.abc import Callable
from typing import TypeAlias

from .history import Outcome
from .story import Story

Expectation: TypeAlias = Callable[[Story], None]


def nobody_is_cut(story: Story) -> None:
    """Every connection that was there is there still."""
    cut = [connection for connection in story.history.connections if connection.closed is not None]
    assert not cut, cut


def answers_within(seconds: float) -> Expectation:
    """Every command is answered in that time, also while the trouble lasts."""

    def expect(story: Story) -> None:
        slow = [asked for asked in story.history.asked if asked.ended - asked.began > seconds]
        assert not slow, slow

    return expect


def sends_end_in(*outcomes: Outcome) -> Expectation:
    def expect(story: Story) -> None:
        others = [asked for asked in story.history.asked if asked.op == "send" and asked.outcome not in outcomes]
        assert not others, others

    return expect


def closes_with(*codes: int) -> Expectation:
    """Some connections are closed, each with one of these codes."""

    def expect(story: Story) -> None:
        closed = {connection.code for connection in story.history.connections if connection.closed is not None}
        assert closed
        assert closed <= set(codes), closed

    return expect
