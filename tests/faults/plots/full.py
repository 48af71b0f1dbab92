"""A disk that is full: a tablespace of its own on a small file system, which only root can make."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.services import open_folder

from .base import A_WHILE, Story, since

SIZE = "64m"


async def full_disk(story: Story) -> None:
    """The disk that holds the messages is full for a while: nothing is stored, everything can be read."""
    await story.talked(A_WHILE // 2)
    disk = story.enter(_small_disk(story.servers.postgres._home.account.uid))
    with story.trouble("full disk"):
        async with _messages_on(disk, story):
            began = story.now()
            _fill(disk / "ballast")
            await story.until(
                lambda: any(asked.op == "send" and asked.outcome != "ok" for asked in since(story, began))
            )
            assert await story.can_read("ben-1", story.group)
            (disk / "ballast").unlink()
            await story.talked(A_WHILE)


@asynccontextmanager
async def _messages_on(disk: Path, story: Story) -> AsyncIterator[None]:
    async with story.database() as db:
        await db.execute(f"CREATE TABLESPACE small LOCATION '{disk}/space'")
        await db.execute("ALTER TABLE messages.messages SET TABLESPACE small")
        try:
            yield
        finally:
            (disk / "ballast").unlink(missing_ok=True)
            await db.execute("ALTER TABLE messages.messages SET TABLESPACE pg_default")
            await db.execute("DROP TABLESPACE small")


@contextmanager
def _small_disk(uid: int) -> Iterator[Path]:
    with open_folder() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "tmpfs", folder], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("only root can mount a small disk")
        (folder / "space").mkdir(mode=0o700)
        os.chown(folder / "space", uid, -1)
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))
