"""The documents are true: what they link to, name and let people type is there."""

import ast
import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import asyncpg
import click
import pytest
import redis
import yaml

from echo_ws import config, metrics
from echo_ws.broker import RedisBroker
from echo_ws.broker.redis import check, publish_once
from echo_ws.cli import main
from echo_ws.embedded import EmbeddedRedis
from tests.support.world import Worker

ROOT = Path(__file__).resolve().parents[2]
OURS = ("protocol", "db", "echo_ws", "scripts", "tests", "docs", "deploy", "requirements")
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("[dp]*/README.md")])
}
RECIPES = {name: (ROOT / name).read_text("utf-8") for name in ("Dockerfile", "compose.yaml", ".env.example")}
NOT_THERE = {"uv.lock", "pylock.toml", "echo.v1.json"}
"""Files that documents speak of because they are not, or not yet, in the tree, and what only looks like one."""

FILE_LIKE = re.compile(
    r"[\w.-]+(?:/[\w.-]+)*\.(?:py|sql|md|toml|yaml|cfg|json|ts|lock)|(?:" + "|".join(OURS) + r")/[\w./-]*"
)
PLACE = re.compile(r"([\w/.-]+\.(?:py|sql)): ([\w.]+)")

every_document = pytest.mark.parametrize("document", DOCUMENTS)


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(document: str) -> list[str]:
    """Return what stands between backticks, in a line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_blocks(DOCUMENTS[document]))]


def code(document: str) -> list[str]:
    """Return the spans, and the lines of all blocks."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", DOCUMENTS[document], re.DOTALL | re.MULTILINE)
    return [*spans(document), *(line for block in blocks for line in block.splitlines())]


def blocks_in(document: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", DOCUMENTS[document], re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def files() -> frozenset[str]:
    own = (path for name in OURS for path in (ROOT / name).rglob("*") if "__pycache__" not in path.parts)
    return frozenset(path.relative_to(ROOT).as_posix() for path in (*own, *ROOT.iterdir()))


def is_there(mention: str, document: str) -> bool:
    """Look for a path from the top, from the document's folder, or as the end of one that has no other like it."""
    path = mention.rstrip("/")
    beside = (Path(document).parent / path).as_posix()
    return path in files() or beside in files() or any(file.endswith(f"/{path}") for file in files())


def defined_in(path: Path) -> Iterator[str]:
    """Yield functions, classes and `Class.method`, or the blocks of a SQL file."""
    text = path.read_text("utf-8")
    if path.suffix == ".sql":
        yield from re.findall(r"^-- (?:name|function): ([\w.]+)", text, re.MULTILINE)
        return
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (
                f"{node.name}.{part.name}"
                for part in node.body
                if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))
            )


@cache
def names() -> frozenset[str]:
    roots = ("echo_ws", "db/echo_ws_db", "protocol/echo_ws_protocol")
    return frozenset(name for root in roots for path in (ROOT / root).rglob("*.py") for name in defined_in(path))


def exists(words: list[str]) -> bool:
    """Whether `echo-ws` understands these words, up to the first that is no command's name."""
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            return True
        found = command.get_command(click.Context(command), word)
        if found is None:
            return not re.fullmatch(r"[a-z-]+", word)
        command = found
    return True


@every_document
def test_every_relative_link_leads_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(DOCUMENTS[document])):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        there = (ROOT / document).parent / path if path else ROOT / document
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text("utf-8")), target


@pytest.mark.parametrize("name", [*DOCUMENTS, *RECIPES])
def test_every_setting_that_is_mentioned_exists(name: str) -> None:
    known = {setting.variable for setting in config.describe()} | {config.FILE_VARIABLE}

    assert set() == set(re.findall(r"\bECHO_[A-Z]+(?:_[A-Z]+)*\b", {**DOCUMENTS, **RECIPES}[name])) - known


@every_document
def test_every_command_line_that_is_mentioned_exists(document: str) -> None:
    for line in code(document):
        for words in re.findall(r"\becho-ws ([a-z|-]+(?: [a-z|]+)*)", line):
            assert exists([word.partition("|")[0] for word in words.split()]), line


def test_the_image_and_compose_use_command_lines_that_exist() -> None:
    services = yaml.safe_load(RECIPES["compose.yaml"])["services"]
    commands = [service["command"] for service in services.values() if service["image"].startswith("echo_ws")]
    quoted = re.findall(r"^(?:CMD|.* CMD) \[(.*)\]$", RECIPES["Dockerfile"], re.MULTILINE)

    assert [["migrate", "up"], ["serve"]] == commands
    assert len(quoted) == 2
    for words in (*commands, *(re.findall(r'"([^"]+)"', each) for each in quoted)):
        assert exists([word for word in words if word != "echo-ws"]), words


@every_document
def test_every_file_that_is_mentioned_exists(document: str) -> None:
    for span in spans(document):
        mention = span.partition(": ")[0]
        if FILE_LIKE.fullmatch(mention) and mention not in NOT_THERE and not re.search("NOUN|NNNN", mention):
            assert is_there(mention, document), mention


