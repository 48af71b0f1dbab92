import json
from pathlib import Path

import pytest

from echo_ws import config
from echo_ws.config import ConfigError, JwtKey, Settings
from echo_ws.settings import default_data_dir

SECRET = "0123456789abcdef0123456789abcdef"


def from_environ(**variables: str) -> Settings:
    return config.load(variables, None, {})


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        from_environ(**variables)
    return str(caught.value)


def test_without_anything_said_the_defaults_are_in_force() -> None:
    assert Settings(data_dir=Path("/var/lib/echo_ws")) == config.load(
        {"HOME": "/"}, None, {"data_dir": "/var/lib/echo_ws"}
    )


def test_a_variable_beats_the_file_and_the_command_line_beats_both(tmp_path: Path) -> None:
    file = tmp_path / "echo.toml"
    file.write_text('port = 1\nworkers = 2\nhost = "file"\n')

    settings, sources = config.load_with_sources({"ECHO_PORT": "3", "ECHO_WORKERS": "4"}, file, {"port": 5})

    assert (settings.port, settings.workers, settings.host) == (5, 4, "file")
    assert ("--port", "ECHO_WORKERS", str(file), "default") == (
        sources["port"],
        sources["workers"],
        sources["host"],
        sources["drain_s"],
    )


def test_the_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "echo.toml"
    file.write_text("port = 17\n")

    assert from_environ(ECHO_CONFIG=str(file)).port == 17


def test_lists_are_written_with_commas_and_tables_as_json() -> None:
    settings = from_environ(
        ECHO_TRUSTED_NETWORKS="10.0.0.0/8, fd00::/8",
        ECHO_JWT_KEYS=f'{{"2026-a": {{"alg": "HS256", "key": "{SECRET}"}}}}',
    )

    assert settings.trusted_networks == ("10.0.0.0/8", "fd00::/8")
    assert settings.jwt_keys == {"2026-a": JwtKey(alg="HS256", key=SECRET)}


def test_an_empty_variable_counts_as_none_and_an_empty_list_as_a_list() -> None:
    settings = from_environ(ECHO_PORT="", ECHO_DATABASE_URL="", ECHO_TRUSTED_NETWORKS="")

    assert (settings.port, settings.database_url, settings.trusted_networks) == (8765, None, ())


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("ECHO_PORT", "abc", 'expected an integer between 0 and 65535, got "abc"'),
        ("ECHO_PORT", "65536", 'expected an integer between 0 and 65535, got "65536"'),
        ("ECHO_POOL_SIZE", "0", 'expected an integer of at least 1, got "0"'),
        ("ECHO_HEARTBEAT_S", "nan", 'expected a number above 0 and up to 86400, got "nan"'),
        ("ECHO_LOG_FORMAT", "xml", 'expected one of console, json, got "xml"'),
        ("ECHO_DATA_DIR", "here", 'expected an absolute path, got "here"'),
        ("ECHO_TRUSTED_NETWORKS", "10.0.0.1/8", 'expected networks such as 10.0.0.0/8,::1/128, got ["10.0.0.1/8"]'),
        ("ECHO_FOO", "1", "no such setting; `echo-ws config` lists them"),
        ("ECHO_port", "1", "no such setting; `echo-ws config` lists them"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(variable: str, value: str, complaint: str) -> None:
    assert f"{variable}: {complaint}" == refusal(**{variable: value})


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("prot = 1", "prot: no such setting"),
        ("port = true", "port: expected an integer between 0 and 65535, got true"),
        ("jwt_keys.a.alg = 'none'", "jwt_keys: expected a table"),
        ("port = ", "not valid TOML"),
    ],
)
def test_a_wrong_line_of_the_file_is_refused_by_name(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "echo.toml"
    file.write_text(line)

    with pytest.raises(ConfigError, match=complaint):
        config.load({}, file, {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read"):
        config.load({}, tmp_path / "missing.toml", {})


@pytest.mark.parametrize(
    "variables",
    [
        {"ECHO_DATABASE_URL": "mysql://echo:hunter2@db/echo"},
        {"ECHO_REDIS_URL": "http://:hunter2@redis"},
        {"ECHO_JWT_KEYS": '{"a": {"alg": "HS256", "key": "hunter2"}}'},
        {"ECHO_OAUTH": '{"github": {"client_ids": [], "client_secret": "hunter2"}}'},
        {"ECHO_OAUTH": '{"hunter2": {"client_ids": ["a"]}}'},
    ],
)
def test_a_refusal_shows_no_secret(variables: dict[str, str]) -> None:
    assert "hunter2" not in refusal(**variables)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://echo:hunter2@db/echo",
        "postgresql://echo:hun/ter2@a,b/echo",
        "postgresql://echo:x@hunter2@db:5432/echo",
        "postgresql:///echo?password=hunter2&user=echo",
    ],
)
def test_what_is_in_force_is_shown_without_passwords_and_keys(url: str) -> None:
    settings = from_environ(ECHO_DATABASE_URL=url, ECHO_JWT_KEYS=f'{{"a": {{"alg": "HS256", "key": "{SECRET}"}}}}')

    texts = config.shown(settings)

    assert "hun" not in texts["database_url"]
    assert "ter2" not in texts["database_url"]
    assert texts["jwt_keys"] == "a (HS256)"
    assert SECRET not in repr(settings) + repr(settings.jwt_keys)


def test_providers_are_shown_by_name_alone() -> None:
    settings = from_environ(ECHO_OAUTH=f'{{"github": {{"client_ids": ["a"], "client_secret": "{SECRET}"}}}}')

    assert "github" == config.shown(settings)["oauth"]
    assert SECRET not in repr(settings) + repr(settings.oauth)


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("https://id.example.org/keys", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://[::1]/keys", True),
        ("http://id.example.org/keys", False),
        ("http://127.0.0.1.example.org/keys", False),
        ("http://localhost@example.org/keys", False),
        ("https://id@example.org/keys", False),
        ("https://id.example.org/keys?of=us", False),
        ("file:///etc/passwd", False),
    ],
)
def test_a_provider_answers_by_https_or_on_the_same_machine(url: str, is_taken: bool) -> None:
    variables = {"ECHO_OAUTH": json.dumps({"google": {"client_ids": ["a"], "keys_url": url}})}

    if is_taken:
        assert url == from_environ(**variables).oauth["google"].keys_url
    else:
        assert "ECHO_OAUTH: expected a table" in refusal(**variables)


