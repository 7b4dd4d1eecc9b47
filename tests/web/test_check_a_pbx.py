"""An owner presses the check button of a PBX."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from pbxhub import services
from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings
from pbxhub.store.accounts import Pbx, User
from pbxhub.store.session import Database
from pbxhub.testing.pbx.played_pbx import PlayedPbx
from pbxhub.vault import Vault
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People


@pytest.fixture
def app(settings: Settings, database: Database) -> Flask:
    """The application as the hub starts it: the check is the listener's own way in."""
    return services.app(services.OpenHub(settings, open_context(settings, database, Vault(settings.secret_key))))


def add(
    database: Database,
    settings: Settings,
    people: People,
    played: PlayedPbx,
    secret: str,
    cel: str = "",
    anywhere: bool = True,
) -> str:
    with database.write() as session:
        pbx = Pbx(
            project_id=people.project,
            name="Office",
            host="127.0.0.1",
            any_network=anywhere,
            port=played.port,
            username=played.username,
            secret_sealed=Vault(settings.secret_key).seal(secret),
            cel_path=cel,
            created_on=now(),
        )
        session.add(pbx)
        session.flush()
        return f"/projects/{people.project}/pbxs/{pbx.id}/check"


def test_a_pbx_that_lets_the_hub_in_says_so(
    database: Database, settings: Settings, people: People, signed_in: Callable[[str], Browser]
) -> None:
    with PlayedPbx() as played:
        page = signed_in("owner").post(add(database, settings, people, played, played.secret)).text
    assert "Logged in to Asterisk 22.10.1; 0 channels are live." in page
    assert "The event filter is set" in page
    assert "alert-danger" not in page


def test_a_wrong_password_is_named_with_what_to_do(
    database: Database, settings: Settings, people: People, signed_in: Callable[[str], Browser]
) -> None:
    with PlayedPbx() as played:
        page = signed_in("owner").post(add(database, settings, people, played, "wrong")).text
    assert "The PBX refused the login: Authentication failed." in page
    assert "module reload manager" in page


def test_only_an_operator_hears_whether_the_cel_file_can_be_read(
    database: Database, settings: Settings, people: People, signed_in: Callable[[str], Browser], tmp_path: Path
) -> None:
    """An owner who could name a path would otherwise ask for every file of the host."""
    with PlayedPbx() as played:
        path = add(database, settings, people, played, played.secret, str(tmp_path / "master.db"))
        owners = signed_in("owner").post(path).text
        with database.write() as session:
            session.execute(update(User).where(User.name == "Owner").values(operator=True))
        operators = signed_in("owner").post(path).text
    assert "CEL" not in owners
    assert "CEL cannot be read" in operators
    assert "master.db" in operators


def test_an_editor_may_not_check(
    database: Database, settings: Settings, people: People, signed_in: Callable[[str], Browser]
) -> None:
    with PlayedPbx() as played:
        path = add(database, settings, people, played, played.secret)
        assert signed_in("editor").post(path).status_code in (403, 404)
        assert played.actions == []
