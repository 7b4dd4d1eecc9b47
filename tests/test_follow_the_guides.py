"""Somebody reads the documentation and types what it says."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from pbxhub.cli import main
from pbxhub.store.accounts import User
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.testing import await_until
from pbxhub.testing.processes import Program, free_port

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / "README.md", ROOT / "asterisk-conf/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
FENCE = re.compile(r"^ *```(.*)\n((?:.*\n)*?) *```$", re.MULTILINE)

RUN_ELSEWHERE = {
    "docs/api/README.md": "tests/api/test_follow_the_api_documentation.py",
    "docs/operations/high-availability.md": "bench/hosts",  # its files, on hosts without systemd
    "docs/testing/monitor.md": "tests/kit/test_monitor_scenarios.py",
    "docs/testing/random.md": "tests/asterisk/test_random_calls.py",
    "docs/testing/scenario.md": "tests/kit/test_run_scenarios.py",
}
NOT_RUN = {
    "make run": "installs, then runs `pbxhub run --demo`, which tests/test_run_the_hub.py does",
    "pip install 'pbxhub[testing]'": "is for a released version; the example is run by tests/kit",
    "apt-get install -y python3-venv": "tests/test_install_on_a_server.py installs in the same steps",
    "pip wheel": "tests/test_install_on_a_server.py does it into another folder",
    "/opt/pbxhub/bin/pip install --no-index": "tests/test_install_on_a_server.py does it into another folder",
    "systemd-run": "needs systemd as process 1",
    "docker compose": "needs a container engine; tests/test_build_the_image.py runs the steps of the image",
    "pbxhub rotate-key --new-root": "ends every session and link; tests/test_rotate_the_key.py runs it",
    "pbxhub lost-key": "tests/test_rotate_the_key.py runs it on a hub with secrets",
    'curl -H "Authorization: Bearer $PBXHUB_HEALTH_TOKEN"': "tests/test_watch_the_hub.py asks a hub with a PBX",
    "pbxhub pbx add": "asks for the secret on a terminal",
    "pbxhub check": "needs the PBX of the page",
}


def blocks(page: str, language: str) -> list[str]:
    return [text for mark, text in FENCE.findall(PAGES[page]) if mark == language]


@pytest.mark.slow
def test_the_site_is_built_without_a_broken_link(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", "-c", "docs", ".", tmp_path]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Create your account" in (tmp_path / "docs/start.html").read_text()


def test_the_readme_leads_only_to_what_is_there() -> None:
    found = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES["README.md"])
    assert len(found) > 10
    assert [link for link in found if not (ROOT / link).exists()] == []
    assert len(PAGES["README.md"].splitlines()) < 100


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    assert [text[:60] for mark, text in FENCE.findall(PAGES[page]) if not mark] == []


def commands() -> Iterator[tuple[str, str]]:
    """Page and text of every command of the hub, in blocks and in sentences."""
    for page, text in PAGES.items():
        for block in blocks(page, "sh"):
            lines = block.replace("\\\n", " ").splitlines()
            yield from ((page, line.strip()) for line in lines if re.match(r" *\S*\bpbxhub ", line))
        yield from ((page, found) for found in re.findall(r"`((?:\.venv/bin/)?pbxhub [a-z-][^`]*)`", text))


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_every_command_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(re.split(r" [<>|#] | [<>|]", line)[0])[1:]
    command: click.Command = main
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        assert words[0] in command.commands, f"{page}: {line}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.split("=")[0] for word in words if word.startswith("-")}
    assert given <= known | {"--help", "--version"}, f"{page}: {line}"


def test_every_block_of_commands_is_run_or_says_why_not() -> None:
    here = {"docs/start.md", "docs/security.md", "docs/operations/users.md", "docs/operations/backup.md"}
    untold = [
        (page, block)
        for page in PAGES
        if page not in here | set(RUN_ELSEWHERE)
        for block in blocks(page, "sh")
        if not any(block.strip().startswith(beginning) for beginning in NOT_RUN)
    ]
    assert untold == []
    assert [test for test in RUN_ELSEWHERE.values() if not (ROOT / test).exists()] == []
    every_block = [block.strip() for page in PAGES for block in blocks(page, "sh")]
    assert [one for one in NOT_RUN if not any(block.startswith(one) for block in every_block)] == []


def environ(database_url: str, folder: Path) -> dict[str, str]:
    """With the command `pbxhub` on the path, and no setting but these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PBXHUB_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**clean, "PATH": path, "PBXHUB_DATABASE_URL": database_url, "PBXHUB_DATA_DIR": str(folder)}


