"""Every route as a visitor, a stranger, a viewer, an editor, an owner and an operator.

A route nobody has classified fails."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from flask import Flask

from pbxhub.store.session import Database
from pbxhub.store.sign_in_rows import SignIn
from pbxhub.store.webhooks import Webhook
from tests.support.page_routes import page_routes
from tests.support.people import Browser, People
from tests.support.two_processes import here_and_in_two_processes

PUBLIC = {
    "static", "security.static", "health.health", "health.parts", "setup.setup", "home.start", "home.language",
    "recordings.play", "favicon", "dial.order", "error_numbers.index", "error_numbers.page",
    "security.login", "security.logout", "security.forgot_password", "security.reset_password",
    "security.two_factor_token_validation", "security.two_factor_rescue", "security.mf_recovery", "security.tf_select",
    "invitations.with_link",
}  # fmt: skip
SIGNED_IN = {
    "home.projects", "project.create", "profile.index", "profile.end_session", "profile.end_others", "recordings.card",
    "security.change_password", "security.verify", "security.two_factor_setup", "security.two_factor_setup_validate",
    "security.mf_recovery_codes", "invitations.index", "invitations.accept", "invitations.decline",
    "home.token", "consents.callback",
}  # fmt: skip
VIEWER = {
    "dashboard.index", "calls.index", "calls.live", "calls.card", "calls.events", "calls.recording",
    "calls.report", "exports.calls",
    "deliveries.index", "deliveries.newer",
    "deliveries.detail", "errors.index", "errors.strip", "errors.resends", "exports.deliveries", "pbxs.index",
    "pbxs.detail", "pbxs.dial_plan", "pbxs.state", "people.employees", "numbers.index", "members.index",
    "webhooks.index", "webhooks.detail", "webhooks.health", "webhooks.history", "steering.index", "connections.index",
    "connections.detail", "search.index", "resthooks.index",
    "unsent.index", "saved_filters.save", "saved_filters.go", "saved_filters.remove",
}  # fmt: skip
EDITOR = {
    "people.employee", "people.remove", "numbers.number", "numbers.remove", "errors.checked", "errors.preview_send",
    "errors.unchecked", "errors.send", "errors.send_one", "errors.stop",
    "webhooks.enable", "webhooks.hold", "webhooks.remove", "webhooks.bring_back", "calls.send_missing",
    "webhooks.order", "webhooks.restore", "webhooks.export", "webhooks.choose_file", "webhooks.take_in",
    "webhooks.templates", "webhooks.template", "webhooks.new", "webhooks.edit", "webhooks.copy", "webhooks.save",
    "steering.edit", "steering.simulate", "steering.ask", "webhooks.update", "webhooks.show", "webhooks.test",
    "webhooks.signing",
    "webhooks.setup_default", "webhook_sets.enable_set", "webhook_sets.name_set", "webhook_sets.delete_set",
    "webhook_sets.bring_back",
    "connections.choose", "connections.create", "connections.edit", "connections.remove",
    "connections.check", "connections.connect", "resthooks.remove", "simulation.index", "simulation.send",
    "replays.index", "replays.send", "unsent.send",
}  # fmt: skip
OWNER = {
    "project.settings", "project.remove", "project.alert", "project.mute", "project.working_time",
    "project.recording_links", "project.revoke_links",
    "crm_calls.index", "crm_calls.change", "crm_calls.renew", "crm_calls.remove",
    "crm_calls.subscribe",
    "members.invite", "members.change", "members.send_again", "members.withdraw", "keys.index", "keys.create",
    "keys.remove", "pbxs.create", "pbxs.edit", "pbxs.check", "pbxs.remove", "pbxs.take_context", "audit.index",
    "content.preview", "content.remove",
}  # fmt: skip
OPERATOR = {"operator.index", "operator.log", "operator.user", "operator.pbx", "operator.project"}
RANK = {"viewer": VIEWER, "editor": VIEWER | EDITOR, "owner": VIEWER | EDITOR | OWNER}
_OFFER = re.compile(r'(href|action|hx-get|hx-post)="(/[^"/][^"]*)"')


def test_every_route_is_classified(app: Flask) -> None:
    known = PUBLIC | SIGNED_IN | VIEWER | EDITOR | OWNER | OPERATOR
    routes = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert routes - known == set(), "say in this file who may use the new route"
    assert known - routes == set()


@here_and_in_two_processes("browser")
def test_a_visitor_is_sent_to_sign_in(app: Flask, things: dict[str, object], browser: Callable[[], Browser]) -> None:
    visitor = browser()
    visitor.get("/sign-in")
    for endpoint, method, path in page_routes(app, things):
        if endpoint in PUBLIC:
            continue
        answer = visitor.get(path) if method == "GET" else visitor.post(path)
        assert answer.status_code == 302, (endpoint, method, answer.status_code)
        assert "/sign-in" in answer.location, (endpoint, answer.location)


@here_and_in_two_processes("browser")
def test_a_stranger_learns_nothing(app: Flask, things: dict[str, object], signed_in: Callable[[str], Browser]) -> None:
    stranger = signed_in("stranger")
    for endpoint, method, path in page_routes(app, things):
        if endpoint in PUBLIC | SIGNED_IN - {"recordings.card"}:
            continue
        answer = stranger.get(path) if method == "GET" else stranger.post(path, json=None)
        assert answer.status_code == 404, (endpoint, method, path, answer.status_code)


@here_and_in_two_processes("browser")
@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_a_role_opens_its_own_routes_and_no_others(
    app: Flask, things: dict[str, object], signed_in: Callable[[str], Browser], role: str
) -> None:
    member = signed_in(role)
    for endpoint, method, path in page_routes(app, things):
        if endpoint in PUBLIC | SIGNED_IN:
            continue
        if endpoint not in RANK[role]:
            answer = member.get(path) if method == "GET" else member.post(path)
            refusal = 404 if endpoint in OPERATOR else 403
            assert answer.status_code == refusal, (endpoint, method, answer.status_code)
        elif method == "GET" and endpoint != "webhooks.setup_default":  # ours is not the locked one
            assert member.get(path).status_code in (200, 302), (endpoint, path)


def test_an_owner_opens_no_page_of_operators(
    app: Flask, things: dict[str, object], signed_in: Callable[[str], Browser]
) -> None:
    owner = signed_in("owner")
    for endpoint, method, path in page_routes(app, things):
        if endpoint in OPERATOR:
            answer = owner.get(path) if method == "GET" else owner.post(path, {"operator": "yes"})
            assert answer.status_code == 404, (endpoint, method, answer.status_code)


@here_and_in_two_processes("browser")
def test_an_operator_opens_the_pages_of_operators_and_no_project(
    app: Flask, things: dict[str, object], signed_in: Callable[[str], Browser]
) -> None:
    operator = signed_in("operator")
    for endpoint, method, path in page_routes(app, things):
        if endpoint in OPERATOR:
            answer = operator.get(path) if method == "GET" else operator.post(path)
            assert answer.status_code in (200, 302, 422), (endpoint, method, answer.status_code)
        elif endpoint in VIEWER | EDITOR | OWNER:
            answer = operator.get(path) if method == "GET" else operator.post(path, json=None)
            assert answer.status_code == 404, (endpoint, method, path, answer.status_code)


@pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
def test_no_page_offers_what_the_role_may_not_do(
    app: Flask, things: dict[str, object], signed_in: Callable[[str], Browser], role: str
) -> None:
    """From page to page by the links, as a member would click; every form and htmx button on the way counts too."""
    member, adapter = signed_in(role), app.url_map.bind("localhost")
    allowed = PUBLIC | SIGNED_IN | RANK[role]
    waiting, seen, refused = [f"/projects/{things['project_id']}/dashboard"], set(), []
    while waiting:
        page = waiting.pop()
        text = member.get(page).get_data(as_text=True)
        for name, address in _OFFER.findall(text):
            path = unescape(address).split("#")[0].split("?")[0]
            method = "GET" if name in ("href", "hx-get") else "POST"
            endpoint, _values = adapter.match(path, method=method)
            if endpoint not in allowed:
                refused.append((page, endpoint))
            elif name == "href" and endpoint not in seen and not endpoint.startswith("static"):
                seen.add(endpoint)
                waiting.append(path)
    assert refused == []
    assert len(seen) > 12


@here_and_in_two_processes("browser")
def test_an_owner_sees_every_page(app: Flask, things: dict[str, object], signed_in: Callable[[str], Browser]) -> None:
    owner = signed_in("owner")
    for endpoint, method, path in page_routes(app, things):
        if endpoint in VIEWER | EDITOR | OWNER and method == "GET" and endpoint != "webhooks.setup_default":
            assert owner.get(path).status_code in (200, 302), (endpoint, path)


def test_a_row_of_another_project_is_not_found_under_ones_own(
    app: Flask, things: dict[str, object], people: People, signed_in: Callable[[str], Browser]
) -> None:
    """The stranger owns a project: its address with our rows in it must find nothing."""
    stranger = signed_in("stranger")
    mixed = {**things, "project_id": people.other}
    rows = {
        "pbx_id",
        "call_id",
        "webhook_id",
        "employee_id",
        "number_id",
        "key_id",
        "delivery_id",
        "user_id",
        "target_id",
        "invitation_id",
    }
    rules = {rule.endpoint: rule.arguments for rule in app.url_map.iter_rules()}
    for endpoint, method, path in page_routes(app, mixed):
        if endpoint not in VIEWER | EDITOR | OWNER or not rules[endpoint] & rows:
            continue
        if endpoint in ("people.employee", "numbers.number") and path.endswith("/new"):
            continue
        answer = stranger.get(path) if method == "GET" else stranger.post(path, {"role": "viewer"}, json=None)
        assert answer.status_code == 404, (endpoint, method, path, answer.status_code)


def test_nothing_is_changed_without_the_token_of_the_form(
    app: Flask, things: dict[str, object], signed_in: Callable[[str], Browser], database: Database
) -> None:
    owner = signed_in("owner")
    for endpoint, method, path in page_routes(app, things):
        if method == "POST" and endpoint not in PUBLIC - {"security.login", "home.language", "security.logout"}:
            answer = owner.client.post(path, data={})
            assert answer.status_code == 400, (endpoint, answer.status_code)
    with database.read() as session:
        assert session.get(Webhook, things["webhook_id"]).deleted_on is None
        assert session.query(SignIn).count() == 1


ODD = ("-1", "0", "9" * 23, "\u0000", "a\u0000b", "😀", "'; --", "%", "2026-99-99", "NaN", "1e400", "x" * 5000)


@here_and_in_two_processes("browser")
def test_no_page_breaks_on_odd_addresses(
    app: Flask, things: dict[str, object], signed_in: Callable[[str], Browser]
) -> None:
    """Numbers beyond the database, texts it cannot hold, times that are none: a page, or a sentence; never a fault."""
    owner = signed_in("owner")
    names = ["before", "expires", "reads", "signature", "since", "stage", "token", "state", "webhook", "outcome",
             "code", "number", "hour", "call", "from", "to", "of", "direction", "q", "rows", "last", "kind", "caller",
             "open", "moment"]  # fmt: skip
    broken = []
    for endpoint, method, path in page_routes(app, things):
        if method != "GET" or endpoint.startswith("static"):
            continue
        for odd in ODD:
            answer = owner.client.get(path, query_string=dict.fromkeys(names, odd))
            if answer.status_code >= 500:
                broken.append((endpoint, "query", odd[:20]))
    for name in ("project_id", *(name for name, value in things.items() if isinstance(value, int))):
        for endpoint, method, path in page_routes(app, {**things, name: 10**23}):
            answer = owner.client.get(path) if method == "GET" else owner.post(path, {})
            if answer.status_code >= 500:
                broken.append((endpoint, method, name))
    assert broken == []
