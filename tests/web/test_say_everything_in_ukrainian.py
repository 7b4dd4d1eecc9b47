"""Nothing in English is left on the pages of a Ukrainian reader: sentences of lower floors, gallery, audit log."""

import ast
import html
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from flask import Flask

from pbxhub.account.audit_log import Action
from pbxhub.store.accounts import AuditEntry
from pbxhub.store.pbx_state_sentences import REASONS
from pbxhub.store.session import Database
from pbxhub.translatable import Sentence, say
from pbxhub.web.language import said
from pbxhub.webhooks.check import advice, check_spec
from pbxhub.webhooks.gallery import default_event, gallery
from pbxhub.webhooks.spec import SpecError, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.catalogue import ROOT, translated
from tests.support.golden_cases import GOLDEN, read_refusals
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]
FLOORS = ("calls", "webhooks", "ami", "sending", "account")
LOWER = [path for floor in FLOORS for path in sorted((ROOT / "pbxhub" / floor).rglob("*.py"))]
# who takes a sentence for a reader, and at which place
SAYERS = {"FieldError": 1, "_refuse": 1, "_WrongError": 1, "FilterError": 0, "RenderError": 0, "MandatoryError": 0,
          "Refusal": 1, "UnusableTarget": 0, "Verdict": 2, "NotSent": 1, "Finding": 1,
          "ConflictError": 0, "BusyError": 0, "NotAllowedError": 0}  # fmt: skip


@pytest.fixture
def ukrainian(signed_in: SignedIn) -> Callable[[str], Browser]:
    def sign_in(role: str) -> Browser:
        member = signed_in(role)
        member.get("/profile")
        member.post("/profile", {"name": "Оля", "language": "uk"})
        return member

    return sign_in


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def own_texts(sentence: str) -> Iterator[str]:
    """The texts of a sentence and of those inside it."""
    assert isinstance(sentence, Sentence), f"{sentence!r} was not made by say()"
    yield sentence.text
    for value in sentence.values.values():
        if isinstance(value, Sentence):
            yield from own_texts(value)


def test_every_action_of_the_log_every_reason_and_the_whole_gallery_are_translated() -> None:
    ours = {message.id: message.string for message in translated() if message.id}
    wanted = [*get_args(Action)]
    wanted += [text for reason in REASONS.values() for text in (reason.why, reason.advice)]
    for item in gallery():
        wanted += filter(None, (item.description, item.note, item.secret, *(ask.label for ask in item.ask)))
    assert [text for text in wanted if not ours.get(text)] == []


@pytest.mark.parametrize("path", LOWER, ids=[str(path.relative_to(ROOT / "pbxhub")) for path in LOWER])
def test_no_sentence_for_a_reader_is_made_without_say(path: Path) -> None:
    """A plain text there would stay English on every page."""
    plain = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        place = SAYERS.get(name, 99)
        if len(node.args) > place and isinstance(node.args[place], (ast.Constant, ast.JoinedStr)):
            plain.append((node.lineno, ast.unparse(node.args[place])))
    assert plain == []


@pytest.mark.slow
def test_every_refusal_of_a_webhook_is_made_of_translated_texts() -> None:
    ours = {message.id: message.string for message in translated() if message.id}
    missing = set()
    for case in read_refusals(GOLDEN / "refused" / "webhooks.txt"):
        with pytest.raises(SpecError) as refused:
            check_spec(case.spec)
        for error in refused.value.errors:
            missing.update(text for text in own_texts(error.message) if not ours.get(text))
    assert missing == set()


def test_advice_is_made_of_translated_texts() -> None:
    ours = {message.id: message.string for message in translated() if message.id}
    (ready,) = default_event().webhooks
    plain = replace(ready.spec.request, url=ready.spec.request.url.replace("https:", "http:"), parameters=())
    notes = list(advice(WebhookSpec(plain), "incoming.before"))
    assert len(notes) > 2
    assert [text for note in notes for text in own_texts(note.message) if not ours.get(text)] == []


def test_a_sentence_inside_a_sentence_is_translated_with_it(app: Flask) -> None:
    made = say("is %(called)s; give %(right)s", called=say("a list"), right=say("a whole number"))
    assert made == "is a list; give a whole number"
    with app.test_request_context(headers={"Accept-Language": "uk"}):
        assert said(made) == "тут список; вкажіть ціле число"
        assert said("a list") == "a list"  # what a user wrote is nobody's to translate
    with app.test_request_context(headers={"Accept-Language": "en"}):
        assert said(made) == made


def test_the_editor_refuses_in_ukrainian_and_the_value_stays(
    people: People, ukrainian: Callable[[str], Browser]
) -> None:
    editor = ukrainian("editor")
    root = f"/projects/{people.project}/webhooks"
    editor.get(root)
    request = {"url": "ftp://a", "method": "GET", "headers": [{"name": "Host", "value": "%s"}]}
    draft = {"name": "Lead", "stage": "incoming.after", "enabled": True, "spec": {"request": request}}
    for path in ("save", "preview"):
        answer = editor.client.post(f"{root}/{path}", json=draft, headers={"X-CSRFToken": editor.token})
        assert {error["path"]: error["message"] for error in answer.json["errors"]} == {
            "url": "не починається з http:// чи https://; вкажіть адресу, наприклад https://crm.example.com/calls",
            "headers.Host": "Host встановлює сам хаб, вказати його не можна",
        }
    assert "Host встановлює сам хаб" in words(answer.json["html"])


@pytest.mark.slow
def test_the_gallery_is_in_ukrainian(people: People, ukrainian: Callable[[str], Browser]) -> None:
    editor = ukrainian("editor")
    root = f"/projects/{people.project}/webhooks/gallery"
    listed = words(editor.get(root).text)
    assert "Повідомлення вашого бота про кожен пропущений дзвінок." in listed
    english = [item.description for item in gallery() if item.description in listed]
    assert english == []
    for item in gallery():
        page = words(editor.get(f"{root}/{item.id}").text)
        assert item.description not in page
        assert not item.note or item.note not in page
        assert [ask.label for ask in item.ask if ask.label in page.lower()] == []
    answer = editor.post(f"{root}/telegram", {"token": "", "chat_id": ""})
    assert answer.status_code == 422
    assert "порожнє; вкажіть: токен бота" in words(answer.text)


def test_the_audit_log_is_in_ukrainian_and_tells_unknown_actions_as_they_are(
    database: Database, people: People, ukrainian: Callable[[str], Browser]
) -> None:
    actions = [*get_args(Action), "coffee made"]
    with database.write() as session:
        session.add_all(
            AuditEntry(project_id=people.project, who="anna", action=action, subject="x", created_on=now())
            for action in actions
        )
    page = words(ukrainian("owner").get(f"/projects/{people.project}/audit").text)
    assert "вебхук призупинено" in page
    assert [action for action in actions if action in page] == ["coffee made"]
