"""Somebody changes something and reloads the page that follows."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import func, select

from pbxhub.store.accounts import ApiKey, Pbx
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.page_routes import one_of_everything, page_routes
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]


def test_a_new_pbx_is_there_once_and_its_secret_is_shown_once(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    path = f"/projects/{people.project}/pbxs/new"
    owner.get(path)
    made = owner.post(path, {"name": "Office", "host": "192.0.2.1", "port": "5038", "username": "hub",
                             "contexts": "from-trunk"})  # fmt: skip
    assert made.status_code == 302
    secret = re.search(r"secret = ([\w-]{20,})", owner.get(made.location).text)[1]
    assert secret not in owner.get(made.location).text
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Pbx)) == 1


def test_what_is_shown_once_is_for_its_own_page_and_its_own_browser(people: People, signed_in: SignedIn) -> None:
    owner, other = signed_in("owner"), signed_in("owner")
    path = f"/projects/{people.project}/pbxs/new"
    owner.get(path)
    pages = [
        owner.post(path, {"name": name, "host": "192.0.2.1", "port": "5038", "username": "hub",
                          "secret": f"secret-of-{name}", "contexts": "from-trunk"}).location
        for name in ("first", "second")
    ]  # fmt: skip
    cookie = owner.client.get_cookie("pbxhub").value
    assert "secret-of" not in cookie
    assert "secret-of" not in other.get(pages[1]).text
    assert "secret-of" not in owner.get(pages[0]).text
    assert "secret-of-second" in owner.get(pages[1]).text


def test_a_new_key_is_there_once_and_is_shown_once(database: Database, people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    path = f"/projects/{people.project}/keys"
    owner.get(path)
    made = owner.post(path, {"name": "CRM", "scopes": "read"})
    assert made.status_code == 302
    assert re.search(r"pbx_[\w-]{40,}", owner.get(made.location).text)
    assert not re.search(r"pbx_[\w-]{40,}", owner.get(made.location).text)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(ApiKey)) == 1


# What a form on a page sends, where it needs more than the token of the page
DATA = {
    "profile.index": {"name": "Anna", "language": "en"},
    "project.create": {"name": "Another", "time_zone": "UTC", "country": "UA"},
    "project.settings": {"name": "Ours", "time_zone": "UTC", "country": "UA"},
    "project.alert": {"address": "a@example.com"},
    "project.remove": {"typed_name": "Ours"},
    "members.invite": {"email": "b@example.com", "role": "viewer"},
    "members.change": {"role": "editor"},
    "keys.create": {"name": "CRM", "scopes": "read"},
    "pbxs.create": {"name": "New", "host": "192.0.2.1", "port": "5038", "username": "hub", "contexts": "from-trunk"},
    "pbxs.edit": {"name": "New", "host": "192.0.2.1", "port": "5038", "username": "hub", "contexts": "from-trunk"},
    "people.employee": {"extension": "105"},
    "numbers.number": {"pbx_id": "1", "did": "300"},
    "errors.checked": {"all": "1"},
    "errors.send": {"all": "1"},
    "steering.edit": {"name": "Ask", "url": "https://example.com/", "method": "POST", "format": "json",
                      "reads": "number", "wait": "5", "ring": "30"},
    "webhooks.template": {"url": "https://hooks.slack.com/services/T0/B0/X"},
    "webhooks.take_in": {"confirmed": "1", "text": '{"version": 1, "webhooks": []}'},
    "webhooks.setup_default": {"measurement_id": "G-ABC123DEF4", "api_secret": "secret"},
    "operator.user": {"operator": "1"},
    "home.language": {"language": "uk"},
    "security.mf_recovery_codes": {"generate_new_codes": "1"},
}  # fmt: skip
PARTS = {  # asked for by scripts, which put the answer into the page: reloading that page asks for none of them again
    "pbxs.check", "steering.simulate", "webhooks.show", "webhooks.test", "webhooks.save", "webhooks.update",
    "webhooks.signing", "webhooks.order", "simulation.send", "steering.ask",
}  # fmt: skip
ASKING_FIRST = {"errors.preview_send"}  # shows what would be done, and changes nothing
ELSEWHERE = {  # need more than one step; tested where they are: test_sign_in, test_invite_a_colleague, test_set_up_…
    "setup.setup", "invitations.with_link", "invitations.accept", "invitations.decline", "errors.stop",
    "errors.unchecked",
    "dial.order",  # for CRMs, not for browsers: tests/api/test_call_from_a_crm.py
    "security.login", "security.logout", "security.forgot_password", "security.reset_password",
    "security.two_factor_token_validation", "security.two_factor_rescue", "security.mf_recovery", "security.tf_select",
    "security.change_password", "security.verify", "security.two_factor_setup", "security.two_factor_setup_validate",
}  # fmt: skip
OF_OPERATORS = {"project.create", "operator.user"}
LAST = ("members.withdraw", "pbxs.remove", "project.remove")  # take away what the others need


@pytest.mark.slow
def test_every_form_that_changes_something_leads_to_another_page(
    app: Flask, database: Database, people: People, signed_in: SignedIn
) -> None:
    """So that a reload sends nothing again. A new form has to be listed here: with what it sends, or why not."""
    with database.write() as session:
        things = one_of_everything(session, people)
        locked = Webhook(project_id=people.project, name="ga", stage="incoming.after", locked=True, created_on=now(),
                         spec=WebhookSpec(RequestSpec(url="https://example.com/")))  # fmt: skip
        session.add(locked)
        session.flush()
        default = locked.id
    owner, operator = signed_in("owner"), signed_in("operator")
    posts = [(endpoint, path) for endpoint, method, path in page_routes(app, things) if method == "POST"]
    posts.sort(key=lambda post: (LAST.index(post[0]) if post[0] in LAST else -1, "remove" in post[0]))
    stayed = []
    for endpoint, path in posts:
        if endpoint in PARTS | ASKING_FIRST | ELSEWHERE:
            continue
        browser = operator if endpoint in OF_OPERATORS else owner
        target = path.replace(f"/{things['webhook_id']}/", f"/{default}/") if "setup_default" in endpoint else path
        answer = browser.post(target, DATA.get(endpoint, {}))
        if answer.status_code not in (302, 303):
            stayed.append((endpoint, path, answer.status_code))
    assert stayed == []
    assert set(DATA) | PARTS | ASKING_FIRST | ELSEWHERE <= {endpoint for endpoint, _path in posts}
