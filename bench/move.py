"""What a move costs: python bench/move.py [deliveries] (1,000,000)

A project that looks lived in, with that many old deliveries, their stages and attempts and a call for every five, on
SQLite. `pbxhub move` takes it to a PostgreSQL with fsync, is killed among the deliveries, and is run again. Prints the
seconds of both and the CPU seconds (of the command, not of the server). Fails when the second run does not continue
where the first was killed, when a table has another number of rows, or when one of the project's pages differs.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from flask import Flask
from old_rows import WEBHOOKS
from old_rows import fill as fill_old
from sqlalchemy import func, insert, select

from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings, read_settings, with_key
from pbxhub.store.all_tables import metadata
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing import await_until
from pbxhub.testing.hub.postgres import postgres_server
from pbxhub.vault import Vault
from pbxhub.web import create_app
from tests.support import shop
from tests.support.people import Browser, without_the_moment

MOMENTARY_OR_ENDLESS = "/simulate|/export"  # calls with new ids each time; every call of the history
UNCHECKED = 500  # one delivery of so many is a failure that nobody has checked


def main(deliveries: int) -> None:
    with tempfile.TemporaryDirectory() as name, postgres_server(durable=True) as url, ExitStack() as stack:
        given = {"PBXHUB_DATA_DIR": name, "PBXHUB_PUBLIC_URL": "http://localhost"}
        settings = with_key(read_settings(given))
        source = open_database(settings.database_url)
        stack.callback(source.close)
        project = filled(settings, source, deliveries)
        size = Path(source.engine.url.database or "").stat().st_size
        print(f"{size / 1e9:.2f} GB, {sum(counts(source).values())} rows; load {os.getloadavg()[0]:.1f}", flush=True)
        killed_at = first_run(given, url, deliveries)
        target = open_database(url)
        stack.callback(target.close)
        copied = counts(target)
        assert killed_at <= copied["delivery"] < deliveries, copied["delivery"]
        second_run(given, url, copied)
        assert counts(target) == counts(source)
        compare_pages(pages(settings, source), pages(settings, target), project)


def filled(settings: Settings, database: Database, deliveries: int) -> int:
    """The id of the project."""
    migrate(database)
    project = shop.fill(pages(settings, database), database)
    with database.write() as session:
        one = session.scalars(select(Webhook).order_by(Webhook.id).limit(1)).one()
        more = {column.name: getattr(one, column.name) for column in Webhook.__table__.columns if column.name != "id"}
        there = session.scalar(select(func.count()).select_from(Webhook)) or 0
        rows = [
            {**more, "name": f"W{number}", "position": number + 1, "enabled": False}
            for number in range(there, WEBHOOKS)
        ]
        session.execute(insert(Webhook), rows)
    fill_old(database, deliveries, UNCHECKED)
    return project


def pages(settings: Settings, database: Database) -> Flask:
    return create_app(settings, open_context(settings, database, Vault(settings.secret_key)))


def counts(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in metadata.sorted_tables}


def moving(given: dict[str, str], url: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pbxhub", "move", "--to", url]
    return subprocess.Popen(command, env={**os.environ, **given}, stderr=subprocess.PIPE, text=True)


def first_run(given: dict[str, str], url: str, deliveries: int) -> int:
    """Kills it when half of the deliveries are there; returns how many it had told of."""
    began, command = time.perf_counter(), moving(given, url)
    assert command.stderr
    for line in command.stderr:
        table, _, told = line.partition(": ")
        if table == "delivery" and (done := int(told.split()[0])) >= deliveries // 2:
            command.kill()
            command.wait()
            print(f"killed after {time.perf_counter() - began:.0f} s, at {line}", end="", flush=True)
            return done
    raise AssertionError("it ended before it was killed")


def second_run(given: dict[str, str], url: str, copied: dict[str, int]) -> None:
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = moving(given, url)
    assert command.stderr
    began_at: dict[str, int] = {}
    for line in command.stderr:
        table, _, told = line.partition(": ")
        began_at.setdefault(table, int(told.split()[0]))
    assert command.wait() == 0
    now, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(f"run again: {took:.0f} s, {cpu:.0f} s of CPU; load {os.getloadavg()[0]:.1f}", flush=True)
    assert {table: copied[table] for table in began_at} == began_at, (began_at, copied)


def compare_pages(here: Flask, there: Flask, project: int) -> None:
    of_source, of_target = Browser(here.test_client()), Browser(there.test_client())
    for browser in (of_source, of_target):
        browser.sign_in(shop.EMAIL, shop.PASSWORD)
    paths = of_source.walk(f"/projects/{project}/dashboard", leave_out=MOMENTARY_OR_ENDLESS)
    took = [0.0, 0.0]

    def shown(browser: Browser, path: str, of: int) -> list[str]:
        began = time.perf_counter()
        text = browser.get(path).get_data(as_text=True)
        took[of] = max(took[of], time.perf_counter() - began)
        return without_the_moment(text).splitlines()

    for path in paths:

        def same(path: str = path) -> None:
            """Some pages tell how long ago something was."""
            assert shown(of_source, path, 0) == shown(of_target, path, 1), path

        await_until(same, "60s")
    print(f"{len(paths)} pages are the same; the slowest took {took[0]:.2f} s on SQLite, {took[1]:.2f} s on PostgreSQL")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
