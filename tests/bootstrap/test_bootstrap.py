"""The launchers on a small project of their own, with wheels from a folder: no registry is asked."""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bootstrap import wheels
from tests.support.accounts import ROOT, only_root, run_as

CLI = "import sys, small; sys.exit(f'{small.__name__} {sys.argv[1:]}')"
NO_PIP = "raise SystemExit(1)"


class Project:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(wheels.__file__, self.root / "backend.py")
        self.write("pyproject.toml", '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n')
        self.write("echo_ws/cli.py", CLI)
        self.lock("small")

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(exist_ok=True)
        (self.root / name).write_text(text)

    def lock(self, *names: str) -> None:
        paths = {name: wheels.make(self.wheels, name, {f"{name}.py": ""}) for name in names}
        hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
        self.write_lock("".join(f"{name}==1.0 --hash=sha256:{digest}\n" for name, digest in hashes.items()))

    def write_lock(self, text: str) -> None:
        for name in ("serve", "dev"):
            self.write(f"requirements/{name}.lock", text)

    def forget_stamp(self) -> None:
        (self.venv / "echo-ws.json").unlink(missing_ok=True)

    def begin(self, **environ: str) -> subprocess.Popen[str]:
        offline = {"NO_INDEX": "1", "FIND_LINKS": str(self.wheels), "CONFIG_FILE": os.devnull}
        return subprocess.Popen(
            [base_python(), self.root / "scripts/serve", "--flag"],
            env={"PATH": os.defpath, "UV_OFFLINE": "1", **{f"PIP_{k}": v for k, v in offline.items()}, **environ},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, **environ: str) -> str:
        """Return what was said, last what the program that was to be started says."""
        return self.begin(**environ).communicate()[1]


STARTED = "small ['serve', '--flag']\n"


def base_python() -> str:
    return str(vars(sys).get("_base_executable", sys.executable))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("bootstrap"))
    assert project.start().endswith(STARTED)
    return project


@pytest.fixture
def small_lock(project: Project) -> Iterator[None]:
    yield
    project.lock("small")


def test_the_second_start_says_and_installs_nothing(project: Project) -> None:
    project.start()

    assert project.start(PIP_FIND_LINKS="/nowhere") == STARTED


def test_the_exit_code_is_the_programs(project: Project) -> None:
    start = project.begin()

    start.communicate()

    assert start.returncode == 1


def test_a_half_made_environment_is_made_again(project: Project) -> None:
    project.forget_stamp()
    (project.venv / "echo-ws.unfinished").touch()

    said = project.start()

    assert "making .venv" in said
    assert said.endswith(STARTED)


def test_an_environment_whose_python_is_gone_is_made_again(project: Project) -> None:
    (project.venv / "bin/python").unlink()

    said = project.start()

    assert "making .venv" in said
    assert said.endswith(STARTED)


def test_a_checkout_that_was_moved_gets_another_environment(project: Project) -> None:
    project.root = project.root.rename(project.root.with_name("moved"))

    said = project.start()

    assert "making .venv" in said
    assert said.endswith(STARTED)


@pytest.mark.usefixtures("small_lock")
def test_a_changed_lock_is_installed_in_place(project: Project) -> None:
    project.lock("small", "another")

    said = project.start()

    assert "making .venv" not in said
    assert list(project.venv.glob("lib/*/site-packages/another.py")) != []


@pytest.mark.usefixtures("small_lock")
def test_a_package_with_another_hash_is_refused(project: Project) -> None:
    project.write_lock(f"small==1.0 --hash=sha256:{'0' * 64}\nthird==1.0 --hash=sha256:{'0' * 64}\n")
    wheels.make(project.wheels, "third", {"third.py": ""})

    said = project.start()

    assert "installing failed, the reason stands above" in said
    assert list(project.venv.glob("lib/*/site-packages/third.py")) == []


def test_of_two_starts_at_once_one_installs_and_both_run(project: Project) -> None:
    project.forget_stamp()

    starts = [project.begin(), project.begin()]
    said = [start.communicate()[1] for start in starts]

    assert [text.count("installing echo_ws itself") for text in sorted(said, key=len)] == [0, 1]
    assert [text.endswith(STARTED) for text in said] == [True, True]


def test_a_machine_without_pip_is_told_what_to_install(project: Project, tmp_path: Path) -> None:
    project.forget_stamp()
    for module in ("pip", "ensurepip"):
        (tmp_path / f"{module}.py").write_text(NO_PIP)

    said = project.start(PYTHONPATH=str(tmp_path), PATH="")

    assert said.splitlines()[-1] == (
        "echo_ws: there is no pip: install it (Debian and Ubuntu: `apt install python3-pip`), then start again"
    )


def test_old_pythons_can_read_the_launchers_and_be_told() -> None:
    for name in ("serve", "test", "check", "_bootstrap.py"):
        ast.parse((ROOT / "scripts" / name).read_text(), feature_version=(3, 6))


@only_root
def test_a_checkout_of_somebody_else_is_refused_in_one_line(data_dir: Path) -> None:
    data_dir.chmod(0o755)
    project = Project(data_dir)

    done = run_as(5, project.root / "scripts/serve")

    assert done.stderr == (
        f"echo_ws: {project.root} belongs to root and you may not write to it: "
        "clone echo_ws into a folder of your own\n"
    )


@only_root
def test_an_environment_with_a_python_for_its_maker_alone_is_refused_in_one_line(data_dir: Path) -> None:
    data_dir.chmod(0o755)
    project = Project(data_dir)
    (project.venv / "bin").mkdir(parents=True)
    (project.venv / "bin/python").symlink_to("/nowhere/python3")

    done = run_as(5, project.root / "scripts/serve")

    assert "was made by root with a Python that you may not run (/nowhere/python3)" in done.stderr
    assert done.stderr.count("\n") == 1
