"""Operators share their right, keep one of them, and decide who makes projects."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from pbxhub.account.first_owner import first_setup
from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings
from pbxhub.store.accounts import AuditEntry, Membership, Pbx, Project, User
from pbxhub.store.session import Database
from pbxhub.testing.waiting import await_until
from pbxhub.vault import Vault
from pbxhub.web import create_app
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec, dump_spec
from pbxhub.wsgi.current import now
from tests.support.locks import waiting_for_locks
from tests.support.people import FORM, Browser, People

SignedIn = Callable[[str], Browser]
SHOP = {"name": "Shop", "time_zone": "UTC", "country": "UA"}


def ids(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {row.name.lower(): row.id for row in session.execute(select(User.name, User.id))}


def operators(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(User.email).where(User.operator)))


def test_who_sets_the_hub_up_is_its_operator(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    anna, link = browser(), first_setup(settings, database, now()).link
    anna.get(link)
    anna.post(link, FORM)
    assert operators(database) == {"anna@example.com"}
    assert anna.get("/operator").status_code == 200


def test_an_operator_makes_another_and_the_log_says_so(database: Database, people: People, signed_in: SignedIn) -> None:
    operator, owner = signed_in("operator"), signed_in("owner")
    operator.post(f"/operator/users/{ids(database)['owner']}", {"operator": "yes"})
    assert operators(database) == {"operator@example.com", "owner@example.com"}
    assert "operator added" in owner.get("/operator/log").text
    owner.post(f"/operator/users/{ids(database)['operator']}", {"operator": "no"})
    assert operator.get("/operator").status_code == 404
    assert 'href="/operator"' not in operator.get("/projects").text


def test_the_last_operator_stays(database: Database, people: People, signed_in: SignedIn) -> None:
    operator = signed_in("operator")
    answer = operator.post(f"/operator/users/{ids(database)['operator']}", {"operator": "no"}, follow_redirects=True)
    assert "operator@example.com is the last operator of this hub" in answer.text
    assert operators(database) == {"operator@example.com"}


def test_who_cannot_sign_in_yet_becomes_no_operator(database: Database, people: People, signed_in: SignedIn) -> None:
    with database.write() as session:
        session.execute(update(User).where(User.name == "Viewer").values(password=""))
    answer = signed_in("operator").post(
        f"/operator/users/{ids(database)['viewer']}", {"operator": "yes"}, follow_redirects=True
    )
    assert "cannot sign in yet" in answer.text
    assert operators(database) == {"operator@example.com"}


def test_two_operators_at_once_do_not_leave_the_hub_without_one(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    """Each takes the other's right away. Both are let in as operators before either has written."""
    known = ids(database)
    both = User.id.in_((known["operator"], known["owner"]))
    with database.write() as session:
        session.execute(update(User).where(both).values(operator=True))
    first, second = signed_in("operator"), signed_in("owner")
    with ThreadPoolExecutor(2) as threads, database.engine.connect() as other:
        if not database.is_sqlite:
            other.execute(select(User.id).where(both).with_for_update())
        answers = [
            threads.submit(browser.post, f"/operator/users/{known[name]}", {"operator": "no"})
            for browser, name in ((first, "owner"), (second, "operator"))
        ]
        if not database.is_sqlite:
            await_until(lambda: waiting_for_locks(database) == 2)
        other.rollback()
        assert {answer.result().status_code for answer in answers} <= {302, 404}
    assert len(operators(database)) == 1