def test_a_worker_gets_the_same_settings_on_one_line() -> None:
    settings = from_environ(
        ECHO_JWT_KEYS=f'{{"a": {{"alg": "HS256", "key": "{SECRET}"}}}}',
        ECHO_OAUTH=f'{{"apple": {{"client_ids": ["a", "b"], "algorithms": ["RS256"], "client_secret": "{SECRET}"}}}}',
        ECHO_HEARTBEAT_S="0.5",
    )

    line = config.encode(settings)

    assert b"\n" not in line
    assert settings == config.decode(line)


def test_every_setting_is_described() -> None:
    table = config.describe()

    assert set(Settings.__struct_fields__) == {row.name for row in table}
    assert [row.name for row in table if not row.description.endswith(".") or not row.kind] == []


@pytest.mark.parametrize(
    ("suffix", "unit"),
    [
        ("_s", "econd"),
        ("_ms", "illiseconds"),
        ("_bytes", "ytes"),
        ("_days", "ays"),
        ("_min", "minute"),
        ("_mib", "MiB"),
    ],
)
def test_the_description_of_a_quantity_names_its_unit(suffix: str, unit: str) -> None:
    assert [row.name for row in config.describe() if row.name.endswith(suffix) and unit not in row.description] == []


@pytest.mark.parametrize(
    ("environ", "uid", "folder"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/me"}, 1000, "/state/echo_ws"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, 1000, "/home/me/.local/state/echo_ws"),
        ({"XDG_STATE_HOME": "/state"}, 0, "/var/lib/echo_ws"),
    ],
)
def test_state_is_kept_where_the_system_has_its_place_for_it(environ: dict[str, str], uid: int, folder: str) -> None:
    assert Path(folder) == default_data_dir(environ, uid)


def test_a_secret_that_is_no_url_is_not_shown_at_all() -> None:
    secrets = {
        "ECHO_SECRET_KEY": SECRET,
        "ECHO_WEBHOOK_SECRET": SECRET,
        "ECHO_WEBHOOK_URL": f"https://sms.example.org/{SECRET}",
    }

    texts = config.shown(from_environ(**secrets))

    assert ("***", "***", "***") == (texts["secret_key"], texts["webhook_secret"], texts["webhook_url"])
    assert "" == config.shown(from_environ())["secret_key"]
    assert SECRET not in refusal(ECHO_WEBHOOK_URL=f"ftp://{SECRET}")
