"""Make `.venv`, keep it as the hashed lock says, and go on in it.

Runs on the machine's own Python before anything is installed: the standard library only, and
nothing that an old Python cannot parse, so that it can be told what is wrong. A start that finds
nothing to do takes a few hundredths of a second.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    found = "{}.{} ({})".format(*sys.version_info[:2], sys.executable)
    sys.exit(f"echo_ws needs Python 3.11 or newer, this is {found}: name a newer one, as in `python3.12 {sys.argv[0]}`")
if sys.platform == "win32":
    sys.exit("echo_ws runs on Linux and macOS; on Windows use WSL")

import fcntl
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
STAMP = VENV / "echo-ws.json"
UNFINISHED = VENV / "echo-ws.unfinished"

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
OLDEST_PIP = (22, 3)  # the first that can install into another environment
SUPERSETS = {"serve": ("serve", "dev"), "dev": ("dev",)}  # the locks that satisfy one

STARTED = time.monotonic()
LINE_EVERY_S = 5.0


class Refusal(Exception):
    """One line that says what is wrong and what to do."""


def enter(lock: str, arguments: list[str]) -> NoReturn:
    """Become the environment's Python."""
    python = environment(lock)
    sys.stdout.flush()
    os.execv(python, [str(python), *arguments])


def environment(lock: str) -> Path:
    """Return the Python of an environment that holds what the lock says."""
    if is_current(lock):
        return PYTHON
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        refuse_what_is_not_ours(lock)
        with exclusive() as lock_fd:
            if not is_current(lock):
                install(lock, lock_fd)
    except Refusal as refusal:
        sys.exit(f"echo_ws: {refusal}")
    except KeyboardInterrupt:
        sys.exit("\necho_ws: interrupted; the next start begins anew")
    except OSError as error:
        sys.exit(f"echo_ws: cannot make {VENV}: {error.strerror} ({error.filename})")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return PYTHON


def is_current(lock: str) -> bool:
    stamp = read_stamp()
    return (
        any(stamp.get(superset) == digest(superset) for superset in SUPERSETS[lock])
        and stamp.get("root") == str(ROOT)
        and (stamp.get("python") == VERSION or VENV.stat().st_uid != os.geteuid())
        and os.access(PYTHON, os.X_OK)
    )


def read_stamp() -> dict[str, str]:
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def digest(lock: str) -> str:
    contents = [(ROOT / name).read_bytes() for name in (f"requirements/{lock}.lock", "pyproject.toml")]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


def refuse_what_is_not_ours(lock: str) -> None:
    """Say it when somebody else must act, before anything is touched."""
    own = "clone echo_ws into a folder of your own"
    if not VENV.is_symlink() and not VENV.exists():
        if not os.access(ROOT, os.W_OK):
            raise Refusal(f"{ROOT} belongs to {owner_of(ROOT)} and you may not write to it: {own}")
        return
    if os.access(VENV, os.W_OK):
        return
    owner = owner_of(VENV)
    if not os.access(PYTHON, os.X_OK):
        target = PYTHON.readlink() if PYTHON.is_symlink() else PYTHON
        raise Refusal(
            f"{VENV} was made by {owner} with a Python that you may not run ({target}): {own}, "
            f"or let {owner} remove it and start with a Python for everybody, as in `/usr/bin/python3 {sys.argv[0]}`",
        )
    raise Refusal(f"{VENV} belongs to {owner} and lacks what {lock}.lock says: {own}, or let {owner} start this once")


def owner_of(path: Path) -> str:
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@contextmanager
def exclusive() -> Iterator[int]:
    """Let one start install at a time; the others wait, then find it done."""
    with (ROOT / "pyproject.toml").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another start is installing, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def install(lock: str, lock_fd: int) -> None:
    if not is_usable():
        make_venv()
    UNFINISHED.touch()
    STAMP.unlink(missing_ok=True)
    installers = find_installers()
    requirements = f"requirements/{lock}.lock"
    count = len(re.findall(r"^\S+==", (ROOT / requirements).read_text(), re.MULTILINE))
    say(f"installing up to {count} packages from {requirements}, each checked against its hash")
    run_one_of(
        installers, ["--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / requirements)], lock_fd, count
    )
    say("installing echo_ws itself")
    run_one_of(installers, ["--no-deps", "--no-build-isolation", "-e", str(ROOT)], lock_fd)
    STAMP.write_text(json.dumps({"root": str(ROOT), "python": VERSION, lock: digest(lock)}))
    UNFINISHED.unlink()
    say("installed")


def is_usable() -> bool:
    """Whether the environment that is there can be brought up to date in place."""
    if UNFINISHED.exists() or not os.access(PYTHON, os.X_OK):
        return False
    if read_stamp().get("root", str(ROOT)) != str(ROOT):
        return False
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)
    return answer.stdout.strip() == VERSION


