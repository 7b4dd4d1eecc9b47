"""Reads a receiver's answer for the next webhooks of the call: saved values, webhook.* and response_*."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from pbxhub.calls.stages import JSON, Value
from pbxhub.storable import storable
from pbxhub.translatable import say
from pbxhub.webhooks.paths_in_json import MISSING, json_or_missing, parse_path, walk
from pbxhub.webhooks.spec import AnswerSpec, FieldError, Saved
from pbxhub.webhooks.spec_json import too_many, wrong_at

MOST_SAVED = 50
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_XML_STEP = re.compile(r"([^\s/@\[\]]+)(?:\[(\d{1,9})\])?")
_XML_PATH = re.compile(rf"(?:/?{_XML_STEP.pattern}(?:/{_XML_STEP.pattern})*)?(?:/?@[^\s/@]+)?")


@dataclass(frozen=True, slots=True)
class Read:
    """values: what was found, under the names the user chose. problem: a sentence about what is missing, or ""."""

    values: dict[str, Value]
    problem: str


def read_answer(answer: AnswerSpec, body: bytes) -> Read:
    """The values that a webhook saves from an answer. Never raises, whatever the body contains."""
    if not answer.save:
        return Read({}, "")
    document = json_or_missing(body) if answer.format == "json" else _read_xml(body)
    find = _in_json if answer.format == "json" else _in_xml
    found = {item.name: MISSING if document is MISSING else find(document, item.path) for item in answer.save}
    values = {name: storable(value) for name, value in found.items() if value is not MISSING}
    lost = [item for item in answer.save if item.mandatory and _is_empty(values.get(item.name))]
    return Read(values, _problem(answer, document, lost, values))


def _is_empty(value: JSON) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _problem(answer: AnswerSpec, document: Any, lost: list[Saved], values: Mapping[str, JSON]) -> str:
    if not lost:
        return ""
    if document is MISSING:
        return say(
            "the body is not %(format)s, so %(path)s cannot be saved", format=answer.format.upper(), path=lost[0].path
        )
    if values.get(lost[0].name) is not None:
        return say("%(path)s of the body is empty, but it is mandatory", path=lost[0].path)
    return say("the body has no %(path)s, which is mandatory", path=lost[0].path)


def _in_json(document: Any, path: str) -> Any:
    return walk(document, parse_path(path) or ())


def _read_xml(body: bytes) -> Any:
    """The root element, or MISSING. Never resolves entities or DOCTYPEs."""
    try:
        return defusedxml.ElementTree.fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return MISSING


def _in_xml(root: Element, path: str) -> Any:
    """Text of the element or value of the attribute at a path like call/leg[0]/status or call/@id.

    A path begins at the root or below it. Namespaces are ignored; [0] is the first element of its name.
    """
    steps, _, attribute = path.partition("@")
    names = [step for step in steps.split("/") if step]
    element = _descend(root, names)
    if element is None and names and names[0] == _local(root.tag):
        element = _descend(root, names[1:])
    if element is None:
        return MISSING
    if attribute:
        return next((text for name, text in element.attrib.items() if _local(name) == attribute), MISSING)
    return "".join(element.itertext())


def _descend(element: Element, steps: list[str]) -> Element | None:
    for step in steps:
        match = _XML_STEP.fullmatch(step)
        if not match:
            return None
        same = [child for child in element if _local(child.tag) == match.group(1)]
        index = int(match.group(2) or 0)
        if index >= len(same):
            return None
        element = same[index]
    return element


def _local(name: object) -> str:
    return str(name).rpartition("}")[2]


@dataclass(frozen=True, slots=True)
class Answered:
    """How the previous webhook of a call ended. status: None when there was no answer.

    reason: stable code of what went wrong for programs, such as TIMEOUT; "" after a success. sentence: the same for
    people. saved: every value saved on this call so far; new values replace earlier ones.
    """

    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float
    reason: str
    sentence: str
    saved: dict[str, Value]


_STATUS_TYPES = {1: "Informational", 2: "Success", 3: "Redirection", 4: "Client Error", 5: "Server Error"}
"""Classes of HTTP statuses in the words of RFC 9110, section 15."""


def chain_values(answered: Answered) -> dict[str, Value]:
    """The parameters about this answer for the next webhook of the chain and for the dialplan."""
    document = json_or_missing(answered.body)
    return {
        "webhook.status": answered.status,
        "webhook.json": None if document is MISSING else storable(document),
        "webhook.headers": {name.lower(): storable(text) for name, text in answered.headers},
        "webhook.saved": {**answered.saved},
        "response_status": "FAILED" if answered.reason else "SUCCESS",
        "response_status_code": answered.status,
        "response_status_type": _STATUS_TYPES.get(answered.status // 100) if answered.status else None,
        "response_duration": round(answered.seconds, 3),
        "response_raw": storable(answered.body.decode("utf-8", "replace")) if answered.status else None,
        "response_error": bool(answered.reason),
        "error_reason": answered.reason or None,
        "error_sentence": answered.sentence or None,
    }


def check_answer(answer: AnswerSpec) -> Iterator[FieldError]:
    """Errors in an answer mapping."""
    yield from too_many(
        "answer.save", len(answer.save), MOST_SAVED, "has %(count)s values; at most %(most)s are allowed"
    )
    for index, item in enumerate(answer.save):
        path = f"answer.save[{index}]"
        if not _NAME.fullmatch(item.name):
            why = say("%(name)s is not a valid name; use Latin letters", name=repr(item.name))
            yield FieldError(f"{path}.name", why)
        if not _path_is_right(answer, item.path):
            example = "result.items[0].id" if answer.format == "json" else "call/leg[0]/status or call/@id"
            why = say("%(path)s is not a path; write %(example)s", path=repr(item.path), example=example)
            yield FieldError(f"{path}.path", why)
    seen: set[str] = set()
    for index, item in enumerate(answer.save):
        if item.name in seen:
            yield wrong_at(f"answer.save[{index}].name", "%(name)s occurs twice", name=item.name)
        seen.add(item.name)


def _path_is_right(answer: AnswerSpec, path: str) -> bool:
    if answer.format == "json":
        return parse_path(path) is not None
    return bool(path) and bool(_XML_PATH.fullmatch(path))
