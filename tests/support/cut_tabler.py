"""Cuts Tabler's stylesheet to the rules that the pages use: python -m tests.support.cut_tabler writes static/vendor/.

A rule stays when each class of its selector is a word somewhere in the templates, scripts or code of the pages; a
custom property stays while something that stays reads it. After using another class of Tabler, run it again: the test
tests/test_cut_the_stylesheet.py says so.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHOLE = Path(__file__).parent / "vendor/tabler.min.css"
CUT = ROOT / "static/vendor/tabler.css"
_SOURCES = (
    "templates/**/*.html",
    "tests/support/templates/*.html",
    "static/*.js",
    "static/editor/*.js",
    "pbxhub/web/**/*.py",
    "pbxhub/webhooks/**/*.py",
)
_WORD = re.compile(r"[A-Za-z_][\w-]*")
_CLASS = re.compile(r"\.(-?[A-Za-z_](?:[\w-]|\\.)*)")
_PROPERTY = re.compile(r"--[\w-]+")


def cut() -> str:
    """The stylesheet with what the pages use."""
    words = {word for source in _SOURCES for file in ROOT.glob(source) for word in _WORD.findall(file.read_text())}
    rules = "".join(_kept(_without_comments(WHOLE.read_text()), words))
    own = "".join((ROOT / "static" / name).read_text() for name in ("app.css", "design.css"))
    return _without_unread(rules, own) + "\n"


def _without_comments(css: str) -> str:
    return re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)


def _kept(css: str, words: set[str]) -> Iterator[str]:
    for head, body in _blocks(css):
        if body is None or head.startswith(("@font-face", "@keyframes", "@property")):
            yield head if body is None else f"{head}{{{body}}}"
        elif head.startswith("@"):
            if inside := "".join(_kept(body, words)):
                yield f"{head}{{{inside}}}"
        elif selectors := [one for one in _split(head, ",") if _is_used(one, words)]:
            yield f"{','.join(selectors)}{{{body}}}"


def _blocks(css: str) -> Iterator[tuple[str, str | None]]:
    """Each rule as what stands before its braces and between them; None for a statement without braces."""
    at = 0
    while at < len(css):
        brace, end = css.find("{", at), css.find(";", at)
        if end >= 0 and (brace < 0 or end < brace):
            yield css[at : end + 1], None
            at = end + 1
        elif brace < 0:
            return
        else:
            close = _close(css, brace)
            yield css[at:brace].strip(), css[brace + 1 : close]
            at = close + 1


def _close(css: str, brace: int) -> int:
    depth = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[{}]', css[brace:]):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return brace + found.start()
    raise ValueError("a brace that nobody closes")


def _split(text: str, mark: str) -> list[str]:
    """The parts between marks that stand in no parentheses, brackets or quotes."""
    parts, depth = [""], 0
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|\\.|.', text, re.DOTALL):
        depth += (token in "([") - (token in ")]") if len(token) == 1 else 0
        if token == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _is_used(selector: str, words: set[str]) -> bool:
    outside = re.sub(r":(?:not|is|where)\([^()]*\)", "", selector)  # what a rule excludes need not be there
    return all(name.replace("\\", "") in words for name in _CLASS.findall(outside))


def _without_unread(rules: str, own: str) -> str:
    """Without custom properties that nothing reads, and then without what only those have read."""
    while True:
        read = set(re.findall(r"var\(\s*(--[\w-]+)", rules + own))
        left = "".join(_declared(rules, read))
        if left == rules:
            return rules
        rules = left


def _declared(css: str, read: set[str]) -> Iterator[str]:
    for head, body in _blocks(css):
        if body is None or head.startswith(("@font-face", "@keyframes", "@property")):
            yield head if body is None else f"{head}{{{body}}}"
        elif head.startswith("@"):
            if inside := "".join(_declared(body, read)):
                yield f"{head}{{{inside}}}"
        else:
            lines = [one for one in _split(body, ";") if one.strip() and _is_read(one, read)]
            if lines:
                yield f"{head}{{{';'.join(lines)}}}"


def _is_read(declaration: str, read: set[str]) -> bool:
    name = declaration.partition(":")[0].strip()
    return not _PROPERTY.fullmatch(name) or name in read


if __name__ == "__main__":
    CUT.write_text(cut())
