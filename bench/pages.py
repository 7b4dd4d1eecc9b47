"""How fast the list pages of a busy project answer: python bench/pages.py [deliveries] [--postgresql]

One project with 1,000,000 deliveries (2 % failed, unchecked) of 200,000 calls and 200 webhooks. Prints, for every
page, the median and the 95th percentile of the server's time and the number of SQL statements.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from flask import Flask
from flask_security import hash_password
from sqlalchemy import Table, event, insert

from pbxhub.delivery.context import open_context
from pbxhub.settings import read_settings, with_key
from pbxhub.store.accounts import Membership, Pbx, Project, User
from pbxhub.store.ids import first_id_at
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Base, Database, open_database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.hub.postgres import postgres_server
from pbxhub.vault import Vault
from pbxhub.web import create_app
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now

GOAL_MS = 60
ROUNDS = 25
WEBHOOKS = 200
PASSWORD = "correct horse battery"
PAGES = {
    "dashboard": "dashboard",
    "calls": "calls",
    "calls by number": "calls?number=%2B38067000123",
    "calls, answered": "calls?result=answered",
    "calls, missed (none)": "calls?result=missed",
    "calls, unanswered (none)": "calls?result=unanswered",
    "deliveries": "deliveries",
    "deliveries, deep": "deliveries?before={middle}",
    "deliveries, failed": "deliveries?state=failed",
    "deliveries of a webhook": "deliveries?webhook=7",
    "deliveries, a reason": "deliveries?outcome=http_5xx",
    "deliveries, a rare reason": "deliveries?outcome=gone",
    "deliveries, a stage": "deliveries?stage=incoming.after",
    "deliveries, a rare stage": "deliveries?stage=call.voicemail",
    "deliveries, a stage of none": "deliveries?stage=outgoing.before",
    "deliveries, a status": "deliveries?code=500",
    "deliveries, status of none": "deliveries?code=204",
    "deliveries, no answer": "deliveries?code=0",
    "deliveries, waiting": "deliveries?state=waiting",
    "deliveries, pending": "deliveries?state=pending",
    "deliveries of a call": "deliveries?call=500000",
    "deliveries of an old hour": "deliveries?from={old_hour}:00&to={old_hour}:59",
    "deliveries by number": "deliveries?number=%2B380670500000",
    "deliveries, unknown number": "deliveries?number=%2B380990000000",
    "deliveries, every call's DID": "deliveries?number=380441234567",
    "error check": "errors",
    "error check, strip": "errors/strip",
    "error check, one reason": "errors?webhook=7&outcome=http_5xx",
    "error check, a rare reason": "errors?outcome=gone",
    "error check of a call": "errors?call=500000",
    "error check of an old hour": "errors?from={old_hour}:00&to={old_hour}:59",
    "error check by number": "errors?number=%2B380670500000",
    "webhooks": "webhooks",
    "editor": "webhooks/7/edit",
    "webhooks, last outcomes": "webhooks/health",
}


def main(deliveries: int, postgresql: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, _database(folder, postgresql) as (url, kind):
        settings = with_key(
            read_settings(
                {"PBXHUB_DATA_DIR": folder, "PBXHUB_DATABASE_URL": url, "PBXHUB_PUBLIC_URL": "http://localhost"}
            )
        )
        database = open_database(url)
        migrate(database)
        app = create_app(settings, open_context(settings, database, Vault(settings.secret_key)))
        started = time.perf_counter()
        middle = _fill(app, database, deliveries)
        print(f"{kind}: {deliveries} deliveries, {WEBHOOKS} webhooks, filled in {time.perf_counter() - started:.0f} s")
        _measure(app, database, middle)
        database.close()


@contextmanager
def _database(folder: str, postgresql: bool) -> Iterator[tuple[str, str]]:
    if not postgresql:
        yield f"sqlite:///{folder}/bench.sqlite3", "SQLite"
        return
    with postgres_server(durable=True) as url:
        yield url, "PostgreSQL"


def _measure(app: Flask, database: Database, middle: str) -> None:
    client = app.test_client()
    page = client.get("/sign-in").get_data(as_text=True)
    token = page.split('name="csrf_token"')[1].split('value="')[1].split('"')[0]
    client.post("/sign-in", data={"csrf_token": token, "email": "a@example.com", "password": PASSWORD})
    statements = [0]
    event.listen(database.engine, "before_cursor_execute", lambda *_: statements.__setitem__(0, statements[0] + 1))
    for name, path in PAGES.items():
        address = f"/projects/1/{path.format(middle=middle, old_hour=f'{now() - timedelta(days=20):%Y-%m-%dT%H}')}"
        assert client.get(address).status_code == 200, address
        times = []
        statements[0] = 0
        for _round in range(ROUNDS):
            begin = time.perf_counter()
            client.get(address).get_data()
            times.append((time.perf_counter() - begin) * 1000)
        median, late = statistics.median(times), sorted(times)[int(ROUNDS * 0.95)]
        verdict = "" if median < GOAL_MS else f"   over the goal of {GOAL_MS} ms"
        print(
            f"  {name:28} median {median:6.1f} ms  p95 {late:6.1f} ms  {statements[0] // ROUNDS:3} statements{verdict}"
        )


def _fill(app: Flask, database: Database, deliveries: int) -> str:
    """Deliveries of the last 30 days, five of each call; returns the id of the one in the middle."""
    with app.app_context(), database.write() as session:
        session.add(Project(id=1, name="Busy", time_zone="Europe/Kyiv", country="UA", created_on=now()))
        session.add(User(id=1, email="a@example.com", password=hash_password(PASSWORD), fs_uniquifier="a",
                         recovery_codes=[], created_on=now()))  # fmt: skip
        session.flush()
        session.add(Membership(project_id=1, user_id=1, role="owner", created_on=now()))
        session.add(Pbx(id=1, project_id=1, name="P", host="h", username="u", secret_sealed="", created_on=now()))
        for number in range(1, WEBHOOKS + 1):
            spec = WebhookSpec(RequestSpec(url=f"https://crm{number}.example.com/calls"))
            session.add(Webhook(id=number, project_id=1, name=f"W{number}", stage="incoming.after", spec=spec,
                                position=number, created_on=now()))  # fmt: skip
    for start in range(0, deliveries, 25_000):
        _fill_part(database, deliveries, range(start, min(start + 25_000, deliveries)))
    if not database.is_sqlite:  # PostgreSQL does it by itself; a hub on SQLite never has statistics
        with database.engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
    return str(first_id_at(now() - timedelta(days=15)))


def _fill_part(database: Database, deliveries: int, numbers: range) -> None:
    tables: dict[str, Table] = dict(Base.metadata.tables)
    step = timedelta(days=30) / deliveries
    first = now() - timedelta(days=30)
    calls: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []
    for number in numbers:
        moment = first + step * number
        unique = first_id_at(moment).int | (0x7 << 76) | (0b10 << 62) | number
        if number % 5 == 0:
            same = type(first_id_at(moment))(int=unique)
            caller = f"+38067{number % 10_000_000:07}"
            calls.append({"id": same, "project_id": 1, "pbx_id": 1, "linkedid": str(number), "direction": "incoming",
                          "caller": caller, "caller_name": "", "dst": "380441234567", "extension": "101",
                          "started_on": moment, "ended_on": moment, "disposition": "ANSWERED", "talk": 5,
                          "data": {"billsec": 5}, "answers": {}})  # fmt: skip
            events.append({"id": same, "project_id": 1, "call_id": same, "stage": "incoming.after", "key": "",
                           "ordinal": 1, "created_on": moment, "data": {}})  # fmt: skip
        failed = number % 50 == 0
        outcome, status = ("gone", 410) if number % 250_000 == 0 else ("http_5xx", 500) if failed else ("ok", 200)
        sent.append({"id": type(same)(int=unique), "project_id": 1, "webhook_id": number % WEBHOOKS + 1,
                     "webhook_revision": 1, "stage_event_id": same, "call_id": same, "kind": "stage",
                     "stage": "incoming.after",
                     "state": "failed" if failed else "delivered", "lane": 1, "due_at": moment, "attempts": 1,
                     "tries": 1, "held": False, "out_of_order": False, "method": "POST",
                     "url": "https://crm.example.com/calls", "headers": [], "body": b"{}" * 100,
                     "outcome": outcome, "message": "", "status_code": status,
                     "duration_ms": 40, "created_on": moment, "finished_on": moment})  # fmt: skip
    with database.engine.begin() as connection:
        connection.execute(insert(tables["call"]), calls)
        connection.execute(insert(tables["stage_event"]), events)
        connection.execute(insert(tables["delivery"]), sent)


if __name__ == "__main__":
    rest = [argument for argument in sys.argv[1:] if argument.isdigit()]
    main(int(rest[0]) if rest else 1_000_000, "--postgresql" in sys.argv)
