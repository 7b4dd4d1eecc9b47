"""Random parameter trees with hostile values, and readers of what was rendered: the other side of a request."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from hypothesis import strategies as st

from pbxhub.webhooks.spec import Parameter

HOSTILE = (
    'x","admin":true', "</item><admin/>", "a&b=c", "x][y", "<<caller>>", "<<secret>>", "{{caller}}", "${caller}",
    "{% x %}", "%(a)s", "\r\nX-Admin: 1", "\x00", "\u2028", "\ud800", "😀", "\u202eרtl", "&amp;", "]]>", "%00", "+",
    "007", "1e3", "\\", "'", "\x1b[31m", "\ufffe", "x" * 10_000,
)  # fmt: skip
TEXTS = st.one_of(st.text(st.characters(), max_size=20), st.sampled_from(HOSTILE))
PLAIN = st.one_of(
    TEXTS, st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False)
)
DATA = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)
ANY_NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
FORM_NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]"), min_size=1, max_size=8)
XML_NAME = st.from_regex(r"[A-Za-z_а-я][A-Za-z0-9_.\-а-я]{0,8}", fullmatch=True)


def shapes(names: st.SearchStrategy[str], leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What should arrive: an object or an array on top, leaves that are values of a call."""
    inner = st.recursive(
        leaves.map(lambda value: Leaf(value)),
        lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(names, deeper, max_size=4),
        max_leaves=12,
    )
    return st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)


@dataclass(frozen=True)
class Leaf:
    value: Any


@dataclass
class Planted:
    """A shape as a user would set it up: every leaf a placeholder of its own, its value among those of the call."""

    values: dict[str, Any] = field(default_factory=lambda: {"delivery_id": "d-1", "caller": "CALLER"})

    def parameter(self, name: str, shape: Any) -> Parameter:
        label = f"{{{{{name}}}}}" if name else ""
        if isinstance(shape, Leaf):
            place = f"custom.v{len(self.values)}"
            self.values[place] = shape.value
            return Parameter(label, value=f"<<{place}>>")
        return Parameter(label, "array" if isinstance(shape, list) else "object", children=self.children(shape))

    def children(self, shape: Any) -> tuple[Parameter, ...]:
        pairs = [("", item) for item in shape] if isinstance(shape, list) else list(shape.items())
        return tuple(self.parameter(name, item) for name, item in pairs)


def expected(shape: Any, leaf: Any) -> Any:
    """The shape with every leaf as this format writes it."""
    if isinstance(shape, Leaf):
        return leaf(shape.value)
    if isinstance(shape, dict):
        return {name: expected(item, leaf) for name, item in shape.items()}
    return [expected(item, leaf) for item in shape]


def clean(value: Any) -> Any:
    """Half surrogate pairs arrive as U+FFFD, everywhere."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, dict):
        return {clean(name): clean(item) for name, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value


def as_json(value: Any) -> Any:
    return None if value == "" else clean(value)


def as_text(value: Any) -> str:
    if value is None or isinstance(value, (bool, dict, list)):
        text = "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    else:
        text = value if isinstance(value, str) else repr(value)
    return str(clean(text))


def as_xml(value: Any) -> str:
    return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", as_text(value))


def numbered(data: Any) -> Any:
    """Arrays as PHP keeps them: objects with numbers for names. Empty branches do not travel in a form."""
    if not isinstance(data, (dict, list)):
        return data
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    kept = {str(name): numbered(item) for name, item in pairs}
    return {name: item for name, item in kept.items() if item != {}}


def parse_brackets(text: str) -> Any:
    """Reads a[b][0]=v the way PHP does, without its renaming of dots and spaces."""
    result: dict[str, Any] = {}
    for pair in text.split("&") if text else []:
        name, _, value = pair.partition("=")
        first, _, rest = unquote_plus(name).partition("[")
        steps = [first, *(rest.removesuffix("]").split("][") if rest else [])]
        place = result
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        assert steps[-1] not in place, "a name came twice"
        place[steps[-1]] = unquote_plus(value, errors="strict")
    return result


def parse_element(element: Element, shape: Any) -> Any:
    """Reads an element back as the shape says: a leaf is its text, a list its items, an object its children."""
    if isinstance(shape, Leaf):
        assert len(element) == 0
        return element.text or ""
    assert not element.text
    assert len(element) == len(shape)
    if isinstance(shape, list):
        assert {child.tag for child in element} <= {"item"}
        return [parse_element(child, item) for child, item in zip(element, shape, strict=True)]
    return {child.tag: parse_element(child, shape[child.tag]) for child in element}
