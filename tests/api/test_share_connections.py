"""A program keeps credentials in a connection, uses it in events, and moves it elsewhere without its secret."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from sqlalchemy import text, update

from pbxhub.store.connections import Connection
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.receivers.mock_server import MockServer
from tests.support.served import Served
from tests.support.waiting import wait_until

SECRET = "s3cret-of-the-crm"


def ask(hub: Served, method: str, path: str, body: Any = None, project: int | None = None, **headers: str) -> Any:
    key = hub.key("read", "write", project_id=project)
    return requests.request(
        method, f"{hub.address}/api/v1{path}", json=body, headers={"X-API-KEY": key, **headers}, timeout=30
    )


def connection(host: str, **more: Any) -> dict[str, Any]:
    return {"name": "CRM", "spec": {"kind": "bearer", "hosts": [host], **more}, "secret": SECRET}


def event(url: str) -> dict[str, Any]:
    auth = {"kind": "connection", "name": "CRM"}
    return {"name": "To the CRM", "stage": "incoming.after", "spec": {"request": {"url": url, "auth": auth}}}


def test_a_connection_is_added_changed_tested_used_and_kept_while_it_is_used(hub: Served, receiver: MockServer) -> None:
    host = receiver.url.rstrip("/")
    added = ask(hub, "POST", "/connections", connection(host, test_url=f"{host}/me"))
    assert added.status_code == 201, added.text
    one = f"/connections/{added.json()['id']}"
    assert (added.json()["state"], added.json()["has_secret"], SECRET in added.text) == ("ready", True, False)
    again = ask(hub, "POST", "/connections", connection(host))
    assert (again.status_code, again.json()["errors"][0]["path"]) == (422, "name")
    tested = ask(hub, "POST", f"{one}/test").json()
    assert "status" in tested["sentence"] or tested["ok"]
    assert ask(hub, "POST", "/webhooks", event(f"{host}/calls")).status_code == 201
    assert ask(hub, "GET", one).json()["used_by"] == ["To the CRM"]
    refused = ask(hub, "DELETE", one)
    assert (refused.status_code, "To the CRM" in refused.json()["detail"]) == (409, True)
    tag = ask(hub, "GET", one).headers["ETag"]
    moved = {**connection(host), "spec": {"kind": "bearer", "hosts": [host, "evil.example.com"]}}
    moved.pop("secret")
    stolen = ask(hub, "PUT", one, moved, **{"If-Match": tag})
    assert (stolen.status_code, stolen.json()["errors"][0]["path"]) == (422, "secret")
    assert ask(hub, "PUT", one, connection(host), **{"If-Match": tag}).status_code == 200


@pytest.mark.slow
def test_a_file_brings_the_connection_without_its_secret(hub: Served, receiver: MockServer) -> None:
    host = receiver.url.rstrip("/")
    ask(hub, "POST", "/connections", connection(host))
    ask(hub, "POST", "/webhooks", event(f"{host}/calls"))
    file = ask(hub, "GET", "/webhooks/export")
    assert file.json()["connections"] == [{"name": "CRM", "spec": {"kind": "bearer", "hosts": [host]}}]
    assert SECRET not in file.text
    data = file.json()
    without = ask(hub, "POST", "/webhooks/import", {**data, "connections": []}, hub.other_id)
    assert without.status_code == 422
    assert without.json()["errors"] == [
        {"path": "webhooks.To the CRM.auth.name", "message": "CRM is not a connection of this project."}
    ]
    wrong = {**data, "connections": [{"name": "CRM", "spec": {"kind": "bearer", "hosts": []}}]}
    refused = ask(hub, "POST", "/webhooks/import", wrong, hub.other_id)
    assert [error["path"] for error in refused.json()["errors"]] == ["connections.CRM.hosts"]
    tried = ask(hub, "POST", "/webhooks/import?dry_run=true", data, hub.other_id).json()
    assert (tried["connections"], tried["written"]) == (["CRM"], 0)
    taken = ask(hub, "POST", "/webhooks/import", data, hub.other_id).json()
    assert [(one["name"], one["needs_secret"]) for one in taken["webhooks"]] == [("To the CRM", True)]
    (row,) = ask(hub, "GET", "/connections", project=hub.other_id).json()["items"]
    assert (row["state"], row["has_secret"], row["used_by"]) == ("new", False, ["To the CRM"])
    with hub.database.read() as session:
        assert [one.secret_sealed == "" for one in session.query(Connection).order_by(Connection.id)] == [False, True]
    again = ask(hub, "POST", "/webhooks/import", data, hub.other_id).json()
    assert again["connections"] == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_change_waits_for_a_worker_that_ends_the_token_and_neither_stops_the_other(
    hub: Served, receiver: MockServer, method: str
) -> None:
    """The worker has counted a failure of the webhook, and locks the connection next."""
    host = receiver.url.rstrip("/")
    added = ask(hub, "POST", "/connections", connection(host)).json()["id"]
    webhook = ask(hub, "POST", "/webhooks", event(f"{host}/calls")).json()["id"]
    if method == "DELETE":
        ask(hub, "DELETE", f"/webhooks/{webhook}")
    one = f"/connections/{added}"
    tag = ask(hub, "GET", one).headers["ETag"]
    renamed = {**connection(host), "name": "Our CRM"}
    with ThreadPoolExecutor(1) as other:
        with hub.database.write() as worker:
            worker.execute(text("SET LOCAL lock_timeout = 500"))
            worker.execute(update(Webhook).where(Webhook.id == webhook).values(failures=1))
            changed = other.submit(ask, hub, method, one, renamed, **{"If-Match": tag})
            wait_until(lambda: _one_waits(hub))
            worker.execute(update(Connection).where(Connection.id == added).values(ready_until=None))
        assert changed.result(30).status_code == (200 if method == "PUT" else 204)


def _one_waits(hub: Served) -> bool:
    with hub.database.read() as session:
        own = "datname = current_database() AND wait_event_type = 'Lock'"
        return bool(session.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {own}")))


def test_a_stranger_neither_reads_nor_uses_a_connection(hub: Served, receiver: MockServer) -> None:
    host = receiver.url.rstrip("/")
    added = ask(hub, "POST", "/connections", connection(host)).json()
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/test")):
        body = connection(host) if method == "PUT" else None
        answer = ask(hub, method, f"/connections/{added['id']}{path}", body, hub.other_id)
        assert answer.status_code == 404, (method, path)
    assert ask(hub, "POST", "/webhooks", event(f"{host}/calls"), hub.other_id).status_code == 422
