"""The commands that work on the database, on a real one."""

import json
import os
import pwd
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from echo_ws import passwords, tokens
from echo_ws.cli import COMMANDS, main
from tests.support.services import Databases

PHONE = "+49 151 23456789"
NOWHERE = "postgresql://postgres@127.0.0.1:1/echo"

Run = Callable[..., Result]
Query = Callable[[str], Any]


def run_with(environ: dict[str, str]) -> Run:
    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(main, arguments, env=environ, **more)

    return run


@pytest.fixture
def run(database: str, redis_url: str) -> Run:
    return run_with({"ECHO_DATABASE_URL": database, "ECHO_REDIS_URL": redis_url})


@pytest.fixture
def query(databases: Databases, database: str) -> Query:
    def one_value(sql: str) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(database)
            try:
                return await connection.fetchval(sql)
            finally:
                await connection.close()

        return databases.run(ask())

    return one_value


@pytest.fixture
def user(run: Run) -> str:
    return run("user", "add", "--phone", PHONE, "--name", "Alice").stdout.strip()


def test_a_user_is_added_under_a_normalised_number(run: Run, query: Query) -> None:
    """B30"""
    result = run("user", "add", "--phone", PHONE, "--name", "Alice")

    assert result.exit_code == 0
    assert query("SELECT id FROM auth.users WHERE phone = '+4915123456789'") == uuid.UUID(result.stdout.strip())
    assert query("SELECT password_hash FROM auth.users") == "!"


def test_a_password_is_asked_for_and_stored_as_a_hash(run: Run, query: Query) -> None:
    result = run("user", "add", "--phone", PHONE, "--name", "Alice", "--password", input="correct horse\n" * 2)

    assert result.exit_code == 0
    assert "correct horse" not in result.output
    assert passwords.verify(query("SELECT password_hash FROM auth.users"), "correct horse")


@pytest.mark.parametrize("password", ["Password1", "015123456789"])
def test_a_password_that_is_tried_first_is_refused(run: Run, query: Query, password: str) -> None:
    result = run("user", "add", "--phone", PHONE, "--name", "Alice", "--password", input=f"{password}\n" * 2)

    assert (1, "") == (result.exit_code, result.stdout)
    assert "choose another" in result.stderr
    assert password not in result.output
    assert 0 == query("SELECT count(*) FROM auth.users")


NO_PHONES = {
    "without plus": "4915123456789",
    "short": "+49",
    "words": "call me",
    "nowhere": "+99912345678901",
    "16 digits": "+1111111111111111",
    "leading zero": "+0491512345678",
    "arabic digits": "+\u0664\u0669\u0661\u0665\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669",
    "full-width digits": "\uff0b\uff14\uff19\uff11\uff15\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19",
    "letter l for 1": "+49l5123456789",
    "letter O for 0 at the end": "+49 151 2345678O",
    "letters": "+1-800-FLOWERS",
    "extension": "+49 151 2345678 ext 5",
    "right-to-left override": "+49151234\u202e56789",
    "escape sequence": "+4915123456789\x1b[2J",
    "newline": "+4915123456789\n",
}


@pytest.mark.parametrize("phone", NO_PHONES.values(), ids=NO_PHONES)
def test_what_is_no_phone_number_is_refused(run: Run, phone: str) -> None:
    """B30"""
    result = run("user", "add", "--phone", phone, "--name", "Alice")

    assert (result.exit_code, result.stdout) == (1, "")
    shown = phone if phone.isprintable() else ascii(phone)
    assert result.stderr.startswith(f"echo-ws: {shown}: not a phone number")


def test_a_number_has_one_user(run: Run, user: str) -> None:
    result = run("user", "add", "--phone", PHONE, "--name", "Bob")

    assert result.exit_code == 1
    assert "belongs to another user" in result.stderr


@pytest.mark.parametrize("name", ["", " ", "A" * 101, "Ali\nce", "\x1b[2J"])
def test_a_user_has_a_name_that_fits(run: Run, query: Query, name: str) -> None:
    result = run("user", "add", "--phone", PHONE, "--name", name)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("echo-ws: --name: 1 to 100 characters")
    assert query("SELECT count(*) FROM auth.users") == 0