def make_venv() -> None:
    say(f"making .venv with Python {sys.version.split()[0]}")
    if VENV.is_symlink():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    UNFINISHED.touch()
    command = [
        base_python(),
        "-m",
        "venv",
        "--without-pip",
        str(VENV),
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Refusal(f"`{' '.join(command)}` failed: {made.stderr.strip() or made.stdout.strip()}")


def base_python() -> str:
    return getattr(sys, "_base_executable", None) or sys.executable


def find_installers() -> list[list[str]]:
    """Return the ways to install here, the fastest first."""
    installers = []
    uv = shutil.which("uv")
    if uv:
        installers.append([uv, "pip", "install", "--python", str(PYTHON), "--compile-bytecode"])
    pip = find_pip()
    if pip:
        installers.append([*pip, "--python", str(PYTHON), "install"])
    if not installers:
        raise Refusal("there is no pip: install it (Debian and Ubuntu: `apt install python3-pip`), then start again")
    return installers


def find_pip() -> list[str] | None:
    on_path = [[program] for program in (shutil.which("pip3"), shutil.which("pip")) if program]
    for pip in [[base_python(), "-m", "pip"], *on_path]:
        if pip_version(pip) >= OLDEST_PIP:
            return pip
    bundled = subprocess.run([PYTHON, "-m", "ensurepip"], capture_output=True, check=False)
    return [str(PYTHON), "-m", "pip"] if bundled.returncode == 0 else None


def pip_version(pip: list[str]) -> tuple[int, ...]:
    answer = subprocess.run([*pip, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"pip (\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in version.groups()) if version and answer.returncode == 0 else (0,)


def run_one_of(installers: list[list[str]], arguments: list[str], lock_fd: int, count: int = 0) -> None:
    for number, installer in enumerate(installers, start=1):
        output, code = run(installer + arguments, lock_fd, count)
        if code == 0:
            return
        print("\n".join(output[-20:]), file=sys.stderr)
        if number < len(installers):
            say(f"{Path(installer[0]).name} failed, trying pip")
    raise Refusal("installing failed, the reason stands above; the next start begins anew")


def run(command: list[str], lock_fd: int, count: int) -> tuple[list[str], int]:
    """Run a step. It holds our lock too: nobody else begins while it runs on without us."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environ = {key: value for key, value in os.environ.items() if key not in dropped}
    environ |= {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    environ |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"}
    output = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, pass_fds=[lock_fd],
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            progress = Progress(count)
            for line in process.stdout:
                output.append(line.rstrip())
                progress.see(line)
            progress.end()
        except BaseException:
            process.kill()
            raise
    return output, process.returncode


class Progress:
    """What pip is at: one line that changes on a terminal, else a line now and then."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = 0
        self._is_terminal = sys.stderr.isatty()
        self._last_line = time.monotonic()

    def see(self, line: str) -> None:
        words = line.split()
        if self._count and words[:1] == ["Collecting"]:
            self._seen += 1
            self._show(f"fetching {self._seen} of {self._count}: {words[1].split('==')[0]}")
        elif words[:2] == ["Installing", "collected"]:
            self._show("unpacking")

    def end(self) -> None:
        if self._is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _show(self, text: str) -> None:
        if self._is_terminal:
            print(f"\r\033[K{elapsed()} {text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            say(text)


def say(text: str) -> None:
    print(f"{elapsed()} {text}", file=sys.stderr, flush=True)


def elapsed() -> str:
    return f"[{time.monotonic() - STARTED:5.1f} s]"
