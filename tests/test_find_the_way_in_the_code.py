"""What docs/architecture.md, the README and the comments in the code name is there, and the lines fit a screen."""

import ast
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "asterisk-conf/README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_a_line_of_prose_has_at_most_120_characters() -> None:
    """But for tables and code, which cannot be wrapped."""
    prose = [(page.name, re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)) for page in PAGES]
    lines = [(name, line) for name, text in prose for line in text.splitlines()]
    assert [(name, line) for name, line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_every_file_that_the_documentation_names_exists() -> None:
    named = [
        (page.name, path)
        for page in PAGES
        for path in re.findall(r"`((?:pbxhub|tests|docs|templates|migrations|bench)/[\w./-]*)`", page.read_text())
    ]
    assert len(named) > 20
    assert [(page, path) for page, path in named if not (ROOT / path).exists()] == []


def test_every_room_is_in_the_drawing() -> None:
    drawing = (ROOT / "docs" / "architecture.md").read_text().split("```")[1]
    rooms = {path.name for path in (ROOT / "pbxhub").iterdir() if (path / "__init__.py").exists()}
    assert {room for room in rooms if not re.search(rf"\b{room}\b", drawing)} == set()


def test_every_module_that_the_code_names_exists() -> None:
    modules = {f"/{path.relative_to(ROOT)}" for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    named = [
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / "pbxhub").rglob("*.py")
        for name in re.findall(r"(?<![\w./-])((?:[a-z_]+/)*[a-z_]+\.py)\b", path.read_text())
    ]
    assert len(named) > 20
    assert [(where, name) for where, name in named if not any(one.endswith(f"/{name}") for one in modules)] == []


def test_every_test_and_recording_that_the_code_names_exists() -> None:
    named = [
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / "pbxhub").rglob("*.py")
        for name in re.findall(r"(?<![\w/-])(?:tests|traces)/[\w./*-]*\w", path.read_text())
    ]
    assert len(named) > 20
    assert [(where, name) for where, name in named if not any(ROOT.glob(name))] == []


def test_every_warning_of_the_log_is_explained() -> None:
    """With a traceback it is a fault of the hub; all others tell an operator something."""
    told = [
        call.args[0].value
        for path in (ROOT / "pbxhub").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("log.warning", "log.error")
    ]
    page = (ROOT / "docs/operations/repair.md").read_text()
    assert len(told) > 20
    assert [one for one in told if f"`{one}`" not in page] == []


def test_what_the_benchmarks_import_from_the_hub_is_there() -> None:
    """No other test runs most of them."""
    imported = [
        (str(path.relative_to(ROOT)), node.module, name.name)
        for path in (ROOT / "bench").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pbxhub")
        for name in node.names
    ]
    assert len(imported) > 100
    assert [one for one in imported if not is_there(one[1], one[2])] == []


def is_there(module: str, name: str) -> bool:
    return hasattr(import_module(module), name) or find_spec(f"{module}.{name}") is not None
