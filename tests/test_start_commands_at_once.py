"""A command loads what it works with and nothing else: help and a replay are there at once, on any machine."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Set
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.recordings import EXPECTED, scenarios

NAME = next(iter(EXPECTED))
LOADED = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
PARTS = {"sqlalchemy", "psycopg", "alembic", "flask", "pycurl", "asyncio", "phonenumbers", "cryptography", "structlog"}
PAGES = {"flask", "werkzeug", "jinja2", "wtforms", "flask_security", "marshmallow", "waitress", "pytest"}

PACKAGE = Path(__file__).parents[1] / "pbxhub"
LATE = {
    "cli.py, commands, testing/commands.py, hub_database.py, command_settings.py": "a command loads what it works with",
    "running.py, services.py, opening.py, tracing.py": "a process loads the parts that it runs",
    "store/session.py, store/columns.py, database_url.py": "a driver or dialect is loaded for its database",
    "store/clock.py": "a command without logs loads nothing that writes them",
    "store/new_projects.py": "the command line finds a project without the ready-made webhooks",
    "ami/pbx_rows.py": "a CEL table in a database is rare",
    "webhooks/phones.py, steering/number_rules.py": "the numbers of all countries are loaded where one is read",
}
"""Imports inside functions by where they stand, and what starts sooner by them. Everywhere else they are at the top."""


def loaded_by(code: str, *arguments: object) -> set[str]:
    """The packages that a Python process has loaded when this code is done."""
    return {name.split(".")[0] for name in modules_loaded_by(code, *arguments)}


def modules_loaded_by(code: str, *arguments: object) -> set[str]:
    command = [sys.executable, "-c", f"import sys\n{code}\n{LOADED}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_no_help_loads_a_part_of_the_hub() -> None:
    code = """
import click
from pbxhub.cli import main

def show(command, parent=None):
    with click.Context(command, parent) as context:
        assert command.get_help(context)
        for each in getattr(command, "commands", {}).values():
            show(each, context)

show(main)
"""
    assert loaded_by(code) & (PARTS | PAGES) == set()


def test_a_replay_loads_the_tracker_alone(tmp_path: Path) -> None:
    recording = tmp_path / "recording.ami"
    recording.write_text("\n\n".join(scenarios("22")[NAME]))
    code = "from pbxhub.cli import main; main(['replay', sys.argv[1]], standalone_mode=False)"
    assert loaded_by(code, recording) & (PARTS | PAGES) == set()


@pytest.mark.parametrize("module", ["pbxhub.commands.checkup", "pbxhub.store.migrate"])
def test_checks_and_migrations_load_no_pages(module: str) -> None:
    assert loaded_by(f"import {module}, pbxhub.opening") & PAGES == set()


def test_a_command_on_sqlite_loads_the_database_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver or dialect of PostgreSQL, no Alembic once the tables are there, nothing that webhooks are made of, and
    nothing that writes logs; the tables of the account where users are asked for."""
    monkeypatch.setenv("PBXHUB_DATA_DIR", str(tmp_path))
    code = "from pbxhub.cli import main; main(sys.argv[1:], standalone_mode=False)"
    modules_loaded_by(code, "migrate")
    for command in (("user", "list"), ("migrate",), ("backup", "--without-key", tmp_path / "backup.tar")):
        loaded = modules_loaded_by(code, *command)
        packages = {name.split(".")[0] for name in loaded}
        assert packages & (PAGES | {"psycopg", "alembic", "phonenumbers", "pycurl", "structlog"}) == set()
        assert (
            loaded
            & {
                "sqlalchemy.dialects.postgresql",
                "pbxhub.webhooks",
                "pbxhub.delivery",
                "pbxhub.sending",
                "pbxhub.account",
            }
            == set()
        )
        assert ("pbxhub.store.accounts" in loaded) == (command[0] == "user")


def test_a_check_loads_no_alembic_no_driver_of_postgresql_and_nothing_that_webhooks_are_made_of() -> None:
    """These took almost half of the time until its first line."""
    loaded = modules_loaded_by("import pbxhub.commands.checkup, pbxhub.command_settings")
    made = {"pbxhub.webhooks.request", "pbxhub.webhooks.gallery", "pbxhub.delivery.context", "pbxhub.account.access"}
    assert loaded & ({"alembic", "mako", "psycopg", "phonenumbers"} | made) == set()


