"""The whole application on a fresh database, and browsers that sign in as people would."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_security import hash_password

from pbxhub.delivery.context import open_context
from pbxhub.settings import MailServer, Settings, read_settings
from pbxhub.store.accounts import Membership, Project, User
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.wsgi.current import now
from tests.support.page_routes import one_of_everything
from tests.support.pages_server import KEY, serving_pages
from tests.support.people import PASSWORD, Browser, People
from tests.support.post_office import Box, serving_mail
from tests.support.shared_app import shared_app
from tests.support.two_processes import TWO_PROCESSES, Visitor


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(
        {
            "PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_PUBLIC_URL": "http://localhost",
            "PBXHUB_SECRET_KEY": urlsafe_b64encode(KEY).decode(),
        }
    )  # fmt: skip


@pytest.fixture
def app(settings: Settings, database: Database) -> Flask:
    application = shared_app(settings, open_context(settings, database, Vault(settings.secret_key)))
    application.testing = True
    return application


@pytest.fixture
def browser(
    request: pytest.FixtureRequest, app: Flask, database_url: str, tmp_path: Path
) -> Iterator[Callable[[], Browser]]:
    if getattr(request, "param", "") != TWO_PROCESSES:
        yield lambda: Browser(app.test_client())
        return
    with serving_pages("web", database_url, tmp_path) as web:
        yield lambda: Browser(Visitor(web.url))
    assert "Traceback" not in web.said()


@pytest.fixture
def people(app: Flask, database: Database) -> People:
    with app.app_context():
        hashed = hash_password(PASSWORD)
    with database.write() as session:
        ours = Project(name="Ours", time_zone="Europe/Kyiv", country="UA", created_on=now())
        theirs = Project(name="Theirs", time_zone="UTC", created_on=now())
        ours.pbx_networks = ["192.0.2.0/24"]  # of documentation: not public
        session.add_all([ours, theirs])
        session.flush()
        for name, project in (("viewer", ours), ("editor", ours), ("owner", ours), ("stranger", theirs)):
            user = User(
                email=f"{name}@example.com",
                name=name.title(),
                password=hashed,
                fs_uniquifier=name * 4,
                recovery_codes=[],
                email_confirmed_on=now(),
                created_on=now(),
            )
            session.add(user)
            session.flush()
            role = "owner" if name == "stranger" else name
            session.add(Membership(project_id=project.id, user_id=user.id, role=role, created_on=now()))
        operator = User(
            email="operator@example.com",
            name="Operator",
            password=hashed,
            operator=True,
            fs_uniquifier="operator",
            recovery_codes=[],
            created_on=now(),
        )
        session.add(operator)
        return People(ours.id, theirs.id)


@pytest.fixture
def signed_in(browser: Callable[[], Browser], people: People) -> Callable[[str], Browser]:
    def sign_in(name: str) -> Browser:
        fresh = browser()
        assert fresh.sign_in(f"{name}@example.com").status_code == 302
        fresh.get("/projects")
        return fresh

    return sign_in


@pytest.fixture
def post_office() -> Iterator[tuple[Box, MailServer]]:
    with serving_mail() as served:
        yield served


@pytest.fixture
def things(database: Database, people: People) -> dict[str, object]:
    """One row of everything in our project: what the variables of a route are filled with."""
    with database.write() as session:
        return one_of_everything(session, people)
