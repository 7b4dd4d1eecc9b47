"""Decides what a receiver's answer means: by its status (410: gone), and by the webhook's success rule."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pbxhub.translatable import say
from pbxhub.webhooks.conditions import as_text
from pbxhub.webhooks.paths_in_json import MISSING, json_or_missing, parse_path, walk
from pbxhub.webhooks.spec import BodyCheck, FieldError, Success
from pbxhub.webhooks.spec_json import too_many, wrong_at

MOST_STATUSES = 50
GONE = "gone"


def code_of_status(status: int) -> str:
    """The code that an HTTP status means by default: 2xx is ok, 410 is gone."""
    if status == 410:
        return GONE
    return {2: "ok", 3: "http_3xx", 4: "http_4xx", 5: "http_5xx"}.get(status // 100, "bad_answer")


@dataclass(frozen=True, slots=True)
class Verdict:
    """code: ok, http_3xx, http_4xx, http_5xx, gone or check_failed. sentence: the receiver's answer, for the user."""

    ok: bool
    code: str
    sentence: str


def judge(success: Success, status: int, body: bytes) -> Verdict:
    """Judges a complete answer. body: the part that was read."""
    if not _status_counts(success, status):
        return _refused(success, status)
    if success.body is None or (success.body.statuses and status not in success.body.statuses):
        return Verdict(True, "ok", say("The receiver answered %(status)s.", status=status))
    problem = _body_problem(success.body, body)
    if problem:
        return Verdict(
            False,
            "check_failed",
            say("The receiver answered %(status)s, but %(problem)s.", status=status, problem=problem),
        )
    return Verdict(
        True, "ok", say("The receiver answered %(status)s and the body meets the success rule.", status=status)
    )


def _status_counts(success: Success, status: int) -> bool:
    return status in success.statuses if success.statuses else 200 <= status <= 299


def _refused(success: Success, status: int) -> Verdict:
    wanted = " or ".join(map(str, success.statuses)) or "2xx"
    code = code_of_status(status)
    if code == GONE:
        return Verdict(False, code, say("The receiver answered 410: this address no longer accepts webhooks."))
    code = code if code.startswith("http_") else "check_failed"
    return Verdict(
        False,
        code,
        say("The receiver answered %(status)s, but only %(wanted)s counts as a success.", status=status, wanted=wanted),
    )


def _body_problem(check: BodyCheck, body: bytes) -> str:
    if check.kind == "text_contains":
        found = check.value in body.decode("utf-8", "replace")
        return "" if found else say("the body does not contain %(value)s", value=repr(check.value))
    data = json_or_missing(body)
    if data is MISSING:
        return say("the body is not JSON")
    value = walk(data, parse_path(check.path) or ())
    if value is MISSING:
        return say("the body has no %(path)s", path=check.path)
    if check.kind == "json_equals" and not _same(value, check.value):
        return say("%(path)s is %(found)s, not %(wanted)s", path=check.path, found=_short(value), wanted=check.value)
    return ""


def _same(value: Any, text: str) -> bool:
    """Compares a value with the rule's text, as a text or as JSON: 0, true, null, {"a":1}."""
    if isinstance(value, str):
        return value == text
    wanted = json_or_missing(text.encode())
    kinds_agree = type(wanted) is type(value) or {type(wanted), type(value)} == {int, float}
    return wanted is not MISSING and kinds_agree and bool(wanted == value)


def _short(value: Any) -> str:
    text = as_text(value) if isinstance(value, (str, bool)) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def _check_statuses(path: str, statuses: tuple[int, ...]) -> Iterator[FieldError]:
    for index, status in enumerate(statuses):
        if not 200 <= status <= 599:
            yield wrong_at(f"{path}[{index}]", "is %(status)s; give an HTTP status from 200 to 599", status=status)
    yield from too_many(path, len(statuses), MOST_STATUSES, "has %(count)s; give at most %(most)s")


def check_success(success: Success) -> Iterator[FieldError]:
    """Errors in a success rule."""
    yield from _check_statuses("success.statuses", success.statuses)
    check = success.body
    if check is None:
        return
    yield from _check_statuses("success.body.statuses", check.statuses)
    if check.kind == "text_contains" and not check.value:
        yield wrong_at("success.body.value", "is empty; give the text the answer must contain")
    if check.kind != "text_contains" and parse_path(check.path) is None:
        why = say("%(path)s is not a path; write it like result.items[0].id", path=repr(check.path))
        yield FieldError("success.body.path", why)