def test_listener_worker_and_agi_load_no_pages() -> None:
    """They took 28 MB of every process, and two fifths of its time to start."""
    unused = {"pbxhub.web", "pbxhub.api", "pbxhub.demo", "psycopg", "alembic"}  # the driver is loaded for its database
    assert modules_loaded_by("import pbxhub.running") & (PAGES | unused) == set()


def test_users_pbxs_and_keys_are_changed_without_what_sends_and_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PBXHUB_DATA_DIR", str(tmp_path))
    code = """
import io, shlex
from pbxhub.cli import main
for line in sys.argv[1:]:
    sys.stdin = io.StringIO("a long password")
    main(shlex.split(line), standalone_mode=False)
"""
    add = "pbx add --host pbx.example.com --username hub --secret s3cret"
    modules_loaded_by(code, "migrate", add)  # with the first PBX a project is made
    loaded = modules_loaded_by(
        code,
        add,
        "user add anna@example.com --operator --project 'My project'",
        "user add boris@example.com",
        "user operator boris@example.com",
        "user password anna@example.com",
        "user link anna@example.com",
        "rotate-key --new-root",
        "prune",
    )
    unused = {
        "alembic",
        "phonenumbers",
        "psycopg",
        "pycurl",
        "structlog",
        "sqlalchemy.dialects.postgresql",
        "pbxhub.account.installation",
        "pbxhub.delivery.context",
        "pbxhub.sending.sender",
        "pbxhub.webhooks.gallery",
        "pbxhub.webhooks.request",
        "pbxhub.webhooks.template",
    }
    assert loaded & (PAGES | unused) == set()


def test_a_new_key_is_printed_without_the_tables() -> None:
    code = "from pbxhub.cli import main; main(['rotate-key', '--print-new'], standalone_mode=False)"
    assert "sqlalchemy.orm" not in modules_loaded_by(code)


def test_old_history_is_deleted_without_what_sends_and_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBXHUB_DATA_DIR", str(tmp_path))
    code = "from pbxhub.cli import main; main(sys.argv[1:], standalone_mode=False)"
    modules_loaded_by(code, "migrate")
    loaded = modules_loaded_by(code, "prune")
    unused = {
        "pycurl",
        "panoramisk",
        "phonenumbers",
        "structlog",
        "pbxhub.sending",
        "pbxhub.ami",
        "pbxhub.delivery.outbox",
        "pbxhub.store.accounts",
    }
    assert loaded & (PAGES | unused) == set()


def test_a_check_of_a_hub_without_a_pbx_loads_nothing_that_asks_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PBXHUB_DATA_DIR", str(tmp_path))
    code = "from pbxhub.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass"
    modules_loaded_by(code, "migrate")
    loaded = modules_loaded_by(code, "check")
    assert "pbxhub.commands.checkup" in loaded
    assert loaded & (PAGES | {"structlog", "panoramisk", "psycopg", "pbxhub.ami", "pbxhub.delivery"}) == set()


def test_what_opens_a_hub_and_does_not_migrate_it_loads_no_alembic() -> None:
    assert "alembic" not in modules_loaded_by("import pbxhub.opening")


def test_an_import_inside_a_function_lets_something_start_sooner() -> None:
    places = [place for listed in LATE for place in listed.split(", ")]
    late = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        for function in functions(ast.parse(file.read_text()))
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function))
    }
    assert [place for place in places if not any(file.startswith(place) for file in late)] == []
    assert {file for file in late if not file.startswith(tuple(places))} == set()


def test_no_import_inside_a_function_dodges_a_cycle() -> None:
    """Every module can be loaded after all that it imports anywhere."""
    modules = {name_of(file): ast.parse(file.read_text()) for file in PACKAGE.rglob("*.py")}
    graph = {name: {*imported(tree, modules.keys())} - {name} for name, tree in modules.items()}
    assert len([*TopologicalSorter(graph).static_order()]) == len(modules)  # it raises CycleError otherwise


def functions(tree: ast.Module) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.Module, modules: Set[str]) -> Iterator[str]:
    """The modules of the hub that this one loads at any time; those for the types alone are not loaded."""
    checked = (
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    )
    for_types = {id(inner) for node in checked for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in for_types:
            names = {f"{node.module}.{each.name}" for each in node.names}
            yield from names & modules or {node.module} & modules
        elif isinstance(node, ast.Import) and id(node) not in for_types:
            yield from {each.name for each in node.names} & modules