def test_only_an_operator_makes_projects_and_others_read_whom_to_ask(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner, operator = signed_in("owner"), signed_in("operator")
    page = owner.get("/projects").text
    assert "Ask operator@example.com to create one for you" in page
    assert "/projects/new" not in page
    refused = owner.post("/projects/new", SHOP)
    assert refused.status_code == 403
    assert "Ask operator@example.com" in refused.text
    assert operator.post("/projects/new", SHOP).status_code == 302
    with database.read() as session:
        shop = session.scalars(select(Project).where(Project.name == "Shop")).one()
        member = session.scalars(select(Membership).where(Membership.project_id == shop.id)).one()
        assert (member.user_id, member.role) == (ids(database)["operator"], "owner")
        assert shop.webhook_networks is None


@pytest.mark.slow
def test_the_setting_lets_everybody_make_projects(database: Database, people: People, settings: Settings) -> None:
    opened = replace(settings, projects="everyone")
    owner = Browser(create_app(opened, open_context(opened, database, Vault(settings.secret_key))).test_client())
    owner.sign_in("owner@example.com")
    assert "/projects/new" in owner.get("/projects").text
    assert owner.post("/projects/new", SHOP).status_code == 302
    with database.read() as session:
        assert session.scalars(select(Project).where(Project.name == "Shop")).one().webhook_networks == []


def test_a_deleted_project_stays_in_the_log_of_operators(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    owner.post(f"/projects/{people.project}/delete", {"typed_name": "Ours"})
    assert "project deleted" in signed_in("operator").get("/operator/log").text
    with database.read() as session:
        assert session.scalars(select(AuditEntry.project_id)).all() == [None]


def add_pbxs(database: Database, people: People) -> tuple[int, int]:
    with database.write() as session:
        rows = [
            Pbx(project_id=project, name=f"pbx{project}", host="10.0.0.5", any_network=True, username="u",
                secret_sealed="", created_on=now())
            for project in (people.project, people.other)
        ]  # fmt: skip
        session.add_all(rows)
        session.flush()
        return rows[0].id, rows[1].id


def test_an_operator_names_the_files_of_a_pbx_and_takes_its_address_back(
    database: Database, people: People, signed_in: SignedIn, tmp_path: Path
) -> None:
    ours, theirs = add_pbxs(database, people)
    operator = signed_in("operator")
    form = {"cel_path": "/var/cel/master.db", "recordings": str(tmp_path)}
    assert operator.post(f"/operator/pbxs/{ours}", form).status_code == 302
    with database.read() as session:
        row = session.get_one(Pbx, ours)
        assert (row.cel_path, row.recordings, row.any_network) == ("/var/cel/master.db", str(tmp_path), False)
    refused = operator.post(f"/operator/pbxs/{theirs}", form)
    assert refused.status_code == 422
    assert refused.text.count("pbx1 of the project Ours uses this already.") == 2
    assert operator.post(f"/operator/pbxs/{theirs}", {"recordings": "relative"}).status_code == 422
    assert "/var/cel/master.db" in operator.get("/operator/log").text
    assert "/var/cel/master.db" not in signed_in("owner").get(f"/projects/{people.project}/audit").text


def test_an_operator_names_a_cel_table_whose_password_nobody_reads(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    ours, theirs = add_pbxs(database, people)
    operator, url = signed_in("operator"), "postgresql://asterisk:hushhush@db.example.com/asterisk"
    assert operator.post(f"/operator/pbxs/{ours}", {"cel_url": url}).status_code == 302
    page = operator.get(f"/operator/pbxs/{ours}").text
    assert "db.example.com:5432/asterisk cel" in page
    assert "hushhush" not in page + operator.get("/operator/log").text + operator.get("/operator").text
    assert operator.post(f"/operator/pbxs/{ours}", {}).status_code == 302, "an empty one keeps what there is"
    with database.read() as session:
        assert "hushhush" not in session.get_one(Pbx, ours).cel_url_sealed != ""
    for pbx, form in (
        (theirs, {"cel_url": url.replace("asterisk:hushhush", "other:other")}),
        (theirs, {"cel_url": "sqlite:////var/cel.db"}),
        (ours, {"cel_path": "/var/cel/master.db"}),
    ):
        assert operator.post(f"/operator/pbxs/{pbx}", form).status_code == 422
    assert operator.post(f"/operator/pbxs/{ours}", {"no_cel_url": "y"}).status_code == 302
    with database.read() as session:
        assert session.get_one(Pbx, ours).cel_url_sealed == ""
    owner = signed_in("owner")
    owner.get("/projects")
    assert owner.post(f"/operator/pbxs/{ours}", {"cel_url": url}).status_code in (403, 404)


def test_the_common_folder_belongs_to_one_project(database: Database, people: People, signed_in: SignedIn) -> None:
    ours, theirs = add_pbxs(database, people)
    operator, common = signed_in("operator"), {"recordings": "PBXHUB_RECORDINGS"}
    assert operator.post(f"/operator/pbxs/{ours}", common).status_code == 302
    assert operator.post(f"/operator/pbxs/{theirs}", common).status_code == 422
    assert operator.post(f"/operator/pbxs/{theirs}", {"recordings": "/var/spool/asterisk/monitor/"}).status_code == 422


def test_an_operator_grants_a_project_networks(database: Database, people: People, signed_in: SignedIn) -> None:
    operator, page = signed_in("operator"), f"/operator/projects/{people.project}"
    assert operator.post(page, {"pbx_networks": "10.0.0.5/8"}).status_code == 422
    assert operator.post(page, {"pbx_networks": "10.0.0.0/8\n fd00::/8"}).status_code == 302
    with database.read() as session:
        row = session.get_one(Project, people.project)
        assert (row.pbx_networks, row.webhook_networks) == (["10.0.0.0/8", "fd00::/8"], [])
    assert "networks granted" in signed_in("owner").get(f"/projects/{people.project}/audit").text


@pytest.mark.slow
def test_a_webhook_is_saved_in_a_network_that_the_project_was_granted(
    database: Database, people: People, settings: Settings
) -> None:
    opened = replace(settings, allowed_networks=(ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16")))
    editor = Browser(create_app(opened, open_context(opened, database, Vault(settings.secret_key))).test_client())
    editor.sign_in("editor@example.com")
    operator = Browser(editor.client.application.test_client())
    operator.sign_in("operator@example.com")
    for chosen, status in (([], 422), (["192.168.0.0/16", "127.0.0.0/8"], 422), (["10.0.0.0/8"], 200)):
        answer = operator.post(f"/operator/projects/{people.project}", {"webhook_networks": chosen})
        assert answer.status_code == (422 if "127.0.0.0/8" in chosen else 302)
        spec = dump_spec(WebhookSpec(RequestSpec(url="http://10.1.2.3/")))
        draft = {"name": f"w{status}", "stage": "incoming.after", "enabled": True, "spec": spec}
        editor.get("/projects")
        saved = editor.client.post(
            f"/projects/{people.project}/webhooks/save", json=draft, headers={"X-CSRFToken": editor.token}
        )
        assert saved.status_code == status, chosen
