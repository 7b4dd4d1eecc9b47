"""A user reads lists that are long: page by page, nothing twice, and a page costs the same however long the list is."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from pbxhub.store.accounts import Pbx
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]


def _fill(database: Database, project: int, count: int) -> None:
    """Calls with a failed delivery each; two calls begin at every moment, so that the key needs its second part."""
    with database.write() as session:
        pbx = Pbx(project_id=project, name="p", host="h", username="u", secret_sealed="", created_on=now())
        session.add(pbx)
        session.flush()
        start = now()
        for number in range(count):
            hook = Webhook(project_id=project, name=f"W{number}", stage="incoming.after", created_on=now(),
                           spec=WebhookSpec(RequestSpec(url="https://example.com/")))  # fmt: skip
            call = Call(id=new_id(), project_id=project, pbx_id=pbx.id, linkedid=str(number), direction="incoming",
                        caller=f"+3806700{number:05}", dst="1", started_on=start + timedelta(seconds=number // 2),
                        ended_on=start)  # fmt: skip
            session.add_all([hook, call])
            session.flush()
            stage = StageEvent(id=new_id(), project_id=project, call_id=call.id, stage="incoming.after", key="",
                               ordinal=1, created_on=start, data={})  # fmt: skip
            session.add(stage)
            session.flush()
            session.add(Delivery(id=new_id(), project_id=project, webhook_id=hook.id, webhook_revision=1, lane=1,
                                 stage_event_id=stage.id, call_id=call.id, state="failed", due_at=start, method="POST",
                                 url="https://example.com/", headers=[], body=b"", created_on=start))  # fmt: skip


@pytest.mark.parametrize("path", ["calls", "deliveries", "errors"])
def test_pages_follow_each_other_without_gaps_or_repetition(
    app: Flask, database: Database, people: People, signed_in: SignedIn, path: str
) -> None:
    _fill(database, people.project, 120)
    viewer = signed_in("viewer")
    seen: list[str] = []
    address = f"/projects/{people.project}/{path}"
    while address and len(seen) < 200:
        text = viewer.get(address).get_data(as_text=True)
        seen += re.findall(r"\+3806700\d{5}(?=<)", text)  # as text: rows have it as a title, too
        following = re.search(r'hx-get="([^"]*before=[^"]*)"', text)
        address = following[1].replace("&amp;", "&") if following else ""
    assert seen == [f"+3806700{number:05}" for number in reversed(range(120))]


FILTERS = (
    "outcome=http_5xx", "call=1", "from=2026-01-01T00:00&to=2036-01-01T00:00", "number=1", "number=%2B380670000001",
    "hour=2026-01-01T00:00:00%2B00:00",
)  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["dashboard", "calls", "deliveries", "errors", "errors/strip", "webhooks", "webhooks/health", "pbxs",
     *(f"{page}?{filters}" for page in ("deliveries", "errors", "deliveries/newer") for filters in FILTERS)],
)  # fmt: skip
def test_a_longer_list_takes_no_more_statements(
    app: Flask, database: Database, people: People, signed_in: SignedIn, path: str
) -> None:
    viewer = signed_in("viewer")
    counts = []
    statements = [0]
    event.listen(database.engine, "before_cursor_execute", lambda *_: statements.__setitem__(0, statements[0] + 1))
    for size in (2, 40):
        _fill(database, people.project, size)
        viewer.get(f"/projects/{people.project}/{path}")
        statements[0] = 0
        assert viewer.get(f"/projects/{people.project}/{path}").status_code == 200
        counts.append(statements[0])
    assert counts[0] == counts[1]
    assert counts[0] <= (20 if path == "dashboard" else 16)  # five of them compare today with yesterday


@pytest.mark.parametrize(
    ("text", "found"),
    [("+380670000007", 1), ("380670000007", 1), ("38067000000", 10), ("%", 0), ("_", 0), ("' OR 1=1 --", 0), ("7", 1)],
)
def test_a_search_finds_beginnings_and_takes_wildcards_as_text(
    app: Flask, database: Database, people: People, signed_in: SignedIn, text: str, found: int
) -> None:
    _fill(database, people.project, 40)
    answer = signed_in("viewer").get(f"/projects/{people.project}/calls", query_string={"number": text})
    assert len(re.findall(r'class="row-link"', answer.get_data(as_text=True))) == found


@pytest.mark.parametrize("key", ["x", "1.2", "99999999999999999.0", "' OR 1=1", "-1"])
def test_a_damaged_key_shows_the_first_page(
    app: Flask, database: Database, people: People, signed_in: SignedIn, key: str
) -> None:
    _fill(database, people.project, 3)
    viewer = signed_in("viewer")
    for path in ("calls", "deliveries"):
        answer = viewer.get(f"/projects/{people.project}/{path}?before={key}")
        assert answer.status_code == 200
        assert "+380670000002" in answer.get_data(as_text=True)


def test_an_export_has_every_row_once(app: Flask, database: Database, people: People, signed_in: SignedIn) -> None:
    _fill(database, people.project, 60)
    lines = (
        signed_in("viewer").get(f"/projects/{people.project}/export/errors.csv").get_data(as_text=True).split("\r\n")
    )
    assert len(lines) == 62
    assert len(set(lines)) == 62
    assert ",+380670000059," in lines[1]


_LIST, _LIVE = "FROM delivery JOIN webhook", "FROM call WHERE call.pbx_id IN"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL plans by the rows, and here are none
@pytest.mark.parametrize(
    ("path", "table", "index"),
    [("deliveries?state=failed", _LIST, "ix_delivery_not_delivered"),
     ("deliveries?state=cancelled", _LIST, "ix_delivery_not_delivered"),
     ("deliveries?code=418", _LIST, "ix_delivery_status"), ("deliveries?code=204", _LIST, "ix_delivery_status"),
     ("deliveries?code=0", _LIST, "ix_delivery_unanswered"),
     ("deliveries?stage=incoming.before", _LIST, "ix_delivery_stage"),
     ("errors?webhook=1", _LIST, "ix_delivery_unchecked"),
     ("errors?webhook=1&outcome=gone", _LIST, "ix_delivery_unchecked"), ("calls", _LIVE, "ix_call_open")],
)  # fmt: skip
def test_what_is_rare_in_a_long_history_is_found_by_an_index(
    database: Database, people: People, signed_in: SignedIn, path: str, table: str, index: str
) -> None:
    viewer, heard = signed_in("viewer"), list[tuple[str, Any]]()

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        heard.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", hear)
    viewer.get(f"/projects/{people.project}/{path}")
    event.remove(database.engine, "before_cursor_execute", hear)
    statement, parameters = next(one for one in heard if table in " ".join(one[0].split()))
    with database.engine.connect() as connection:
        plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert any(index in step for step in plan), plan
    assert table == _LIVE or not any("TEMP B-TREE" in step for step in plan), plan
