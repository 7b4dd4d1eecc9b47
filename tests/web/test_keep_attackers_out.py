"""Somebody tries what attackers try on the pages."""

import ipaddress
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings, read_settings, with_key
from pbxhub.store.accounts import ApiKey, AuditEntry, Pbx
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.store.sign_in_rows import SignIn
from pbxhub.store.webhooks import Webhook
from pbxhub.vault import Vault
from pbxhub.web import create_app
from pbxhub.webhooks.curl_command import as_curl
from pbxhub.webhooks.spec import Field, Parameter, RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import PASSWORD, Browser, People

NASTY = """<script>alert(1)</script>"><img src=x onerror=alert(1)>'{{7*7}}"""
SignedIn = Callable[[str], Browser]


def test_every_answer_carries_the_security_headers(app: Flask, browser: Callable[[], Browser]) -> None:
    for path in ("/sign-in", "/health", "/nowhere", "/static/x/app.css"):
        headers = browser().get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Strict-Transport-Security" not in headers


def test_behind_tls_cookies_are_secure_and_the_browser_stays_with_https(database: Database, tmp_path: Path) -> None:
    settings = with_key(
        read_settings({"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_PUBLIC_URL": "https://pbx.example.com"})
    )
    app = create_app(settings, open_context(settings, database, Vault(settings.secret_key)))
    answer = app.test_client().get("/sign-in", base_url="https://pbx.example.com")
    assert "max-age" in answer.headers["Strict-Transport-Security"]
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-pbxhub=")
    assert all(flag in cookie for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))


