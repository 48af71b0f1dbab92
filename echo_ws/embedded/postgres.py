import locale
import os
import shutil
import signal
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from echo_ws.embedded import child, programs
from echo_ws.embedded.server import EmbeddedServer

DATABASE = "echo"
LOCALE = "en_US.UTF-8"
STATUS_LINE = 7  # of postmaster.pid, as pg_ctl reads it

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",  # an error's text may quote a message or a phone number; whoever caused it gets it
    "log_startup_progress_interval": "5s",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
FAST = dict.fromkeys(DURABLE, "off")


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL from a wheel, reached through a Unix socket in a folder that only its account may enter."""

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    stop_signal: ClassVar[int] = signal.SIGINT  # SIGTERM would wait for the clients to leave

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        super().__init__(data_dir)
        self._durable = durable

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._home.run))}"

    def program(self, name: str) -> Path:
        """Return the path of a tool that comes along, such as `psql` or `pg_dump`."""
        return programs.postgres(self._home) / name

    def _prepare(self) -> None:
        cluster = self._home.cluster
        if not cluster.exists():
            self._make_cluster(cluster)
        elif not _is_postmaster_of(cluster):
            (cluster / "postmaster.pid").unlink(missing_ok=True)

    def _make_cluster(self, cluster: Path) -> None:
        """Make it aside and move it into place, so that one that is there is complete."""
        unfinished = cluster.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._home.make_private(unfinished)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", *_locale_options()]
        self._run("initdb", "-D", unfinished, *options, *([] if self._durable else ["--no-sync"]))
        self._run("postgres", "--single", "-D", unfinished, "postgres", stdin=f"CREATE DATABASE {DATABASE}\n".encode())
        unfinished.rename(cluster)
        _sync(cluster.parent)

    def _run(self, name: str, *arguments: str | Path, stdin: bytes | None = None) -> None:
        child.run([self.program(name), *arguments], account=self._home.account, log=self.log, stdin=stdin)

    def _command(self) -> list[str | Path]:
        sockets = str(self._home.run).replace('"', '""')
        settings = SETTINGS | (DURABLE if self._durable else FAST) | {"unix_socket_directories": f'"{sockets}"'}
        arguments = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [self.program("postgres"), "-D", self._home.cluster, *arguments]

    def _is_ready(self, pid: int) -> bool:
        lines = _lines_of(self._home.cluster / "postmaster.pid")
        return len(lines) > STATUS_LINE and lines[0] == str(pid) and lines[STATUS_LINE].strip() == "ready"


def _locale_options() -> list[str]:
    """Sort as the reference's databases do where the machine knows how, else by code point."""
    before = locale.setlocale(locale.LC_COLLATE)
    try:
        locale.setlocale(locale.LC_COLLATE, LOCALE)
    except locale.Error:
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    locale.setlocale(locale.LC_COLLATE, before)
    return [f"--locale={LOCALE}"]


def _is_postmaster_of(cluster: Path) -> bool:
    """Whether the process that postmaster.pid names is a PostgreSQL here, and not whoever has its number now."""
    lines = _lines_of(cluster / "postmaster.pid")
    if not lines:
        return False
    try:
        return Path(f"/proc/{int(lines[0])}/cwd").samefile(cluster)
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    except PermissionError:
        return False


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
