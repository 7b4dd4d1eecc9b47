"""An operator brings a database up and down."""

import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from click.testing import CliRunner
from sqlalchemy import MetaData, Table, inspect, select, text

from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
from pbxhub.cli import main
from pbxhub.paths import MIGRATIONS
from pbxhub.steering.number_rules import wrong_rules
from pbxhub.store.accounts import COMMON_FOLDER, AuditEntry, Pbx, Project, User
from pbxhub.store.all_tables import metadata
from pbxhub.store.history import Call, LiveCall
from pbxhub.store.migrate import migrate
from pbxhub.store.ordered_calls import DialPlan
from pbxhub.store.schema_revision import is_current, next_revision
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, WebhookVersion


def test_a_migrated_database_is_what_the_code_says(database: Database) -> None:
    assert is_current(database)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_an_index_has_the_rows_that_the_code_says(database: Database) -> None:
    """Of which rows it is, PostgreSQL says in words of its own."""
    of_sqlite = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''"
    query = of_sqlite if database.is_sqlite else "SELECT indexname, indexdef FROM pg_indexes"
    with database.engine.connect() as connection:
        there = {name: sql.partition(" WHERE ")[2] for name, sql in connection.execute(text(query))}
    said = {index.name: index.info.get("where", "") for table in metadata.tables.values() for index in table.indexes}
    assert [name for name, condition in said.items() if bool(condition) != bool(there[name])] == []
    if database.is_sqlite:
        assert {name: there[name] for name in said} == said


