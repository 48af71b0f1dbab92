"""What `scripts/check` runs: add a line to `STEPS`, and it is a check."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

STEPS: dict[str, list[str]] = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "import contracts": ["lint-imports"],
    "generated files": ["python", "scripts/generate", "--check"],
    "Dockerfile": ["hadolint", "Dockerfile"],
    "compose.yaml": ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
}


def check(root: Path, programs: Path) -> NoReturn:
    failures = [name for name, command in STEPS.items() if not passes(name, command, root, programs)]
    if failures:
        sys.exit(f"{len(failures)} of {len(STEPS)} checks failed: {', '.join(failures)}")
    print(f"all {len(STEPS)} checks passed")
    sys.exit(0)


def passes(name: str, command: list[str], root: Path, programs: Path) -> bool:
    started = time.monotonic()
    environ = os.environ | {"PATH": os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])}
    done = subprocess.run(
        [programs / command[0], *command[1:]],
        cwd=root,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    print(f"{'ok    ' if done.returncode == 0 else 'FAILED'} {time.monotonic() - started:6.1f} s  {name}", flush=True)
    if done.returncode != 0:
        sys.stdout.buffer.write(done.stdout)
        sys.stdout.flush()
    return done.returncode == 0
