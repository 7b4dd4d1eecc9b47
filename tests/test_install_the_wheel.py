"""An operator installs the wheel, without a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.wheel import build_wheel

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds, as pip lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(build_wheel(folder)) as wheel:
        wheel.extractall(folder / "installed")
    return folder / "installed"


def run(installed: Path, data: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "PYTHONPATH": str(installed), "PBXHUB_DATA_DIR": str(data)}
    return subprocess.run([sys.executable, *command], cwd=data, env=environ, capture_output=True, text=True, timeout=60)


def test_it_migrates_with_the_migrations_inside(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "-m", "pbxhub", "migrate")
    assert done.stdout == "The database is up to date.\n", done.stderr


def test_it_finds_its_pages_and_asterisk_files_inside(installed: Path, tmp_path: Path) -> None:
    code = "from pbxhub.paths import *; print(*(p for p in (TEMPLATES, STATIC, MIGRATIONS, ASTERISK_CONF)))"
    folders = [Path(text) for text in run(installed, tmp_path, "-c", code).stdout.split()]
    assert [folder.is_relative_to(installed) and any(folder.iterdir()) for folder in folders] == [True] * 4


def test_what_the_pages_show_is_all_there(installed: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "templates", "static", "asterisk-conf"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()  # fmt: skip
    assert tracked
    assert [name for name in tracked if not (installed / "pbxhub" / "_data" / name).exists()] == []


def test_the_kit_joins_only_the_pytest_runs_that_ask_for_it(installed: Path, tmp_path: Path) -> None:
    theirs = """
import sys
import pytest

@pytest.fixture
def hub():
    return "their own"

def test_theirs(hub, pytestconfig):
    assert hub == "their own"
    assert not [name for name in sys.modules if name.startswith("pbxhub")]
    assert not pytestconfig.getoption("--pbxhub-env-file", None)
"""
    tmp_path.joinpath("test_theirs.py").write_text(theirs)
    done = run(installed, tmp_path, "-m", "pytest", "-q")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    tmp_path.joinpath("test_theirs.py").write_text("def test_ours(mock_server): assert mock_server().url")
    assert "fixture 'mock_server' not found" in run(installed, tmp_path, "-m", "pytest", "-q").stdout
    tmp_path.joinpath("conftest.py").write_text('pytest_plugins = ["pbxhub.testing.plugin"]')
    asked = run(installed, tmp_path, "-m", "pytest", "-q", "--pbxhub-database", "sqlite")
    assert asked.returncode == 0, asked.stdout + asked.stderr
