"""Clients on bad networks, and many at once."""

from .base import A_WHILE, Story

CROWD = 60


async def lost_connections(story: Story) -> None:
    """All connections to one node are reset, twice."""
    for _ in range(2):
        with story.trouble("reset", may_close=True):
            story.nodes[1].front.reset()
            await story.talked(10)
            await story.everybody_is_back()
        await story.talked(A_WHILE // 4)


async def half_closed_connections(story: Story) -> None:
    """The clients of one node are told that no more will come, while the node still hears them."""
    with story.trouble("half close", may_close=True):
        story.nodes[1].front.half_close()
        await story.talked(10)
        await story.everybody_is_back()
    await story.talked(A_WHILE)


async def slow_network(story: Story) -> None:
    """Every byte to and from one node travels alone, and everything of the other one late and joined."""
    story.nodes[0].front.delay_s = story.nodes[0].to_postgres.delay_s = 0.02
    story.nodes[1].front.piece = story.nodes[1].to_redis.piece = story.nodes[1].to_postgres.piece = 1
    await story.talked(2 * A_WHILE)


async def half_open_client(story: Story) -> None:
    """The network of one device is gone without a word: the connection is cut, and nothing is missed."""
    device, network = await story.device_behind_a_network("cat", story.nodes[0])
    await story.everybody_is_back()
    with story.trouble("half open", may_close=True):
        network.freeze()
        await story.until(lambda: not device.client.connected)
        network.thaw()
        await story.everybody_is_back()
    await story.talked(A_WHILE)


async def slow_client(story: Story) -> None:
    """One device reads 4 KB a second of what everybody says; the others notice nothing."""
    device, network = await story.device_behind_a_network("cat", story.nodes[0])
    await story.everybody_is_back()
    network.bytes_per_s, network.piece = 4096, 512
    story.history.slow.append(device.name)
    await story.talked(4 * A_WHILE)
    network.bytes_per_s = 0.0


async def crowd(story: Story) -> None:
    """Many devices lose their connection at once and come back, while others talk."""
    for _ in range(CROWD):
        await story.device_behind_a_network("cat", story.nodes[1])
    await story.everybody_is_back()
    with story.trouble("reset", may_close=True):
        story.nodes[1].front.reset()
        await story.talked(A_WHILE)
        await story.everybody_is_back()
    await story.talked(A_WHILE // 2)


async def returning_device(story: Story) -> None:
    """A program is closed while much is said, and started again from the position that it kept."""
    await story.talked(A_WHILE // 2)
    device, _ = await story.device_behind_a_network("cat", story.nodes[0])
    await story.everybody_is_back()
    await story.talked(A_WHILE // 2)
    await device.leave()
    await story.talked(3 * A_WHILE)
    await device.come_back()
    await story.everybody_is_back()
    await story.talked(A_WHILE // 2)


async def removed_while_away(story: Story) -> None:
    """Somebody is removed while all of his devices are away, and let in again while they are."""
    await story.talked(A_WHILE // 2)
    device, _ = await story.device_behind_a_network("dan", story.nodes[0])
    await story.everybody_is_back()
    await device.leave()
    await story.talked(A_WHILE // 4)
    await story.remove("dan")
    await story.talked(A_WHILE // 2)
    await device.come_back()
    await story.everybody_is_back()
    await device.leave()
    await story.let_in("dan")
    await story.talked(A_WHILE // 2)
    await device.come_back()
    await story.everybody_is_back()
    await story.talked(A_WHILE // 4)
