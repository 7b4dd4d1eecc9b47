"""A test module stands alone: what tests share is in tests/support, and is imported from there by its full name."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.slow_files import SLOW_FILES

TESTS = Path(__file__).parent
SUPPORT = TESTS / "support"
FILES = sorted(TESTS.rglob("*.py"))
MAKEFILE = TESTS.parent / "Makefile"


@cache
def imported(file: Path) -> tuple[str, ...]:
    """The full name of everything that the file imports."""
    return tuple(_imported(file))


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{each.name}" for each in node.names)


def test_no_test_module_is_imported_by_another() -> None:
    modules = {file.stem for file in FILES if file.stem.startswith("test_") or file.stem == "conftest"}
    found = [(file.name, name) for file in FILES for name in imported(file) if modules & set(name.split("."))]
    assert found == [], "move what both need to tests/support"


def test_helpers_are_in_the_folder_of_support_and_imported_by_their_full_name() -> None:
    elsewhere = [
        str(file.relative_to(TESTS))
        for file in FILES
        if SUPPORT not in file.parents and not file.stem.startswith(("test_", "conftest", "__init__"))
    ]
    assert elsewhere == []
    helpers = {file.stem for file in SUPPORT.rglob("*.py")} - {"__init__"}
    bare = [(file.name, name) for file in FILES for name in imported(file) if name.split(".")[0] in helpers | {""}]
    assert bare == []


def test_what_the_fast_tests_leave_out_is_there_and_runs_in_make_test() -> None:
    assert {file.relative_to(TESTS).as_posix() for file in FILES} >= SLOW_FILES
    whole = MAKEFILE.read_text().partition("\ntest:")[2].partition("\n\n")[0]
    assert "-m" in whole
    assert "slow" not in whole
