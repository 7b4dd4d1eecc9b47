"""A search for a name leads to one place. The thing itself, its rules, its page and its routes share their name: they
are in the rooms of LAYERS, and mean the same. Every other name stands once.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "pbxhub"
LAYERS = {"store", "account", "web/pages", "api/resources", "api/schemas"}
KIT = "testing"  # the test kit has words of its own: its Call is one of a phone
SEEN_BY_PROGRAMS = {"api/schemas", "client"}  # they show a table to programs, under its name


def files() -> Iterator[tuple[str, Path]]:
    """Each module with the folder it is in."""
    for file in sorted(PACKAGE.rglob("*.py")):
        folder = str(file.parent.relative_to(PACKAGE))
        if file.stem not in ("__init__", "__main__") and folder.split("/")[0] != KIT:
            yield folder, file


def test_a_module_name_has_one_meaning() -> None:
    places = {(file.stem, "layer" if folder in LAYERS else folder) for folder, file in files()}
    twice = {name for name, count in Counter(name for name, _ in places).items() if count > 1}
    assert twice == set()


def test_a_public_class_name_has_one_meaning() -> None:
    found = Counter(
        (node.name, next((place for place in (folder, file.stem) if place in SEEN_BY_PROGRAMS), "the hub"))
        for folder, file in files()
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in found.items() if count > 1} == set()