def test_no_page_has_inline_script_or_style(app: Flask, people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    for path in ("dashboard", "calls", "webhooks", "webhooks/new", "errors", "deliveries", "pbxs/new", "members"):
        text = owner.get(f"/projects/{people.project}/{path}").get_data(as_text=True)
        assert not re.search(r"<script(?![^>]*(src=|application/json))", text), path
        assert not re.search(r"\s(style|on\w+)=", text), path
        assert "<style" not in text, path


def test_text_from_outside_never_becomes_markup(
    app: Flask, database: Database, people: People, signed_in: SignedIn
) -> None:
    call, delivery = _hostile(database, people)
    owner = signed_in("owner")
    root = f"/projects/{people.project}"
    pages = ["dashboard", "calls", f"calls/{call}", "webhooks", "errors", "deliveries", f"deliveries/{delivery}",
             "webhooks/1/edit", "webhooks/1/copy", "webhooks/1/history", "pbxs", "pbxs/1", "audit", "keys",
             f"calls?number={NASTY}", f"deliveries?number={NASTY}", "export/errors.jsonl"]  # fmt: skip
    for path in pages:
        answer = owner.get(f"{root}/{path}")
        assert answer.status_code == 200, path
        if answer.mimetype == "text/html":
            text = answer.get_data(as_text=True)
            assert "<script>alert" not in text, path
            assert "<img src=x" not in text, path
            assert "49" not in re.findall(r"'(\d+)", text), path


def _hostile(database: Database, people: People) -> tuple[object, object]:
    with database.write() as session:
        pbx = Pbx(project_id=people.project, name=NASTY, host=NASTY, username="u", secret_sealed="", created_on=now(),
                  state="refused", state_code="not_ami", state_detail=NASTY)  # fmt: skip
        spec = WebhookSpec(
            RequestSpec(
                url=f"https://example.com/?{NASTY}",
                headers=(Field("X-A", NASTY),),
                parameters=(Parameter("a", value=NASTY),),
            )
        )
        hook = Webhook(project_id=people.project, name=NASTY, stage="incoming.after", spec=spec, created_on=now())
        session.add_all([pbx, hook])
        session.flush()
        call = Call(id=new_id(), project_id=people.project, pbx_id=pbx.id, linkedid="1.1", direction="incoming",
                    caller=NASTY[:80], caller_name=NASTY, dst=NASTY[:80], extension=NASTY[:80], started_on=now(),
                    ended_on=now(), disposition=NASTY[:40], data={"caller_name": NASTY, NASTY: NASTY})  # fmt: skip
        session.add(call)
        session.flush()
        event = StageEvent(id=new_id(), project_id=people.project, call_id=call.id, stage="incoming.after", key="",
                           ordinal=1, created_on=now(), data={"caller_name": NASTY})  # fmt: skip
        session.add(event)
        session.flush()
        delivery = Delivery(id=new_id(), project_id=people.project, webhook_id=hook.id, webhook_revision=1,
                            stage_event_id=event.id, call_id=call.id, state="failed", lane=1, due_at=now(), attempts=1,
                            method="POST", url=f"https://example.com/?{NASTY}", headers=[["X-A", NASTY]],
                            body=NASTY.encode(), outcome="http_4xx", message=NASTY, status_code=400,
                            created_on=now())  # fmt: skip
        session.add(delivery)
        session.flush()
        session.add(Attempt(delivery_id=delivery.id, number=1, started_on=now(), finished_on=now(), message=NASTY,
                            outcome="http_4xx", status_code=400, response_headers=[[NASTY, NASTY]],
                            response_body=NASTY.encode() + b"\xff\x00"))  # fmt: skip
        session.add_all([
            AuditEntry(project_id=people.project, who=NASTY, action=NASTY[:60], subject=NASTY,
                       changes={NASTY: [NASTY, NASTY]}, created_on=now()),
            ApiKey(project_id=people.project, name=NASTY, key_hash="h", prefix="p", scopes=[NASTY], created_on=now()),
        ])  # fmt: skip
        return call.id, delivery.id


def test_no_cache_keeps_a_page(app: Flask, people: People, signed_in: SignedIn) -> None:
    """The second-factor pages show secrets, too."""
    owner = signed_in("owner")
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in ("static", "security.static"):
            path = re.sub(r"<(?:int:|uuid:)?project_id>", str(people.project), rule.rule)
            answer = owner.get(re.sub(r"<[^>]+>", "1", path))
            assert answer.headers["Cache-Control"] == "no-store", path


ODD_JSON = ("[]", "[1]", "5", '"text"', "null", "true", "{", '{"email": {"a": 1}, "password": [1]}', '{"email": []}',
            '{"email": 5, "password": 5.5, "code": 1e400}', "[" * 3000, '{"a": ' * 3000, "1" * 100_000)  # fmt: skip


def test_json_that_is_no_form_gets_a_clear_answer(
    app: Flask, people: People, signed_in: SignedIn, browser: Callable[[], Browser]
) -> None:
    paths = [re.sub(r"<[^>]+>", "x", rule.rule) for rule in app.url_map.iter_rules()
             if rule.endpoint.startswith("security.") and "POST" in rule.methods
             and rule.endpoint != "security.logout"]  # fmt: skip
    for visitor in (browser(), signed_in("viewer")):
        visitor.get("/sign-in")
        for path in paths:
            for body in ODD_JSON:
                answer = visitor.client.post(
                    path, data=body, content_type="application/json", headers={"X-CSRFToken": visitor.token}
                )
                assert answer.status_code in (400, 413, 429), (path, body[:20], answer.status_code)
            for body in ('{"email": "a", "password": "b"}', "{}"):
                answer = visitor.client.post(
                    path, data=body, content_type="application/json", headers={"X-CSRFToken": visitor.token}
                )
                assert answer.status_code < 500, (path, body, answer.status_code)


def test_guessing_a_password_is_stopped_and_tells_nothing(
    app: Flask, people: People, browser: Callable[[], Browser]
) -> None:
    attacker = browser()
    known = [attacker.sign_in("viewer@example.com", f"wrong password {n}") for n in range(6)]
    assert [answer.status_code for answer in known] == [200] * 5 + [429]
    unknown = browser().sign_in("nobody@example.com", "wrong password 1")
    assert _messages(unknown) == _messages(known[0])
    assert _messages(unknown)


def _messages(answer) -> list[str]:
    return re.findall(r'class="(?:field-error|alert[^"]*)"[^>]*>(.*?)</div>', answer.get_data(as_text=True), re.S)


def test_signing_in_makes_a_new_session_and_signing_out_ends_it(
    app: Flask, people: People, browser: Callable[[], Browser]
) -> None:
    anna = browser()
    anna.get("/sign-in")
    before = anna.client.get_cookie("pbxhub").value
    anna.sign_in("viewer@example.com")
    stolen = anna.client.get_cookie("pbxhub").value
    assert stolen != before
    thief = browser()
    thief.client.set_cookie("pbxhub", stolen)
    assert thief.get("/projects").status_code == 200
    anna.get("/projects")
    anna.post("/sign-out")
    assert thief.get("/projects").status_code == 302


@pytest.mark.parametrize("column", ["seen_on", "created_on"])
def test_a_session_ends_by_itself(
    app: Flask, people: People, signed_in: SignedIn, database: Database, column: str
) -> None:
    anna = signed_in("viewer")
    with database.write() as session:
        session.execute(update(SignIn).values({column: now() - timedelta(days=31)}))
    assert anna.get("/projects").status_code == 302


def test_another_browser_can_be_signed_out(app: Flask, people: People, signed_in: SignedIn) -> None:
    here, there = signed_in("owner"), signed_in("owner")
    here.get("/profile")
    assert here.post("/profile/sessions/end").status_code == 302
    assert (here.get("/projects").status_code, there.get("/projects").status_code) == (200, 302)


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\t//evil.example"]
)
def test_nobody_is_led_to_another_site(app: Flask, people: People, browser: Callable[[], Browser], target: str) -> None:
    anna = browser()
    anna.get("/sign-in")
    answer = anna.client.post(
        "/sign-in",
        query_string={"next": target},
        data={"csrf_token": anna.token, "email": "viewer@example.com", "password": PASSWORD},
    )
    anna.get("/projects")
    for location in (answer.location, anna.post("/language", {"language": "uk", "back": target}).location):
        assert re.fullmatch(r"/(?![/\\]).*", location or "/"), location


