"""Sounds that answers name by URL: Asterisk, another user, plays them; two calls may fetch one at once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pbxhub.agi.action_runner import StepError
from pbxhub.agi.sound_downloads import keep_sound
from pbxhub.sending.exchange import Answer
from pbxhub.settings import read_settings

URL = "https://example.com/hello.ulaw"


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_every_user_of_the_host_can_read_them(strict_umask: None, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    name = keep_sound(folder, URL, Answer("ok", "", body=b"hello"))
    assert Path(name).parent == folder
    file = Path(f"{name}.ulaw")
    assert file.read_bytes() == b"hello"
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o755, 0o644)


def test_calls_that_fetch_the_same_sound_at_once_all_get_it(tmp_path: Path) -> None:
    answer = Answer("ok", "", body=b"x" * 60_000)
    with ThreadPoolExecutor(16) as threads:
        for round_ in range(20):
            folder = tmp_path / str(round_)
            names = list(threads.map(lambda _, folder=folder: keep_sound(folder, URL, answer), range(16)))
            assert len(set(names)) == 1
            assert [path.name for path in folder.iterdir()] == [f"{Path(names[0]).name}.ulaw"]


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StepError, match="cannot be saved in"):
        keep_sound(tmp_path / "file" / "sounds", URL, Answer("ok", "", body=b"hello"))


def test_the_folder_can_be_set(tmp_path: Path) -> None:
    data = {"PBXHUB_DATA_DIR": str(tmp_path / "data")}
    assert read_settings(data).sounds == tmp_path / "data" / "sounds"
    assert read_settings({**data, "PBXHUB_SOUNDS": str(tmp_path / "x")}).sounds == tmp_path / "x"
