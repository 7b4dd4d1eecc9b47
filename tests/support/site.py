"""The whole application on loopback for a browser, and the browser itself."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Flask
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import select

from pbxhub import http_server
from pbxhub.api import install as install_api
from pbxhub.calls.stages import CallReport, Stage
from pbxhub.delivery.background_jobs import BackgroundJobs
from pbxhub.delivery.context import DeliveryContext, open_context
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.engine import Engine
from pbxhub.sending.sender import Sender
from pbxhub.settings import Network, Settings, read_settings, with_key
from pbxhub.store.accounts import Pbx
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.testing.receivers.receiver import Receiver, Responder
from pbxhub.vault import Vault
from pbxhub.web import create_app
from pbxhub.wsgi.current import now
from tests.support import shop
from tests.support.outbox_world import KEPT, context_of
from tests.support.shared_app import keep_compiled_templates

_FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """A running application: its address and its parts."""

    url: str
    app: Flask
    context: DeliveryContext
    settings: Settings
    project: int

    @property
    def database(self) -> Database:
        return self.context.database


@contextmanager
def serving(
    folder: Path, fill: Callable[[Flask, Database], int], networks: tuple[Network, ...] = (), path: str = ""
) -> Iterator[Site]:
    """Serves a fresh SQLite database filled by `fill`. networks: what webhooks may reach beside public addresses. path:
    of the public address; then with the API."""
    url = f"http://localhost{path}"
    settings = with_key(read_settings({"PBXHUB_DATA_DIR": str(folder), "PBXHUB_PUBLIC_URL": url}))
    (folder / "pbxhub.sqlite3").write_bytes(_migrated())
    database = open_database(settings.database_url)
    vault = Vault(settings.secret_key)
    context = open_context(settings, database, vault)
    app = create_app(settings, context, lambda: AddressGuard(networks))
    keep_compiled_templates(app)
    if path:
        install_api(app)
    listening_on = socket.create_server(("127.0.0.1", 0))
    with closing(database), http_server.serving(app, listening_on, threads=6, name="site"):
        project = fill(app, database)
        yield Site(f"http://127.0.0.1:{listening_on.getsockname()[1]}", app, context, settings, project)


@cache
def _migrated() -> bytes:
    """A database file with its tables, made once for all sites of a process."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pbxhub.sqlite3"
        with closing(open_database(f"sqlite:///{path}")) as database:
            migrate(database)
        return path.read_bytes()


@contextmanager
def working(site: Site, networks: tuple[Network, ...]) -> Iterator[None]:
    """The worker and the background jobs beside the site, as `pbxhub run` has them."""
    guard = AddressGuard(networks)
    sender = Sender(guard)
    worker = Worker(site.context, Engine(guard, 16), capacity=16)
    jobs = BackgroundJobs(site.context, sender, KEPT)
    worker.start()
    jobs.start()
    try:
        yield
    finally:
        jobs.stop()
        worker.stop()
        sender.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(_FLAGS))
        yield browser
        browser.close()


@contextmanager
def receiving(responder: Responder | None = None) -> Iterator[Receiver]:
    """A receiver, started and stopped on a thread of its own: this one runs the browser's event loop."""
    receiver = Receiver(responder)
    with ThreadPoolExecutor(1) as aside:
        aside.submit(receiver.__enter__).result()
        try:
            yield receiver
        finally:
            aside.submit(receiver.__exit__, None, None, None).result()


def sign_in(page: Page, site: Site, email: str = shop.EMAIL, password: str = shop.PASSWORD) -> Page:
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/projects/**")
    return page


def ring(site: Site, linkedid: str, caller: str = "+380671112233", answered: bool = False, over: bool = True) -> None:
    """A call, over or just begun, as the listener would report it."""
    end = now()
    start = end - timedelta(seconds=20)
    values = {"caller": caller, "dst": "380441234567", "billsec": 12 if answered else 0, "disposition": "NO ANSWER"}
    after = Stage("incoming.after", "", 1, end, values)
    report = CallReport(
        linkedid, "incoming", caller, "Ірина", "380441234567", "", start, None, end, "NO ANSWER", values
    )
    told = report._replace(stages=(after,))
    if not over:
        told = report._replace(stages=(Stage("incoming.before", "", 1, start, {}),), ended_on=None, disposition="")
    with site.database.read() as session:
        pbx = session.scalars(select(Pbx.id)).first()
    assert pbx is not None
    publish(context_of(site.database), {pbx: [told]}, now())
