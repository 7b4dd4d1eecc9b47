"""The operator adds users on the server, and lets back in whoever has lost a password or a phone. No mail is needed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner
from flask import Flask
from flask_security import core
from sqlalchemy import select

from pbxhub.account import passwords
from pbxhub.cli import main
from pbxhub.delivery.context import open_context
from pbxhub.opening import OpenHub
from pbxhub.services import app as pages_of
from pbxhub.settings import read_settings, with_key
from pbxhub.store.accounts import AuditEntry, Membership, Pbx, Project, User
from pbxhub.store.hub_keys import open_vault
from pbxhub.store.new_projects import add_project
from pbxhub.store.session import Database, open_database
from pbxhub.store.sign_in_rows import SignIn
from tests.support.authenticator import switch_on
from tests.support.people import Browser

LONG, NEWER = "a long password", "another long password"


class Server:
    """A hub's server with its own database, and the person at its terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/hub.sqlite3"
        assert self.tell("migrate")[0] == 0
        self.database = open_database(self.url)

    def tell(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        variables = {"PBXHUB_DATABASE_URL": self.url, "PBXHUB_DATA_DIR": str(self.folder)}
        done = CliRunner().invoke(main, arguments, input=typed, env=variables)
        return done.exit_code, done.output

    def pages(self) -> Flask:
        settings = with_key(read_settings({"PBXHUB_DATA_DIR": str(self.folder), "PBXHUB_DATABASE_URL": self.url,
                                           "PBXHUB_PUBLIC_URL": "http://localhost"}))  # fmt: skip
        return pages_of(
            OpenHub(settings, open_context(settings, self.database, open_vault(self.database, settings.secret_key)))
        )

    def project(self, name: str) -> int:
        with self.database.write() as session:
            row = Project(name=name, created_on=datetime.now(UTC))
            add_project(session, row)
            return row.id

    def actions(self) -> list[str]:
        with self.database.read() as session:
            log = session.scalars(select(AuditEntry).where(AuditEntry.project_id.is_(None)).order_by(AuditEntry.id))
            return [f"{entry.who}: {entry.action}" for entry in log]


@pytest.fixture
def server(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Server(tmp_path)
    yield made
    made.database.close()


def add_pbx(server: Server, *arguments: str) -> tuple[int, str]:
    return server.tell("pbx", "add", "--host", "10.0.0.5", "--username", "hub", "--secret", "s3cret", *arguments)


def project_of_the_pbx(database: Database) -> str:
    with database.read() as session:
        return session.scalars(select(Pbx)).one().project.name


def test_the_first_user_is_an_operator_and_signs_in_with_the_password_from_the_input(server: Server) -> None:
    code, said = server.tell("user", "add", "anna@example.com", typed=LONG)
    assert (code, "Add --operator." in said) == (1, True)
    server.project("Acme")
    code, said = server.tell(
        "user", "add", "Anna@Example.com", "--operator", "--project", "Acme", "--role", "owner", typed=LONG
    )
    assert (code, "anna@example.com signs in at http://127.0.0.1:8080" in said) == (0, True), said
    assert Browser(server.pages().test_client()).sign_in("anna@example.com", LONG).status_code == 302
    with server.database.read() as session:
        assert session.scalars(select(Membership.role)).all() == ["owner"]
    assert server.actions() == ["command line: user added", "command line: operator added"]


def test_the_pages_read_a_password_of_the_command_line_and_do_not_store_it_anew(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would where it was not stored as they do it: by another kind of hash, or with other costs."""
    monkeypatch.setitem(core._default_config, "PASSWORD_HASH_PASSLIB_OPTIONS", {})
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher())

    def stored() -> str:
        with server.database.read() as session:
            return session.scalars(select(User.password)).one() or ""

    server.tell("user", "add", "anna@example.com", "--operator", typed="пароль зі словом й\u0306")
    before = stored()
    assert before.startswith("$argon2id$")
    anna = Browser(server.pages().test_client())
    assert anna.sign_in("anna@example.com", "пароль зі словом й\u0306").status_code == 302
    assert stored() == before


def test_a_hub_without_users_says_how_to_get_the_first(server: Server) -> None:
    code, said = server.tell("user", "list")
    assert (code, said) == (0, "No users yet. pbxhub setup-link prints a link to create the first account.\n")
    code, said = server.tell("setup-link")
    assert (code, "/setup?token=" in said) == (0, True), said


def test_a_user_that_cannot_be_added_is_refused_before_the_password_is_asked_for(server: Server) -> None:
    server.tell("user", "add", "anna@example.com", "--operator", typed=LONG)
    for arguments, sentence in (
        (["nobody"], "Give an e-mail address"),
        (["anna@example.com"], "has an account already. To set its password: pbxhub user password EMAIL"),
        (["boris@example.com", "--project", "Acme"], "There is no such project."),
    ):
        code, said = server.tell("user", "add", *arguments)
        assert (code, sentence in said) == (1, True), said
    code, said = server.tell("user", "add", "boris@example.com", typed="short")
    assert (code, "at least 10 characters" in said) == (1, True)


def test_a_password_set_on_the_server_ends_every_session_and_the_old_password(server: Server) -> None:
    server.tell("user", "add", "anna@example.com", "--operator", typed=LONG)
    pages = server.pages()
    anna = Browser(pages.test_client())
    anna.sign_in("anna@example.com", LONG)
    assert anna.get("/profile").status_code == 200
    code, said = server.tell("user", "password", "ANNA@example.com", typed=NEWER)
    assert (code, "every browser that was signed in is signed out" in said) == (0, True), said
    assert anna.get("/profile").status_code == 302
    with server.database.read() as session:
        assert session.scalars(select(SignIn)).all() == []
    assert Browser(pages.test_client()).sign_in("anna@example.com", LONG).status_code == 200
    assert Browser(pages.test_client()).sign_in("anna@example.com", NEWER).status_code == 302
    assert server.actions()[-1] == "command line: password set"


def test_a_link_to_reset_the_password_dies_when_the_password_is_set_on_the_server(server: Server) -> None:
    server.tell("user", "add", "anna@example.com", "--operator", typed=LONG)
    link = server.tell("user", "link", "anna@example.com")[1].splitlines()[0]
    path = link.removeprefix("http://127.0.0.1:8080")
    pages = server.pages()
    assert Browser(pages.test_client()).get(path).status_code == 200
    server.tell("user", "password", "anna@example.com", typed=NEWER)
    assert Browser(pages.test_client()).get(path).status_code == 302


def test_a_lost_phone_is_taken_off_the_account(server: Server) -> None:
    server.tell("user", "add", "anna@example.com", "--operator", typed=LONG)
    pages = server.pages()
    anna = Browser(pages.test_client())
    anna.sign_in("anna@example.com", LONG)
    switch_on(anna)
    assert (
        "pbxhub user second-factor anna@example.com"
        in server.tell("user", "password", "anna@example.com", typed=NEWER)[1]
    )
    code, said = server.tell("user", "second-factor", "anna@example.com")
    assert (code, "with the password alone" in said) == (0, True), said
    back = Browser(pages.test_client())
    back.sign_in("anna@example.com", NEWER)
    assert back.get("/profile").status_code == 200
    assert server.actions()[-1] == "command line: second factor removed"
    assert "has no second factor" in server.tell("user", "second-factor", "anna@example.com")[1]


def test_a_user_who_is_not_there_is_named(server: Server) -> None:
    for command in ("password", "second-factor", "operator"):
        code, said = server.tell("user", command, "nobody@example.com", typed=LONG)
        assert (code, "There is no user nobody@example.com. `pbxhub user list` shows all" in said) == (1, True)


def test_a_pbx_goes_to_the_only_project(server: Server) -> None:
    server.project("Acme")
    assert "Added to the project Acme." in add_pbx(server)[1]
    assert project_of_the_pbx(server.database) == "Acme"


def test_with_several_projects_the_pbx_needs_one_to_be_named(server: Server) -> None:
    first, second = server.project("Acme"), server.project("Acme")
    server.tell("user", "add", "anna@example.com", "--operator", typed=LONG)
    for arguments in ([], ["--project", "Acme"], ["--project", "Other"]):
        code, said = add_pbx(server, *arguments)
        assert (code, f"{first} (Acme), {second} (Acme)" in said) == (1, True), said
    assert add_pbx(server, "--project", str(second))[0] == 0


def test_no_project_is_made_that_nobody_could_enter(server: Server) -> None:
    server.tell("user", "add", "anna@example.com", "--operator", typed=LONG)
    code, said = add_pbx(server)
    assert (code, "Sign in and create one, then run this command again." in said) == (1, True), said
    with server.database.read() as session:
        assert session.scalars(select(User)).one().operator
        assert session.scalars(select(Project)).all() == []