def test_a_foreign_host_name_is_refused(app: Flask, browser: Callable[[], Browser]) -> None:
    answer = browser().get("/sign-in", base_url="http://evil.example")
    assert answer.status_code == 400
    assert "evil" not in answer.get_data(as_text=True)


def test_secrets_are_nowhere_on_the_pages(
    app: Flask, database: Database, people: People, settings: Settings, signed_in: SignedIn
) -> None:
    vault = Vault(settings.secret_key)
    owner = signed_in("owner")
    root = f"/projects/{people.project}"
    owner.get(f"{root}/pbxs/new")
    made = owner.post(f"{root}/pbxs/new", {"name": "Office", "host": "192.0.2.1", "port": "5038", "username": "hub",
                                           "secret": "s3cret-of-ami", "contexts": "from-trunk"})  # fmt: skip
    assert "s3cret-of-ami" in owner.get(made.location).get_data(as_text=True), "shown once"
    spec = {"request": {"url": "https://example.com/", "auth": {"kind": "bearer"}}}
    payload = {"name": "W", "stage": "incoming.after", "spec": spec, "secret": "t0ken-of-crm"}
    saved = owner.client.post(f"{root}/webhooks/save", json=payload, headers={"X-CSRFToken": owner.token})
    assert saved.status_code == 200, saved.text
    hook = saved.json["id"]
    for path in ("pbxs", "pbxs/1", "pbxs/1/edit", "webhooks", f"webhooks/{hook}/edit", f"webhooks/{hook}/history",
                 "webhooks/export.json", "audit"):  # fmt: skip
        text = owner.get(f"{root}/{path}").get_data(as_text=True)
        assert "s3cret-of-ami" not in text, path
        assert "t0ken-of-crm" not in text, path
    with database.read() as session:
        assert (
            vault.open(session.scalars(select(Webhook.secret_sealed).where(Webhook.id == hook)).one()) == "t0ken-of-crm"
        )


def test_a_key_is_shown_once_and_kept_as_a_hash(
    app: Flask, database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    path = f"/projects/{people.project}/keys"
    owner.get(path)
    key = re.search(r"pbx_[\w-]{40,}", owner.post(path, {"name": "CRM", "scopes": "read"}, follow_redirects=True).text)[
        0
    ]
    assert key not in owner.get(path).get_data(as_text=True)
    with database.read() as session:
        row = session.scalars(select(ApiKey)).one()
    assert key not in (row.key_hash, row.prefix)
    assert key.startswith(row.prefix)


@pytest.mark.parametrize(
    "body", [b"", b'it\'s $(touch x) `id` \\ "q" !x\n%s', b"\x00\xff'$(id)\\n%d", "Ім'я \U0001f600".encode()]
)
def test_the_curl_command_survives_a_shell(body: bytes) -> None:
    url, header = "https://example.com/?a='$(id)'&b=`x`", ("X-A", 'it\'s; rm -rf "/" $HOME')
    command = as_curl("POST", url, [header], body).replace("curl ", f"{shlex.quote('printf')} '<%s>' ", 1)
    shown = subprocess.run(["sh", "-c", f"cat() {{ command cat; }}; {command}"], capture_output=True, check=True)
    words = re.findall(rb"<(.*?)>(?=<|$)", shown.stdout, re.S)
    assert words[0] == url.encode()
    assert f"{header[0]}: {header[1]}".encode() in words
    if b"\x00" not in body and body:
        assert body in words


def _sign_in_from(app: Flask, peer: str, forwarded: str = "") -> int:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    visitor = Browser(app.test_client())
    visitor.get("/sign-in", environ_base={"REMOTE_ADDR": peer}, headers=headers)
    tried = {"email": f"{new_id()}@example.com", "password": "wrong", "submit": "1"}
    answer = visitor.post("/sign-in", tried, environ_base={"REMOTE_ADDR": peer}, headers=headers)
    return int(answer.status_code)


def test_behind_a_proxy_of_ours_one_stranger_locks_out_nobody_else(settings: Settings, database: Database) -> None:
    ours = replace(settings, trusted_proxies=(ipaddress.ip_network("10.0.0.0/24"),))
    app = create_app(ours, open_context(ours, database, Vault(settings.secret_key)))
    tries = [_sign_in_from(app, "10.0.0.7", "203.0.113.66, 10.0.0.8") for _ in range(31)]
    assert tries[-1] == 429
    assert _sign_in_from(app, "10.0.0.7", "203.0.113.66") == 429
    assert _sign_in_from(app, "10.0.0.7", "203.0.113.67") == 200


@pytest.mark.parametrize("proxies", ["", "10.0.0.0/24"])
def test_a_forged_forwarded_address_gives_no_new_tries(settings: Settings, database: Database, proxies: str) -> None:
    networks = tuple(ipaddress.ip_network(one) for one in proxies.split(",") if one)
    app = create_app(
        replace(settings, trusted_proxies=networks), open_context(settings, database, Vault(settings.secret_key))
    )
    assert [_sign_in_from(app, "198.51.100.9", f"203.0.113.{n}") for n in range(31)][-1] == 429
