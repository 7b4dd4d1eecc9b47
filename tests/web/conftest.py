"""The whole application on a fresh database, and browsers that sign in as people would."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_security import hash_password

from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings, read_settings, with_key
from pbxhub.store.accounts import Membership, Project, User
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.web import create_app
from pbxhub.wsgi.current import now
from tests.web.post_office import post_office

__all__ = ["post_office"]

PASSWORD = "correct horse battery"
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@dataclass
class Browser:
    """A browser with its cookies: get pages, post forms with the token of a page seen before."""

    client: FlaskClient
    token: str = field(default="")

    def get(self, path: str, **options):
        answer = self.client.get(path, **options)
        if found := _TOKEN.search(answer.get_data(as_text=True)):
            self.token = found[1]
        return answer

    def post(self, path: str, data: dict | None = None, **options):
        return self.client.post(path, data={"csrf_token": self.token, **(data or {})}, **options)

    def sign_in(self, email: str, password: str = PASSWORD):
        self.get("/sign-in")
        return self.post("/sign-in", {"email": email, "password": password, "submit": "1"})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_PUBLIC_URL": "http://localhost"}))


@pytest.fixture
def app(settings: Settings, database: Database) -> Flask:
    application = create_app(settings, open_context(settings, database, Vault(settings.secret_key)))
    application.testing = True
    return application


@pytest.fixture
def browser(app: Flask) -> Callable[[], Browser]:
    return lambda: Browser(app.test_client())


@dataclass(frozen=True)
class People:
    """A project with one member of each role, another project with an owner of its own, and an operator in neither."""

    project: int
    other: int


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