def run(block: str, settings: dict[str, str], **replaced: str) -> str:
    for written, here in replaced.items():
        block = block.replace(written, here)
    done = subprocess.run(["bash", "-ec", block], env=settings, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


def add_users(database: Database) -> None:
    with database.write() as session:
        for name in ("first", "anna"):
            session.add(
                User(
                    email=f"{name}@example.com", password="x", fs_uniquifier=name, operator=name == "first",
                    recovery_codes=[], created_on=datetime.now(UTC),
                )
            )  # fmt: skip


@pytest.mark.slow
def test_the_commands_for_users(database_url: str, database: Database, tmp_path: Path) -> None:
    add_users(database)
    settings = environ(database_url, tmp_path)
    listed, linked = (run(block, settings) for block in blocks("docs/security.md", "sh"))
    assert "anna@example.com is an operator now." in listed
    assert "anna@example.com is no longer an operator." in listed
    assert re.search(r"https?://\S+", linked)
    (tmp_path / "anna").write_text("a new and quite long password\n")
    (block,) = blocks("docs/operations/users.md", "sh")
    run(block, settings, **{"/run/secrets": str(tmp_path)})


def test_the_commands_for_backup_and_move(empty_postgres_url: str, tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/pbxhub.sqlite3")
    migrate(database)
    add_users(database)
    database.close()
    settings = environ(f"sqlite:///{tmp_path}/pbxhub.sqlite3", tmp_path)
    (tmp_path / "passphrase").write_text("some words that nobody guesses\n")
    backup, move = blocks("docs/operations/backup.md", "sh")
    run(backup, settings, **{"/var/backups": str(tmp_path), "/etc/pbxhub/passphrase": str(tmp_path / "passphrase")})
    assert (tmp_path / "pbxhub.tar").stat().st_mode & 0o077 == 0
    run(move, settings, **{"postgresql+psycopg://pbxhub@db.example.com/pbxhub": empty_postgres_url})
    moved = open_database(empty_postgres_url)
    with moved.read() as session:
        assert {user.email for user in session.query(User)} == {"first@example.com", "anna@example.com"}
    moved.close()


@pytest.mark.slow
def test_the_first_five_minutes(tmp_path: Path) -> None:
    """What the guide shows of the demo's output is what the demo prints."""
    port = free_port(2)
    settings = environ(f"sqlite:///{tmp_path}/pbxhub.sqlite3", tmp_path) | {"PBXHUB_PORT": str(port), "PBXHUB_AGI": ""}
    demo = Program([sys.executable, "-m", "pbxhub", "run", "--demo"], tmp_path / "log", None, settings)
    (shown,) = blocks("docs/start.md", "text")
    _make_run, receiver, link = blocks("docs/start.md", "sh")

    def printed() -> None:
        told = demo.last_lines(1000).replace(str(port + 1), "8081").replace(str(port), "8080")
        for line in shown.splitlines():
            beginning = re.split(r"…|\d+\.\d{7}", line)[0]
            assert beginning in told, told

    await_until(printed, "60s")
    assert "crm/call-started" in run(receiver, settings, **{"8081": str(port + 1)})
    assert f":{port}/setup?token=" in run(link, settings, **{".venv/bin/": ""})
    assert demo.stop(15) == 0, demo.last_lines()