@every_document
def test_every_function_that_is_mentioned_exists(document: str) -> None:
    classes = {name.partition(".")[0] for name in names() if "." in name}
    for span in spans(document):
        if place := PLACE.fullmatch(span):
            assert place[2] in set(defined_in(ROOT / place[1])), span
        elif re.fullmatch(r"[A-Z]\w+\.\w+", span) and span.partition(".")[0] in classes:
            assert span in names(), span
        elif re.fullmatch(r"_[a-z]\w+", span) and document == "docs/life-of-a-message.md":
            assert span in {name.rpartition(".")[2] for name in names()}, span


@every_document
def test_every_metric_that_is_mentioned_exists(document: str) -> None:
    known = {
        *(f"echo_{name}_total" for name in metrics.COUNTERS),
        *(f"echo_{name}" for name in (*metrics.HISTOGRAMS, *metrics.GAUGES)),
        *("echo_ws", "echo_ws_db", "echo_ws_protocol", "echo_server"),
    }

    assert set() == {span for span in spans(document) if re.fullmatch(r"echo_[a-z_]+", span)} - known


def test_every_log_event_that_operators_read_about_exists() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "echo_ws").rglob("*.py"))
    table = DOCUMENTS["docs/operating.md"].partition("| event | level |")[2].partition("\n\n")[0]
    events = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.partition(" | ")[0])]

    assert len(events) > 5
    assert [] == [event for event in events if f'"{event}"' not in source]


def test_every_log_event_is_explained_to_operators() -> None:
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "echo_ws").rglob("*.py"))
    events = set(re.findall(r"log\.(?:info|warning|error|exception)\(\s*\"(\w+)\"", source))

    assert {"worker_died", "logged_in"} <= events
    assert not events - set(spans("docs/operating.md"))


def test_the_settings_file_shown_to_operators_is_accepted(tmp_path: Path) -> None:
    (shown,) = blocks_in("docs/operating.md", "toml")
    file = tmp_path / "echo.toml"
    file.write_text(shown, "utf-8")

    settings = config.load({}, file, {})

    assert (4, "HS256") == (settings.workers, settings.jwt_keys["2026-b"].alg)


async def test_the_statement_shown_to_end_all_sessions_does_so_in_any_time_zone(database: str) -> None:
    connection = await asyncpg.connect(database, server_settings={"timezone": "America/New_York"})
    await connection.execute(
        "INSERT INTO auth.users (phone, password_hash) VALUES ('+99900000001', '!');"
        "INSERT INTO auth.sessions (user_id, session_token, device_id, platform, expires_at)"
        " SELECT id, 'digest', 'd', 'cli', now() AT TIME ZONE 'UTC' + INTERVAL '1 hour' FROM auth.users"
    )
    (statement,) = [sql for sql in blocks_in("docs/operating.md", "sql") if "auth.sessions" in sql]

    await connection.execute(statement)

    open_ = await connection.fetchval("SELECT count(*) FROM auth.sessions WHERE expires_at > now() AT TIME ZONE 'UTC'")
    assert 0 == open_
    await connection.close()


async def test_workers_hear_each_other_with_the_rights_in_redis_that_operators_are_told_to_give(
    own_redis: EmbeddedRedis,
) -> None:
    (rule,) = [span for span in spans("docs/operating.md") if span.startswith("ACL SETUSER ")]
    heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    in_force: asyncio.Queue[Iterable[str]] = asyncio.Queue()
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as superuser:
        superuser.execute_command(*rule.split())
        url = own_redis.url.replace("unix://", "unix://echo:secret@")

        await check(url)
        broker = RedisBroker(url)
        await broker.start(lambda *what: heard.put_nowait(what), in_force.put_nowait)
        for channel in ("echo:c:1", "echo:c:2"):
            broker.subscribe(channel)
        async with asyncio.timeout(10):
            while "echo:c:2" not in await in_force.get():
                pass
            broker.publish("echo:c:1", b"live")
            assert ("echo:c:1", b"live") == await heard.get()
            broker.unsubscribe("echo:c:1")
            await publish_once(url, "echo:c:2", b"from the command line")
            assert ("echo:c:2", b"from the command line") == await heard.get()
        await broker.close()

        assert [] == superuser.acl_log()


async def test_the_first_conversation_of_the_readme_works_when_pasted(
    worker: Worker, town_database: str, redis_url: str, tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    pasted = "\n".join(re.findall(r"<!-- tested: \w+ -->\n\n```sh\n(.*?)```", DOCUMENTS["README.md"], re.DOTALL))
    script = pasted.replace(".venv/bin", str(Path(sys.executable).parent)).replace(
        "127.0.0.1:8765", worker.http.removeprefix("http://")
    )

    process = await asyncio.create_subprocess_exec(
        *("sh", "-euc", script),
        cwd=tmp_path,
        env=os.environ | {"ECHO_DATABASE_URL": town_database, "ECHO_REDIS_URL": redis_url, "PYTHONPATH": ""},
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await process.communicate())[0].decode()

    assert 0 == process.returncode
    assert ('"content":"hi Bob"' in said, '"read_seq":1' in said) == (True, True)
    assert said.endswith("message 1: hungry?\nrev 2 became rev 3: {'🍝': 1}\n")
