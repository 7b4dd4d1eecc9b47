"""A maintainer builds a release: a wheel and a source distribution that any index accepts."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import pbxhub
from tests.support.wheel import ROOT, build_sdist, build_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sdist(tmp_path_factory.mktemp("sdist"))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(wheel: Path) -> Message:
    name = f"pbxhub-{pbxhub.__version__}.dist-info/METADATA"
    return message_from_bytes(contents(wheel)[name])


def test_an_index_accepts_both_files(wheel: Path, sdist: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", wheel, sdist], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert contents(build_wheel(tmp_path, source)) == contents(wheel)


def test_the_version_is_written_in_one_place(wheel: Path) -> None:
    assert metadata(wheel)["Version"] == pbxhub.__version__
    written = (ROOT / "pyproject.toml").read_text() + (ROOT / "README.md").read_text()
    assert not re.search(rf"(?<![\d.]){re.escape(pbxhub.__version__)}(?![\d.])", written)
    assert re.search(rf"^## (Unreleased|{re.escape(pbxhub.__version__)})", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_everything_of_others_in_the_wheel_comes_with_its_licence(wheel: Path) -> None:
    files = contents(wheel)
    licences = {Path(name).name for name in files if ".dist-info/licenses/" in name}
    vendored = set(re.findall(r"\| (\S+?)(?:/core)? \| [\d.]+ \|", (ROOT / "static/vendor/README.md").read_text()))
    assert vendored == {"@tabler", "@tabler/icons", "htmx.org", "rapidoc"}
    assert licences == {"LICENSE", "tabler.LICENSE", "tabler-icons.LICENSE", "htmx.LICENSE", "rapidoc.LICENSE"}
    assert metadata(wheel)["License-Expression"] == "MIT AND 0BSD"


def test_type_checkers_read_the_types_of_the_kit(wheel: Path) -> None:
    assert "pbxhub/py.typed" in contents(wheel)
    assert "Typing :: Typed" in metadata(wheel).get_all("Classifier", [])
