"""The secret key of a server that keeps its data here (a server with a database elsewhere is given one)."""

import os
import secrets
from pathlib import Path


def secret_key(data_dir: Path) -> str:
    """Return the key in the data folder, made at the first time. Lose it, and refresh tokens lead nowhere any more."""
    file = data_dir / "secret-key"
    try:
        return file.read_text("ascii")
    except FileNotFoundError:
        key = secrets.token_urlsafe(32)
        _write(file, key)
        return key


def _write(file: Path, key: str) -> None:
    """Write all of it or nothing, for ourselves alone."""
    beside = file.with_suffix(".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as new:
        new.write(key)
        new.flush()
        os.fsync(new.fileno())
    beside.replace(file)
