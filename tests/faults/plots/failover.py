"""Another PostgreSQL takes over: what was acknowledged is there, because the standby was synchronous."""

from pathlib import Path

from echo_ws.embedded import EmbeddedPostgres, child
from tests.support.services import open_folder

from .base import A_WHILE, Story


class Standby(EmbeddedPostgres):
    """A copy of a running PostgreSQL, which follows it."""

    def copy(self, primary: EmbeddedPostgres) -> None:
        self._home.open()
        self._home.make_private(self._home.cluster)
        self.log.touch()
        source = ["--host", str(primary._home.run), "--username", "postgres"]
        command: list[str | Path] = [self.program("pg_basebackup"), "--pgdata", self._home.cluster, *source]
        child.run([*command, "--write-recovery-conf", "--checkpoint=fast"], account=self._home.account, log=self.log)

    def _is_ready(self, pid: int) -> bool:
        file = self._home.cluster / "postmaster.pid"
        lines = file.read_text().splitlines() if file.exists() else []
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() in {"ready", "standby"}


async def failover(story: Story) -> None:
    """The primary is killed, and its synchronous standby promoted. The servers of the story are others afterwards."""
    await story.talked(A_WHILE // 2)
    folder = story.enter(open_folder())
    standby = Standby(folder)
    with story.trouble("a standby is made"):
        standby.copy(story.servers.postgres)
        story.enter(standby)
        await _make_synchronous(story)
        await story.talked(A_WHILE // 2)
    with story.trouble("failover"):
        story.servers.kill_postgres()
        story.servers.postgres = standby
        async with story.database() as db:
            await db.execute("SELECT pg_promote()")
            await db.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await db.execute("SELECT pg_reload_conf()")
        for node in story.nodes:
            node.to_postgres.target = story.servers.postgres_socket
        await story.talked(A_WHILE)


async def _make_synchronous(story: Story) -> None:
    async with story.database() as db:
        await db.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await db.execute("SELECT pg_reload_conf()")
        while await db.fetchval("SELECT sync_state FROM pg_stat_replication") != "sync":
            pass
