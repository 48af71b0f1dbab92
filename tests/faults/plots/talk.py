"""Nothing is broken, and much happens."""

from .base import A_WHILE, Story


async def nothing(story: Story) -> None:
    """Nothing breaks, and a lot is said."""
    await story.talked(3 * A_WHILE)


async def long_talk(story: Story) -> None:
    """Nothing breaks, and very much is said."""
    await story.talked(10 * A_WHILE)


async def changing_members(story: Story) -> None:
    """Somebody is removed, and let in again later."""
    await story.talked(A_WHILE // 2)
    await story.remove("dan")
    await story.talked(A_WHILE)
    await story.let_in("dan")
    await story.talked(A_WHILE)


async def ended_session(story: Story) -> None:
    """The session of one device is ended by another service."""
    await story.talked(A_WHILE // 2)
    await story.revoke("ann-2", within_s=1.0)
    by = story.history.revoked[-1].by
    await story.until(lambda: story.now() > by)
    await story.talked(A_WHILE)


async def ended_session_unheard(story: Story) -> None:
    """The session of one device is ended while its node has no Redis to hear of it."""
    with story.trouble("no Redis for a node"):
        await story.nodes[1].to_redis.close()
        await story.revoke("ann-2", within_s=1.5)
        by = story.history.revoked[-1].by
        await story.until(lambda: story.now() > by)
        await story.talked(A_WHILE)
        await story.nodes[1].to_redis.open()


async def stepped_clock(story: Story) -> None:
    """The clocks of the workers jump by an hour, one ahead and one back, and another service's are wrong anyhow."""
    for node, hours in zip(story.nodes, (1, -1), strict=True):
        await story.talked(A_WHILE // 4)
        armed = node.arm("clock", str(hours * 3600))
        await story.until(lambda: not armed.exists())  # noqa: B023 - waited for at once
        for wrong in (-1, 1):
            await story.post_elsewhere("ann", story.group, hours=wrong)
    await story.talked(A_WHILE)
