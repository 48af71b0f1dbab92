"""Workers that die, stall and are replaced."""

import resource

from tests.faults.cluster import Node

from .base import A_WHILE, Story, kill, replaced

STALL_S = 1.0
FREEZE_S = 2.0


async def killed_worker(story: Story) -> None:
    """A worker is killed while it writes; another takes its place."""
    await story.talked(A_WHILE // 2)
    await kill(story, story.nodes[0])
    await story.talked(A_WHILE // 2)


async def killed_after_an_answer(story: Story) -> None:
    """A worker is killed in the moment in which it has answered."""
    await story.talked(10)
    while await story.say("ann-1", story.group) != "ok":
        pass
    await kill(story, story.nodes[0])
    await story.talked(10)


async def exits_before_commit(story: Story) -> None:
    """A worker ends before it asks PostgreSQL."""
    await _exit(story, "exit_before_commit", story.nodes[0])


async def exits_after_commit(story: Story) -> None:
    """Each worker ends after the commit, before anybody is told."""
    for node in story.nodes:
        await _exit(story, "exit_after_commit", node)


async def exits_after_publish(story: Story) -> None:
    """A worker ends after everybody was told, before the acknowledgement."""
    await _exit(story, "exit_after_publish", story.nodes[1])


async def _exit(story: Story, fault: str, node: Node) -> None:
    await story.talked(A_WHILE // 4)
    with story.trouble(fault, may_close=True):
        pid, armed = node.pid, node.arm(fault)
        await story.until(lambda: not armed.exists())
        await replaced(story, node, pid)
    await story.talked(A_WHILE // 4)


async def last_words_before_an_exit(story: Story) -> None:
    """The last message of all is committed by a worker that ends before it has told anybody."""
    await story.talked(A_WHILE // 2)
    await story.hush()
    with story.trouble("exit after commit", may_close=True):
        node = story.nodes[0]
        pid, armed = node.pid, node.arm("exit_after_commit")
        assert await story.say("ann-1", story.group) == "lost"
        assert not armed.exists()
        await replaced(story, node, pid)


async def drained_worker(story: Story) -> None:
    """A worker gets SIGTERM: it sends everybody away in good order, and another takes its place."""
    await story.talked(A_WHILE // 2)
    await _replace(story, 0)
    await story.talked(A_WHILE // 2)


async def rolling_restart(story: Story) -> None:
    """All workers are replaced, one after the other."""
    for number in (0, 1):
        await _replace(story, number)
        await story.talked(A_WHILE // 4)


async def _replace(story: Story, number: int) -> None:
    node = story.nodes[number]
    with story.trouble("drain"):  # which closes nobody without a code
        pid = node.pid
        node.drain()
        await replaced(story, node, pid)


async def stalled_loop(story: Story) -> None:
    """The event loop of a worker stands still for a second."""
    await story.talked(A_WHILE // 2)
    with story.trouble("stalled loop"):
        armed = story.nodes[0].arm("stall", str(STALL_S))
        await story.until(lambda: not armed.exists())
        await story.talked(A_WHILE)
    await story.talked(A_WHILE // 2)


async def frozen_worker(story: Story) -> None:
    """A worker stands still for longer than its clients wait for a sign of life."""
    await story.talked(A_WHILE // 2)
    node = story.nodes[0]
    with story.trouble("SIGSTOP of a worker", may_close=True):
        node.freeze()
        thaw_at = story.now() + FREEZE_S
        await story.until(lambda: story.now() > thaw_at)
        node.thaw()
        await story.everybody_is_back()
    await story.talked(A_WHILE // 2)


async def no_more_files(story: Story) -> None:
    """A worker may open no more files, so that nobody new can come; who is there stays, and later all can come."""
    await story.talked(A_WHILE // 2)
    node = story.nodes[1]
    limits = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    with story.trouble("no more files", may_close=True):
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (node.open_files(), limits[1]))
        newcomer, _ = await story.device_behind_a_network("cat", node)
        await story.talked(A_WHILE)
        assert not newcomer.connections
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, limits)
        await story.until(lambda: newcomer.connections)
    await story.talked(A_WHILE // 2)