@pytest.mark.parametrize("device", ["", " ", "A" * 101, "lap\ntop"])
def test_a_device_has_a_name_that_fits(run: Run, query: Query, user: str, device: str) -> None:
    result = run("session", "issue", user, "--device", device)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("echo-ws: --device: 1 to 100 characters")
    assert query("SELECT count(*) FROM auth.sessions") == 0


def test_who_is_named_by_neither_id_nor_number_is_told_what_is_wanted(run: Run) -> None:
    result = run("user", "show", "Alice")

    assert (1, "") == (result.exit_code, result.stdout)
    wanted = "neither a user's id nor a phone number with country code, such as +49 151 23456789"
    assert f"echo-ws: Alice: {wanted}\n" == result.stderr


def test_psql_gets_the_password_where_others_do_not_see_it(tmp_path: Path) -> None:
    program = tmp_path / "psql"
    program.write_text('#!/bin/sh\necho "$@"\necho "$PGPASSWORD"\n')
    program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ECHO_DATABASE_URL": "postgresql://ann:s%40fe@db:5433/echo"}

    said = subprocess.run(
        [sys.executable, "-m", "echo_ws.cli", "psql", "-c", "TABLE t"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout == "postgresql://ann@db:5433/echo -c TABLE t\ns@fe\n"


@pytest.mark.parametrize("by", ["id", "phone"])
def test_the_token_of_a_new_session_is_shown_and_only_its_digest_stored(
    run: Run, query: Query, user: str, by: str
) -> None:
    result = run("session", "issue", user if by == "id" else PHONE, "--device", "laptop", "--days", "3")

    assert result.exit_code == 0
    assert query("SELECT session_token FROM auth.sessions") == tokens.digest(result.stdout.strip())
    assert query("SELECT extract(day FROM expires_at - created_at) FROM auth.sessions") == 3
    assert "laptop (cli)" in run("session", "list", user).stdout
    (listed,) = map(json.loads, run("session", "list", user, "--json").stdout.splitlines())
    assert ("laptop", "cli") == (listed["device_name"], listed["platform"])
    assert datetime.now(UTC) < datetime.fromisoformat(listed["expires_at"])


@pytest.mark.parametrize("command", ["issue", "list"])
@pytest.mark.parametrize("who", [str(uuid.UUID(int=7)), "+4915100000000"])
def test_there_is_no_session_for_nobody(run: Run, command: str, who: str) -> None:
    result = run("session", command, who)

    assert result.exit_code == 1
    assert result.stderr == f"echo-ws: {who}: no such user; `echo-ws user add` adds one\n"


@pytest.mark.parametrize(
    ("lock", "until"), [((), "is locked"), (("--until", "2999-12-31"), "is locked until 2999-12-31 00:00 UTC")]
)
def test_no_session_is_opened_for_who_is_locked(
    run: Run, query: Query, user: str, lock: tuple[str, ...], until: str
) -> None:
    run("user", "lock", user, *lock)

    result = run("session", "issue", user)

    assert (1, "") == (result.exit_code, result.stdout)
    assert f"echo-ws: {user} {until}; `echo-ws user unlock` lets them in\n" == result.stderr
    assert 0 == query("SELECT count(*) FROM auth.sessions")


@pytest.mark.parametrize("command", ["session issue", "user lock", "user unlock"])
def test_who_was_deleted_stays_out_and_is_called_so(run: Run, query: Query, user: str, command: str) -> None:
    run("user", "delete", user, "--content", "keep", "--yes")

    result = run(*command.split(), user)

    assert (1, "") == (result.exit_code, result.stdout)
    assert f"echo-ws: {user} was deleted, which nobody can take back\n" == result.stderr
    assert 0 == query("SELECT count(*) FROM auth.sessions")


def test_a_revoked_session_is_gone(run: Run, query: Query, user: str) -> None:
    none = run("session", "list", user)
    run("session", "issue", user)
    session = str(query("SELECT id FROM auth.sessions"))

    first, second = run("session", "revoke", session), run("session", "revoke", session)

    assert (none.exit_code, none.stdout) == (0, "")
    assert none.stderr.endswith("no sessions\n")
    assert query("SELECT count(*) FROM auth.sessions") == 0
    assert (first.exit_code, first.stdout) == (0, "1 revoked\n")
    assert (second.exit_code, second.stdout) == (1, "0 revoked\n")


def test_a_session_is_revoked_also_when_redis_is_away(database: str, run: Run, query: Query, user: str) -> None:
    run("session", "issue", user)
    without = run_with({"ECHO_DATABASE_URL": database, "ECHO_REDIS_URL": "redis://127.0.0.1:1"})

    result = without("session", "revoke", str(query("SELECT id FROM auth.sessions")))

    assert result.exit_code == 0
    assert query("SELECT count(*) FROM auth.sessions") == 0
    assert "open connections end within 15 s" in result.stderr


def test_a_locked_user_has_no_session_and_no_way_back(run: Run, query: Query, user: str) -> None:
    run("session", "issue", user)
    query(f"INSERT INTO auth.refresh_tokens VALUES (gen_random_uuid(), '{user}', 't', 'd', 'infinity')")

    locked = run("user", "lock", PHONE, "--for", "2h")

    assert 0 == locked.exit_code
    assert re.fullmatch(r"2.*T.*Z", json.loads(locked.stderr)["until"])
    assert locked.stdout.endswith("UTC; sessions ended: 1\n")
    assert query("SELECT locked FROM auth.users")
    assert (
        119 <= query("SELECT extract(epoch FROM locked_until - now() AT TIME ZONE 'UTC') / 60 FROM auth.users") <= 120
    )
    assert 0 == query("SELECT count(*) FROM auth.sessions")
    assert query("SELECT revoked FROM auth.refresh_tokens")


def test_a_lock_ends_when_it_was_said_or_never(run: Run, query: Query, user: str) -> None:
    for_good = run("user", "lock", user)
    assert (0, None) == (for_good.exit_code, query("SELECT locked_until FROM auth.users"))

    run("user", "lock", user, "--until", "2999-12-31T23:59")
    assert "2999-12-31 23:59:00" == str(query("SELECT locked_until FROM auth.users"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--for", "2 hours"], "expected 1 to 99999 minutes, hours or days, such as 30m"),
        (["--for", "0h"], "expected 1 to 99999 minutes, hours or days, such as 30m"),
        (["--for", "100000d"], "expected 1 to 99999 minutes, hours or days, such as 30m"),
        (["--until", "2001-01-01"], "is not in the future"),
        (["--until", "2999-01-01", "--for", "2h"], "not both"),
        (["--until", "tomorrow"], "does not match the format"),
    ],
)
def test_a_lock_that_makes_no_sense_locks_nobody(
    options: list[str], complaint: str, run: Run, query: Query, user: str
) -> None:
    result = run("user", "lock", user, *options)

    assert result.exit_code
    assert complaint in result.stderr
    assert not query("SELECT locked FROM auth.users")


def test_who_is_unlocked_may_try_again_at_once(run: Run, query: Query, user: str) -> None:
    run("user", "lock", user)
    query("UPDATE auth.users SET failed_login_attempts = 9")

    result = run("user", "unlock", user)

    assert (0, "unlocked\n") == (result.exit_code, result.stdout)
    assert query("SELECT NOT locked AND locked_until IS NULL AND failed_login_attempts = 0 FROM auth.users")


def test_an_operator_sees_what_there_is_to_a_user(run: Run, query: Query, user: str) -> None:
    run("session", "issue", user)
    query("UPDATE auth.users SET locked = TRUE, locked_until = '2999-12-31'")
    query("UPDATE auth.users SET email = 'alice@example.org', failed_login_attempts = 3, password_hash = 'hash'")
    query(
        "INSERT INTO auth.login_history (user_id, phone, success, created_at)"
        " SELECT id, phone, TRUE, '2026-01-02' FROM auth.users"
    )

    plain, shown = run("user", "show", PHONE), run("user", "show", user, "--json")

    row = json.loads(shown.stdout)
    assert row.pop("created_at")
    assert {
        "user": user,
        "name": "Alice",
        "phone": "+4915123456789",
        "email": "alice@example.org",
        "email_verified": False,
        "verified": True,
        "locked": True,
        "locked_until": "2999-12-31T00:00:00Z",
        "failed_logins": 3,
        "second_factor": False,
        "deleted_at": None,
        "sessions": 1,
        "last_login_at": "2026-01-02T00:00:00Z",
    } == row
    assert "locked         yes\nlocked until   2999-12-31 00:00 UTC\nfailed logins  3\n" in plain.stdout


@pytest.mark.parametrize(
    ("lock", "locked", "until"),
    [
        ("FALSE, '2999-12-31'", True, "2999-12-31T00:00:00Z"),  # by failures
        ("TRUE, '2999-12-31'", True, "2999-12-31T00:00:00Z"),
        ("TRUE, NULL", True, None),
        ("TRUE, '2001-12-31'", False, None),
        ("FALSE, '2001-12-31'", False, None),
        ("NULL, NULL", False, None),
    ],
)
def test_whether_a_user_is_locked_and_until_when_agree(
    run: Run, query: Query, user: str, lock: str, locked: bool, until: str | None
) -> None:
    query(f"UPDATE auth.users SET (locked, locked_until) = ROW ({lock})")

    row = json.loads(run("user", "show", user, "--json").stdout)

    assert (locked, until) == (row["locked"], row["locked_until"])


def test_who_was_deleted_has_no_number(run: Run, user: str) -> None:
    run("user", "delete", user, "--content", "keep", "--yes")

    shown = run("user", "show", user).stdout

    assert "phone          -\n" in shown


def test_a_session_that_was_never_used_is_listed_so(run: Run, query: Query, user: str) -> None:
    run("session", "issue", user)

    fresh = run("session", "list", user).stdout
    query("UPDATE auth.sessions SET last_activity_at = '2999-01-02 03:04', ip_address = '192.0.2.1'")
    used = run("session", "list", user).stdout

    assert "  never used, ends 2" in fresh
    assert "  used 2999-01-02 03:04 from 192.0.2.1, ends 2" in used


def test_a_user_is_deleted_when_it_was_confirmed(run: Run, query: Query, user: str) -> None:
    run("session", "issue", user)

    doubted = run("user", "delete", PHONE, "--content", "erase", input="n\n")
    assert (1, None) == (doubted.exit_code, query("SELECT deleted_at FROM auth.users"))
    done = run("user", "delete", PHONE, "--content", "erase", "--yes", "--by", "ann")

    assert (0, "deleted\n") == (done.exit_code, done.stdout)
    assert query("SELECT deleted_at IS NOT NULL FROM auth.users")
    assert 0 == query("SELECT count(*) FROM auth.sessions")
    line = json.loads(done.stderr)
    assert ("user_deleted", user, "ann", "erase", 1) == tuple(
        line[each] for each in ("event", "user", "by", "messages", "sessions")
    )


def test_what_becomes_of_messages_has_to_be_said(run: Run, query: Query, user: str) -> None:
    result = run("user", "delete", user, "--yes")

    assert result.exit_code
    assert "--content" in result.stderr
    assert query("SELECT deleted_at IS NULL FROM auth.users")


@pytest.mark.parametrize("command", ["show", "lock", "unlock", "delete --content keep --yes"])
@pytest.mark.parametrize("who", [str(uuid.UUID(int=7)), "+4915100000000"])
def test_who_is_not_there_is_not_shown_and_not_locked(run: Run, command: str, who: str) -> None:
    result = run("user", *command.split(), who)

    assert (1, "") == (result.exit_code, result.stdout)
    assert f"echo-ws: {who}: no such user; `echo-ws user add` adds one\n" == result.stderr


def test_what_an_operator_does_is_logged_with_who_and_whom_and_no_secret(run: Run, query: Query, user: str) -> None:
    issued = run("session", "issue", user, "--by", "ann")
    session = str(query("SELECT id FROM auth.sessions"))
    results = [
        issued,
        run("session", "list", user, "--by", "ann"),
        run("session", "revoke", session, "--by", "ann"),
        run("user", "show", user, "--by", "ann"),
        run("user", "lock", PHONE, "--for", "1d", "--by", "ann"),
        run("user", "unlock", PHONE, "--by", "ann"),
    ]

    lines = [json.loads(line) for one in results for line in one.stderr.splitlines() if line.startswith("{")]
    assert [
        ("session_issued", session),
        ("sessions_listed", None),
        ("session_revoked", session),
        ("user_shown", None),
        ("user_locked", None),
        ("user_unlocked", None),
    ] == [(line["event"], line.get("session")) for line in lines]
    assert {(user, "ann", pwd.getpwuid(os.getuid()).pw_name)} == {
        (line["user"], line["by"], line["account"]) for line in lines
    }
    written = "".join(one.stderr for one in results)
    assert not [secret for secret in (issued.stdout.strip(), "4915123456789", "Alice") if secret in written]


def test_without_a_name_the_account_is_who_did_it(run: Run, user: str) -> None:
    line = json.loads(run("user", "unlock", user).stderr)

    assert line["by"] == line["account"] == pwd.getpwuid(os.getuid()).pw_name


def test_demo_users_are_json_lines_that_open_sessions(run: Run, query: Query) -> None:
    result = run("demo", "users", "--count", "600")

    people = [json.loads(line) for line in result.stdout.splitlines()]
    assert len({person["user"] for person in people}) == 600
    assert [person["name"] for person in people[:2]] == ["Alice", "Bob"]
    assert query("SELECT count(*) FROM auth.sessions") == 600
    digest = tokens.digest(people[599]["token"])
    assert str(query(f"SELECT user_id FROM auth.sessions WHERE session_token = '{digest}'")) == people[599]["user"]


def test_a_restore_begins_a_new_epoch(run: Run, query: Query) -> None:
    before = query("SELECT epoch::text FROM messages.epoch")

    result = run("restore-done")

    assert result.exit_code == 0
    assert before != query("SELECT epoch::text FROM messages.epoch")
    assert query("SELECT epoch::text FROM messages.epoch") in result.stdout


def test_migrating_up_and_down_and_asking(empty_database: str) -> None:
    run = run_with({"ECHO_DATABASE_URL": empty_database})

    before, up, after = run("migrate", "status"), run("migrate", "up"), run("migrate", "status")
    down = run("migrate", "down", "--yes")

    assert (before.exit_code, up.exit_code, after.exit_code, down.exit_code) == (0, 0, 0, 0)
    assert "pending   0001_reference" in before.stdout
    assert "pending" not in after.stdout
    assert "pending" in run("migrate", "status").stdout


@pytest.mark.parametrize(
    "command", [["session", "list", PHONE], ["user", "add", "--phone", PHONE, "--name", "A"], ["migrate", "status"]]
)
def test_a_database_that_is_away_is_one_line(command: list[str]) -> None:
    result = run_with({"ECHO_DATABASE_URL": NOWHERE})(*command)

    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert "PostgreSQL" in result.stderr


@pytest.mark.parametrize("command", [["session", "list", PHONE], ["migrate", "status"], ["psql"]])
def test_without_a_server_it_is_said_how_to_start_one(tmp_path: Path, command: list[str]) -> None:
    result = run_with({"ECHO_DATA_DIR": str(tmp_path)})(*command)

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"no database runs in {tmp_path}: start it with `echo-ws serve`" in result.stderr


def test_the_settings_in_force_are_shown_with_their_source_and_without_secrets() -> None:
    result = run_with({"ECHO_PORT": "17", "ECHO_DATABASE_URL": "postgresql://echo:hunter2@db/echo"})("config")

    assert "* ECHO_PORT                  17\n" in result.stdout
    assert "  ECHO_WORKERS               1\n" in result.stdout
    assert "hunter2" not in result.output


def test_a_setting_that_does_not_exist_is_named_and_those_that_do_are_listed() -> None:
    result = run_with({"ECHO_PROT": "17"})("config")

    assert result.exit_code == 1
    assert result.stderr == "echo-ws: ECHO_PROT: no such setting; `echo-ws config` lists them\n"
    assert "ECHO_PORT (integer): TCP port" in result.stdout


def test_asking_for_health_where_nobody_listens_fails() -> None:
    result = run_with({"ECHO_PORT": "1"})("healthcheck")

    assert result.exit_code == 1
    assert "no answer from 127.0.0.1:1" in result.stderr


@pytest.mark.parametrize("group", ["user", "session", "demo", "migrate"])
def test_no_line_of_a_list_of_commands_is_cut(group: str) -> None:
    result = CliRunner().invoke(main, [group, "--help"], terminal_width=80)

    _, commands = result.stdout.split("Commands:\n")
    assert "..." not in commands


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])

    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert command in CliRunner().invoke(main, ["--help"]).stdout