def test_down_leaves_nothing_and_up_again_is_current(database: Database) -> None:
    migrate(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrate(database)
    assert is_current(database)


@pytest.mark.slow
def test_each_migration_goes_down_and_up_again_with_a_row_in_every_table(database: Database) -> None:
    """What exists in both is kept; what only the newer tables can hold is gone."""
    for table in metadata.sorted_tables:
        if not count(database, table.name):
            columns = Table(table.name, MetaData(), autoload_with=database.engine).c
            row = {column.name: _something(column) for column in columns if column.foreign_keys}
            old_rows(database, table.name, row | ({"password": "hash"} if "password" in columns else {}))
    revisions = sorted(file.name[:4] for file in MIGRATIONS.glob("versions/[0-9]*.py"))
    for older, newer in reversed(list(pairwise(revisions))):
        before = counts(database)
        migrate(database, older)
        assert {name: number for name, number in counts(database).items() if number < before.get(name, 0)} == {}, newer
        migrate(database, newer)
        migrate(database, older)
        assert {name: number for name, number in counts(database).items() if number < before.get(name, 0)} == {}, newer
    kept = counts(database)
    assert [name for name, number in kept.items() if not number] == []
    migrate(database)
    assert is_current(database)
    assert {name: number for name, number in counts(database).items() if number < kept.get(name, 0)} == {}


def counts(database: Database) -> dict[str, int]:
    names = set(inspect(database.engine).get_table_names()) - {"alembic_version"}
    return {name: count(database, name) for name in names}


def count(database: Database, table: str) -> int:
    with database.read() as session:
        return session.scalar(text(f'SELECT count(*) FROM "{table}"')) or 0


def test_the_command_goes_back_only_when_told_what_is_lost_and_knows_its_revisions(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    def migrating(*arguments: str) -> tuple[int, str]:
        variables = {"PBXHUB_DATABASE_URL": database_url, "PBXHUB_DATA_DIR": str(tmp_path)}
        done = CliRunner().invoke(main, ["migrate", "--beside-others", *arguments], env=variables)
        return done.exit_code, done.output

    assert migrating("0037")[0] == 1
    assert "it would be deleted" in migrating("0037")[1]
    assert is_current(database)
    assert migrating("0037", "--yes-lose-newer-data") == (0, "The database is at 0037.\n")
    assert migrating("0039") == (0, "The database is at 0039.\n")  # up
    assert "There is no revision 9999." in migrating("9999")[1]
    assert migrating() == (0, "The database is up to date.\n")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", ["migrate", "run", "work", "check", "user list", "backup b.tar --without-key"])
def test_tables_of_a_newer_version_are_named_as_such(
    database: Database, database_url: str, tmp_path: Path, command: str
) -> None:
    """Of a host that was forgotten at an upgrade, or of somebody who installed the old version again."""
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    variables = {"PBXHUB_DATABASE_URL": database_url, "PBXHUB_DATA_DIR": str(tmp_path)}
    done = CliRunner().invoke(main, command.split(), env=variables)
    assert done.exit_code == 1
    assert "The database's tables were made by a newer version than this one" in done.output
    assert "restore the backup that was made before the upgrade" in done.output


def test_accounts_whose_addresses_become_one_all_go_on_to_sign_in(database: Database) -> None:
    """The one spelt right keeps the address, or the oldest with a password; the other gets one of its own. All keep
    their projects, and the audit log says who was renamed. Who never chose a password is invited as before."""
    migrate(database, "0003")
    users = {
        1: ("ANNA@example.com", ""),
        2: ("\uff41nna@example.com", "hash"),
        3: ("bob@b\u00fccher.de", "hash"),
        4: ("bob@xn--bcher-kva.de", "hash"),
        5: ("carol@example.com", "hash"),
        6: ("no address", "hash"),
    }
    with database.engine.begin() as connection:
        connection.execute(text(_PROJECT), {"now": _now(database)})
        for user_id, (email, password) in users.items():
            row = {"id": user_id, "email": email, "password": password, "now": _now(database)}
            connection.execute(text(_USER), row)
            connection.execute(text(_MEMBER), row)
    migrate(database)
    with database.engine.connect() as connection:
        found = {row.id: row.email for row in connection.execute(text("SELECT id, email FROM user_account"))}
        members = connection.scalar(text("SELECT count(*) FROM membership"))
        invited = connection.execute(text("SELECT project_id, email, role, mailed, token_hash FROM invitation")).all()
        subjects = connection.execute(text("SELECT subject FROM audit_entry ORDER BY subject")).scalars().all()
    assert found == {2: "anna@example.com", 3: "bob+3@xn--bcher-kva.de", 4: "bob@xn--bcher-kva.de",
                     5: "carol@example.com", 6: "no address"}  # fmt: skip
    assert members == 5
    assert [tuple(each) for each in invited] == [(1, "anna+1@example.com", "owner", False, None)]
    assert subjects == ["anna+1@example.com", "anna@example.com", "bob+3@xn--bcher-kva.de"]


_PROJECT = (
    "INSERT INTO project (id, name, time_zone, country, webhooks_revision, created_on) VALUES (1, 'p', '', '', 1, :now)"
)
_USER = """INSERT INTO user_account
           (id, email, name, password, active, fs_uniquifier, recovery_codes, language, created_on)
           VALUES (:id, :email, '', :password, true, 'u' || :id, '[]', '', :now)"""
_MEMBER = "INSERT INTO membership (id, project_id, user_id, role, created_on) VALUES (:id, 1, :id, 'owner', :now)"


def _now(database: Database) -> object:
    return 0 if database.is_sqlite else datetime.now(UTC)


NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Before:
    """A database at an older revision, its rows written through the tables as they were then."""

    def __init__(self, database: Database, revision: str) -> None:
        migrate(database, revision)
        self._database = database
        self._tables = MetaData()
        self._tables.reflect(database.engine)

    def add(self, table: str, **values: object) -> None:
        moment = int(NOON.timestamp() * 1e6) if self._database.is_sqlite else NOON
        there = self._tables.tables[table]
        usual = {name: moment for name in ("created_on",) if name in there.c}
        with self._database.engine.begin() as connection:
            connection.execute(there.insert().values(**usual | values))


def user(number: int, password: str = "hash") -> dict[str, object]:
    return {
        "id": number, "email": f"u{number}@example.com", "name": "", "password": password, "active": True,
        "fs_uniquifier": str(number), "recovery_codes": [], "language": "",
    }  # fmt: skip


def project(number: int) -> dict[str, object]:
    return {"id": number, "name": f"p{number}", "time_zone": "UTC", "country": "", "webhooks_revision": 1}


def test_the_oldest_user_who_can_sign_in_becomes_the_operator_and_the_audit_log_stays(database: Database) -> None:
    before = Before(database, "0001")
    before.add("project", **project(1))
    for number, password in ((3, ""), (5, "hash"), (7, "hash")):
        before.add("user_account", **user(number, password))
    before.add("audit_entry", id=1, project_id=1, user_id=5, who="u5", action="PBX added", subject="s", changes={},
               address="")  # fmt: skip
    migrate(database)
    with database.read() as session:
        assert session.scalars(select(User.id).where(User.operator)).all() == [5]
        assert [(entry.project_id, entry.user_id) for entry in session.scalars(select(AuditEntry))] == [(1, 5)]


def test_a_hub_without_users_has_no_operator_after_the_migration(database: Database) -> None:
    Before(database, "0001")
    migrate(database)
    with database.read() as session:
        assert session.scalars(select(User)).all() == []


def old_rows(database: Database, table: str, *rows: dict[str, Any]) -> None:
    """Rows of a table as it is in the database now, with something in every column that must have a value."""
    with database.write() as session:
        there = Table(table, MetaData(), autoload_with=session.connection())
        for row in rows:
            empty = {column.name: _something(column) for column in there.c if not column.nullable}
            session.execute(there.insert().values(empty | row))


def _something(column: Any) -> Any:
    if "JSON" in str(column.type):
        return {}
    if "UUID" in str(column.type):
        return UUID(int=0)
    if "TIME" in str(column.type):
        return NOON
    return column.type.python_type()


def test_calls_that_live_during_an_upgrade_keep_their_notes(database: Database) -> None:
    migrate(database, "0005")
    old_rows(database, "project", {"id": 1})
    old_rows(database, "pbx", {"id": 1, "project_id": 1})
    new, ended = (uuid4, datetime.now(UTC)) if not database.is_sqlite else (lambda: uuid4().hex, 5)
    call = {"project_id": 1, "pbx_id": 1, "ended_on": None}
    live, over, homeless = ({**call, "id": new(), "linkedid": f"1.{n}", "memory": {"n": n}} for n in (1, 2, 3))
    old_rows(database, "call", live, over | {"ended_on": ended, "memory": {}}, homeless | {"pbx_id": None})
    migrate(database)
    with database.read() as session:
        assert session.execute(select(LiveCall.pbx_id, LiveCall.linkedid, LiveCall.memory)).all() == [
            (1, "1.1", {"n": 1})
        ]
    migrate(database, "0005")
    with database.read() as session:
        there = Table("call", MetaData(), autoload_with=session.connection())
        memories = dict(iter(session.execute(select(there.c.linkedid, there.c.memory))))
    assert memories == {"1.1": {"n": 1}, "1.2": {}, "1.3": {}}
    migrate(database)
    assert is_current(database)


def pbx(number: int, project_id: int) -> dict[str, object]:
    return {
        "id": number, "project_id": project_id, "name": f"pbx{number}", "host": "10.0.0.5", "port": 5038,
        "username": "u", "secret_sealed": "", "tls": False, "tls_ca": "", "plain_login": False,
        "incoming_contexts": [], "cel_path": "/var/cel.db", "cel_cursor": 0, "enabled": True, "state": "new",
        "state_code": "", "state_detail": "", "events_last_minute": 0, "hub_address": "", "asterisk_version": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("projects_of_pbxs", "folder"), [((1, 1), COMMON_FOLDER), ((1, 2), "")], ids=["one project", "two projects"]
)
def test_pbxs_stay_where_they_are_and_keep_the_common_folder_when_it_is_one_projects_own(
    database: Database, projects_of_pbxs: tuple[int, int], folder: str
) -> None:
    before = Before(database, "0001")
    before.add("project", **project(1))
    before.add("project", **project(2))
    for number, project_id in enumerate(projects_of_pbxs, start=1):
        before.add("pbx", **pbx(number, project_id))
    migrate(database)
    with database.read() as session:
        rows = session.scalars(select(Pbx)).all()
        assert [(row.any_network, row.cel_path, row.recordings) for row in rows] == [(True, "/var/cel.db", folder)] * 2
        grants = [(row.pbx_networks, row.webhook_networks) for row in session.scalars(select(Project))]
        assert grants == [([], None)] * 2


OLD_PLAN = ["*", "+*", "+38044*", "0*", "112", "+19005551234", "9" * 40]
NEW_PLAN = ["_X.", "_+X.", "_+X.", "_+38044!", "_0!", "112", "+19005551234"]
OLD_RULES = ["_1XX", "101", "*8", "38044*", "_.", "_[1-3-5]X", "_[-]", "_+", "_" + "X" * 33, "_[2-5]ZN.", "#31"]
NEW_RULES = ["_1XX", "101", "_*8", "_38044*", "_X!", "_*!", "_#!", "_[1235]X", "_[2-5]ZN.", "#31"]


def test_stored_number_rules_become_asterisks_and_match_what_they_matched(database: Database) -> None:
    before = Before(database, "0017")
    before.add("project", **project(1))
    before.add("pbx", **pbx(1, 1), any_network=True, recordings="")
    plan = {"channel": "PJSIP/{extension}", "context": "c", "at_once": 1, "per_minute": 1, "ring_seconds": 5}
    before.add("dial_plan", pbx_id=1, allowed=OLD_PLAN, **plan)
    request = {"request": {"url": "https://example.com/"}}
    for number, numbers in ((1, OLD_RULES), (2, ["_1XX"]), (3, None)):
        steering = {"steering": {"reads": "actions", "numbers": numbers}} if numbers else {}
        before.add("webhook", id=number, project_id=1, name="w", stage="call.question", enabled=True, locked=False,
                   kind="event", position=0, revision=1, spec=request | steering, secret_sealed="", tls_key_sealed="",
                   signing_sealed="", paused_reason="", failures=0)  # fmt: skip
        before.add("webhook_version", webhook_id=number, revision=1, name="w", stage="call.question", enabled=True,
                   spec=request | steering)  # fmt: skip
    migrate(database)
    with database.read() as session:
        assert session.scalars(select(DialPlan)).one().allowed == NEW_PLAN
        for kind, order in ((Webhook, Webhook.id), (WebhookVersion, WebhookVersion.webhook_id)):
            specs = session.scalars(select(kind.spec).order_by(order)).all()
            assert [spec.steering and spec.steering.numbers for spec in specs] == [tuple(NEW_RULES), ("_1XX",), None]
            assert wrong_rules(specs[0].steering.numbers) == []
        assert wrong_rules(NEW_PLAN) == []
        assert session.scalars(select(Project.webhooks_revision)).one() > 1
    migrate(database, "0017")
    with database.read() as session:
        there = Table("dial_plan", MetaData(), autoload_with=session.connection())
        was = session.scalars(select(there.c.allowed)).one()
    assert was == ["*", "+*", "+*", "+38044*", "0*", "112", "+19005551234"]


def test_a_pbx_with_the_contexts_it_was_set_up_with_gets_patterns_and_any_other_keeps_its_own(
    database: Database,
) -> None:
    before = Before(database, "0001")
    before.add("project", **project(1))
    names = ["from-trunk", "from-pstn", "from-did-direct", "from-external"]
    before.add("pbx", **pbx(1, 1) | {"incoming_contexts": names})
    before.add("pbx", **pbx(2, 1) | {"incoming_contexts": [*names, "ivr-in"]})
    migrate(database)
    with database.read() as session:
        rows = session.scalars(select(Pbx.incoming_contexts).order_by(Pbx.id)).all()
        assert rows == [list(DEFAULT_INCOMING_CONTEXTS), [*names, "ivr-in"]]


def test_google_analytics_skips_calls_without_a_client_id_and_other_webhooks_stay(database: Database) -> None:
    before = Before(database, "0001")
    before.add("project", **project(1))
    for number, locked, kind in ((1, True, "event"), (2, False, "event"), (3, True, "callback")):
        before.add("webhook", id=number, project_id=1, name="w", stage="incoming.after", enabled=True,
                   locked=locked, kind=kind, position=0, revision=1, spec={"request": {"url": "https://a.example/"}},
                   secret_sealed="", tls_key_sealed="", signing_sealed="", paused_reason="", failures=0)  # fmt: skip
    migrate(database)
    with database.read() as session:
        specs = session.scalars(select(Webhook.spec).order_by(Webhook.id)).all()
        assert [spec.incomplete for spec in specs] == ["skip", "fail", "fail"]
        assert session.scalars(select(Project.webhooks_revision)).one() > 1


def test_the_next_migration_gets_a_number_that_none_has() -> None:
    """Some numbers were never used."""
    numbers = [int(file.name[:4]) for file in (MIGRATIONS / "versions").glob("[0-9]*.py")]
    assert len(numbers) < max(numbers)
    assert int(next_revision()) == max(numbers) + 1


def test_a_migration_says_itself_what_columns_it_makes() -> None:
    """It runs years later, when the code has gone on: types and tables of the code would make it another migration."""
    for file in sorted(MIGRATIONS.glob("versions/*.py")):
        written = file.read_text()
        assert re.findall(r"^\s*(?:from|import) pbxhub\S*", written, re.MULTILINE) == [], file.name
        assert "auto generated" not in written, file.name


def test_webhooks_that_were_deleted_lose_their_secrets_and_others_keep_them(database: Database) -> None:
    before = Before(database, "0030")
    before.add("project", **project(1))
    for number, deleted in ((1, None), (2, _now(database))):
        before.add("webhook", id=number, project_id=1, name="w", stage="incoming.after", enabled=True,
                   locked=False, kind="event", position=0, revision=1, deleted_on=deleted,
                   spec={"request": {"url": "https://a.example/"}},
                   secret_sealed="a", tls_key_sealed="b", signing_sealed="c", paused_reason="", failures=0)  # fmt: skip
    migrate(database)
    with database.read() as session:
        rows = session.scalars(select(Webhook).order_by(Webhook.id)).all()
        assert [row.secrets_sealed for row in rows] == [("a", "b", "c"), ("", "", "")]


def test_the_log_calls_what_was_done_with_a_resthook_by_its_name_of_today(database: Database) -> None:
    before = Before(database, "0035")
    entry = {"who": "a@example.com", "subject": "new-lead", "changes": {}, "address": ""}
    for action in ("resthook added", "webhook added"):
        before.add("audit_entry", action=action, **entry)
    migrate(database)
    with database.read() as session:
        written = select(AuditEntry.action).order_by(AuditEntry.id)
        assert session.scalars(written).all() == ["REST hook added", "webhook added"]
    migrate(database, "0035")
    with database.read() as session:
        assert session.scalars(written).all() == ["resthook added", "webhook added"]


def test_calls_get_their_seconds_and_whether_they_were_recorded(database: Database) -> None:
    migrate(database, "0040")
    old_rows(database, "project", {"id": 1})
    new, ended = (uuid4, datetime.now(UTC)) if not database.is_sqlite else (lambda: uuid4().hex, 5)
    values: list[tuple[dict[str, Any], tuple[int, int | None, bool]]] = [
        ({"billsec": 49, "waittime": 8, "recording_file": "/a.wav"}, (49, 8, True)),
        ({"billsec": "49", "waittime": 1.5, "recording_file": ""}, (0, None, False)),
        ({"billsec": 10**12, "waittime": -3, "recording_file": None}, (2**31 - 1, 0, False)),
        ({}, (0, None, False)),
    ]
    for number, (data, _) in enumerate(values):
        row = {"id": new(), "project_id": 1, "linkedid": str(number), "ended_on": ended, "data": data}
        old_rows(database, "call", row)
    old_rows(database, "call", {"id": new(), "project_id": 1, "linkedid": "live", "data": {"waittime": 2}})
    migrate(database)
    with database.read() as session:
        rows = session.execute(select(Call.talk, Call.wait, Call.recorded).order_by(Call.linkedid)).all()
    assert rows == [*(expected for _, expected in values), (None, None, False)]
    migrate(database, "0040")
    migrate(database)
    assert is_current(database)
