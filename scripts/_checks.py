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


def check(root: Path, programs: Path, steps: dict[str, list[str]] = STEPS) -> NoReturn:
    failures = [name for name, command in steps.items() if not passes(name, command, root, programs)]
    if failures:
        sys.exit(f"{len(failures)} of {len(steps)} checks failed: {', '.join(failures)}")
    print(f"all {len(steps)} checks passed")
    sys.exit(0)


def passes(name: str, command: list[str], root: Path, programs: Path) -> bool:
    started = time.monotonic()
    code, output = run(command, root, programs)
    print(f"{'FAILED' if code else 'ok    '} {time.monotonic() - started:6.1f} s  {name}", flush=True)
    if code:
        print(output.rstrip(), flush=True)
    return code == 0


def run(command: list[str], root: Path, programs: Path) -> tuple[int, str]:
    environ = os.environ | {"PATH": os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])}
    try:
        done = subprocess.run(
            [programs / command[0], *command[1:]],
            cwd=root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        return 1, f"cannot run {command[0]}: {error.strerror}"
    return done.returncode, done.stdout
