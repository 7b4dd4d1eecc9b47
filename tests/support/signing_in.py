"""Browsers and programs inside the project of a served hub."""

from flask.testing import FlaskClient
from flask_security import hash_password

from pbxhub.store.accounts import Membership, User
from pbxhub.wsgi.current import now
from tests.support.people import PASSWORD, TOKEN
from tests.support.served import Served


def token_of(client: FlaskClient, path: str) -> str:
    """The token in the forms of a page."""
    found = TOKEN.search(client.get(path).text)
    assert found, path
    return found[1]


def member(hub: Served, role: str) -> FlaskClient:
    """The browser of somebody who has signed in."""
    with hub.app.app_context():
        hashed = hash_password(PASSWORD)
    with hub.database.write() as session:
        user = User(email=f"{role}@example.com", name=role, password=hashed, fs_uniquifier=role * 8, recovery_codes=[],
                    created_on=now())  # fmt: skip
        session.add(user)
        session.flush()
        session.add(Membership(project_id=hub.project_id, user_id=user.id, role=role, created_on=now()))
    client = hub.app.test_client()
    form = {"csrf_token": token_of(client, "/sign-in"), "email": f"{role}@example.com", "password": PASSWORD}
    assert client.post("/sign-in", data={**form, "submit": "1"}).status_code == 302
    return client


def program(hub: Served, *scopes: str) -> FlaskClient:
    """A program with a key that has these scopes."""
    client = hub.app.test_client()
    client.environ_base["HTTP_X_API_KEY"] = hub.key(*scopes)
    return client
