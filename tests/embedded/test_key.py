"""The secret key in the data folder."""

import stat
from pathlib import Path

from echo_ws.embedded.key import secret_key


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = secret_key(tmp_path)

    assert 43 == len(key)
    assert key == secret_key(tmp_path)
    assert 0o600 == stat.S_IMODE((tmp_path / "secret-key").stat().st_mode)
    assert ["secret-key"] == [path.name for path in tmp_path.iterdir()]


def test_one_that_was_not_written_whole_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "secret-key.new").write_text("half")

    assert "half" != secret_key(tmp_path)


def test_each_folder_has_its_own(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()

    assert 2 == len(set(map(secret_key, folders)))
