"""An operator builds and runs the image of deploy/Dockerfile: its own steps in a bare Debian, without a container
engine."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import func, select

from pbxhub.settings import read_settings
from pbxhub.store.delivery_rows import DELIVERED, Delivery
from pbxhub.store.session import open_database
from pbxhub.testing import await_until
from pbxhub.testing.processes import Program, program
from tests.support.bare_debian import bare_debian

ROOT = Path(__file__).parents[1]
PIP = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Image:
    """A stage of the Dockerfile. folder: its file system."""

    folder: Path
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    workdir: str = "/"
    user: str = "root"
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def inside(self, *command: str, user: str = "root", **more: str) -> list[str]:
        settings = [f"{name}={value}" for name, value in {**self.environ, **more}.items()]
        return ["chroot", f"--userspec={user}", str(self.folder), "/usr/bin/env", "-i", *settings, *command]


@pytest.fixture(scope="module")
def base() -> Path:
    """Debian with Python and nothing else, in place of the base image; kept for the next run."""
    if os.geteuid() != 0:
        pytest.fail("this test changes roots: run it as root, as CI does")
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    assert release, "run it on Debian"
    return bare_debian(release[1], "python3,python3-venv,python-is-python3")


@pytest.fixture(scope="module")
def image(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The last stage, after every step of the file."""
    folder = tmp_path_factory.mktemp("image")
    stages: dict[str, Image] = {}
    for line in re.sub(r"\\\n\s*", "", (ROOT / "deploy/Dockerfile").read_text()).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            name = rest.rpartition(" AS ")[2]
            stages[name] = image = Image(folder / str(len(stages)))
            subprocess.run(["cp", "-a", base, image.folder], check=True)
        elif word and word != "#":
            STEPS[word](image, rest, stages)
    yield image
    shutil.rmtree(folder)


def run(image: Image, command: str, _stages: dict[str, Image]) -> None:
    step = image.inside("sh", "-ec", f"cd {image.workdir} && {command}", DEBIAN_FRONTEND="noninteractive", **PIP)
    done = subprocess.run(step, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def copy(image: Image, rest: str, stages: dict[str, Image]) -> None:
    if found := re.fullmatch(r"--from=(\w+) (\S+) (\S+)", rest):
        subprocess.run(["cp", "-a", stages[found[1]].folder / found[2][1:], image.folder / found[3][1:]], check=True)
        return
    assert rest == ". ."
    ignored = tuple((ROOT / ".dockerignore").read_text().split())
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        if not name.startswith(ignored):
            target = image.folder / image.workdir[1:] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)


def set_variables(image: Image, rest: str, _stages: dict[str, Image]) -> None:
    for name, value in re.findall(r"(\w+)=(\S+)", rest):
        image.environ[name] = value.replace("$PATH", image.environ["PATH"])


def set_health(image: Image, rest: str, _stages: dict[str, Image]) -> None:
    image.health = json.loads(rest.partition("CMD ")[2])


def make_workdir(image: Image, rest: str, _stages: dict[str, Image]) -> None:
    image.workdir = rest
    (image.folder / rest[1:]).mkdir(parents=True, exist_ok=True)


STEPS = {
    "RUN": run, "COPY": copy, "ENV": set_variables, "HEALTHCHECK": set_health, "WORKDIR": make_workdir,
    "USER": lambda image, rest, _: setattr(image, "user", rest),
    "ENTRYPOINT": lambda image, rest, _: image.command.extend(json.loads(rest)),
    "CMD": lambda image, rest, _: image.command.extend(json.loads(rest)),
    "VOLUME": lambda *_: None, "EXPOSE": lambda *_: None,
}  # fmt: skip


@contextmanager
def running(image: Image, log: Path) -> Iterator[Program]:
    """The container's process in a network of its own, as the image's user."""
    started = image.inside(*image.command, "--demo", user=image.user)
    inner = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", *started]
    container = Program([program("unshare", "util-linux"), "--net", *inner], log)
    yield container
    assert container.stop(15) == 0, container.last_lines()


def test_the_image_plays_a_call_as_its_own_user(image: Image, tmp_path: Path) -> None:
    state = image.folder / "var/lib/pbxhub"
    with running(image, tmp_path / "log") as container:
        network = [program("nsenter", "util-linux"), "-t", str(container.pid), "-n"]

        def healthy() -> None:
            asked = subprocess.run([*network, *image.inside(*image.health, user=image.user)], capture_output=True)
            assert asked.returncode == 0, container.last_lines()

        await_until(healthy, "60s")

        def delivered() -> None:
            database = open_database(f"sqlite:///{state}/pbxhub.sqlite3")
            with database.read() as session:
                query = select(func.count()).select_from(Delivery).where(Delivery.state == DELIVERED)
                assert session.scalar(query), container.last_lines()
            database.close()

        await_until(delivered, "60s")
        assert {path.stat().st_uid for path in state.rglob("*")} == {10001}


def test_the_image_has_what_a_backup_of_postgresql_needs(image: Image) -> None:
    assert subprocess.run(image.inside("pg_dump", "--version"), capture_output=True).returncode == 0


def test_the_compose_file_sets_only_settings_that_exist(tmp_path: Path) -> None:
    """Without a container engine: the hub reads what the file gives it, with the secrets that its comment asks for."""
    written = re.findall(r"^ +(PBXHUB_\w+): (.+)", (ROOT / "deploy/compose.yaml").read_text(), re.MULTILINE)
    given = {"POSTGRES_PASSWORD": "secret", "PBXHUB_SECRET_KEY": "a" * 43 + "="}
    environ = {"PBXHUB_DATA_DIR": str(tmp_path)}
    for name, value in written:
        chosen = re.sub(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}", lambda found: given.get(found[1], found[2]), value)
        environ[name] = chosen.partition(" #")[0]
    settings = read_settings(environ)
    assert settings.database_url == "postgresql+psycopg://pbxhub:secret@database:5432/pbxhub"
    assert settings.agi == ("0.0.0.0", 4573)
