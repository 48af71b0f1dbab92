"""What plots are made of."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tests.faults.cluster import Node
from tests.faults.history import Asked
from tests.faults.story import Story

__all__ = ["A_WHILE", "Plot", "Story", "kill", "replaced", "since"]

Plot: TypeAlias = Callable[[Story], Awaitable[None]]

A_WHILE = 120
"""Acknowledged commands: about half a second of talk."""


async def kill(story: Story, node: Node) -> None:
    """Kill a worker, and wait for another in its place."""
    with story.trouble("kill -9 of a worker", may_close=True):
        pid = node.pid
        node.kill()
        await replaced(story, node, pid)


async def replaced(story: Story, node: Node, pid: int) -> None:
    """Wait until a node has another worker than ``pid``, and everybody is connected."""
    await story.until(lambda: node.pid != pid)
    await story.everybody_is_back()


def since(story: Story, began: float) -> list[Asked]:
    """Return what was asked after a moment, and has been answered."""
    return [asked for asked in story.history.asked if asked.began > began]
