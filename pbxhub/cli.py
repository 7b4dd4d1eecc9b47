"""The command `pbxhub`. Nothing else wires the parts of the hub together."""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TextIO

import click
import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub import __version__
from pbxhub.account.access import CommandLine
from pbxhub.account.audit_log import Action, write_entry
from pbxhub.account.email_addresses import normalised
from pbxhub.account.first_owner import first_setup
from pbxhub.account.operators import change_operator
from pbxhub.account.pbx_files import PbxFiles, name_files
from pbxhub.account.pbxs import PbxInput, shown
from pbxhub.account.pbxs import add_pbx as add_pbx_to
from pbxhub.account.refusals import Refusal
from pbxhub.calls.replay import replay as replay_lines
from pbxhub.calls.tracker import Tracker
from pbxhub.checkup import check_hub
from pbxhub.delivery.doorbell import wake_trouble
from pbxhub.delivery.outbox import prune as prune_history
from pbxhub.logs import configure_logs
from pbxhub.services import (
    Parts,
    answering,
    app,
    bound,
    collect_seldom,
    listening,
    measuring,
    pages,
    retention,
    working,
)
from pbxhub.settings import Settings, SettingsError, read_settings, with_key
from pbxhub.store.accounts import DEFAULT_INCOMING_CONTEXTS, Project, User
from pbxhub.store.key_check import WrongKeyError, check_key, remember_key
from pbxhub.store.schema import draft_migration, is_current
from pbxhub.store.schema import migrate as migrate_schema
from pbxhub.store.session import Database, open_database
from pbxhub.store.vault import Vault
from pbxhub.store.webhooks import add_project
from pbxhub.testing.commands import monitor, scenario
from pbxhub.testing.demo.project import retire_demo
from pbxhub.testing.demo.receiver import describe
from pbxhub.testing.demo.show import showing
from pbxhub.web.account_links import link_for
from pbxhub.worker_processes import Stop, keep_running

_STOP = 9.5  # seconds; service managers often give ten before they kill
_WEB_PROCESSES = 2  # of `web`: each answers as many requests at a time as `run` does
log = structlog.get_logger(__name__)
Service = Callable[[Parts], AbstractContextManager[None]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """pbxhub: the stages of a call on your Asterisk become the HTTP requests you set up.

    Settings are PBXHUB_* variables; docs/settings.md lists them.
    """


main.add_command(scenario)
main.add_command(monitor)


@main.command()
@click.option("--demo", is_flag=True, help="With a built-in PBX that plays recorded calls, and a receiver.")
def run(demo: bool) -> None:
    """Everything in one process: pages, listener, worker and FastAGI. Brings the database up to date first."""
    parts = _parts(migrating=True)
    with ExitStack() as stack:
        if demo:
            parts = _with_demo(parts, stack)
        else:
            with parts.database.write() as session:
                retire_demo(session)
        _run_until_stopped(parts, [pages, working, _answering_if_free, listening])


@main.command()
def listen() -> None:
    """Only the listener. Two of them on one PBX write each stage once."""
    _run_until_stopped(_parts(), [listening])


@main.command()
def work() -> None:
    """Only the worker. Any number of them share what is due."""
    _run_until_stopped(_parts(), [working])


@main.command()
def agi() -> None:
    """Only FastAGI: waiting calls ask webhooks what to do."""
    _run_until_stopped(_parts(), [_answering])


@main.command()
def web() -> None:
    """Only the pages, in two processes."""
    parts = _parts()
    settings = parts.settings
    with _port_named(settings):
        listening_on = bound(settings.bind, settings.port)
    _show_addresses(parts)
    parts.database.close()  # nothing but the socket is open when the processes are forked
    collect_seldom()
    keep_running(partial(_serve_pages, settings, listening_on), _WEB_PROCESSES)


def _serve_pages(settings: Settings, listening_on: socket.socket, stop: Stop) -> None:
    parts = Parts(settings, _database(settings), Vault(settings.secret_key))
    with pages(parts, listening_on):
        stop.wait()
        _end_in_time()
    parts.database.close()


@main.command()
@click.argument("revision", default="head")
@click.option("--draft", metavar="MESSAGE", help="For developers: draft the migration to the tables in the code.")
@click.option("--yes-drop-everything", "drop", is_flag=True, help="Needed for base: it deletes all tables.")
def migrate(revision: str, draft: str | None, drop: bool) -> None:
    """Brings the database to REVISION, the newest by default; "base" takes everything down."""
    settings = _settings()
    database = _database(settings)
    if draft:
        draft_migration(database, draft)
        return
    if revision == "base" and not drop:
        raise click.ClickException(
            "This deletes every table with everything in it: calls, webhooks, users, the history. Make a backup first; "
            "then: pbxhub migrate base --yes-drop-everything"
        )
    with _database_named():
        if revision == "base":
            migrate_schema(database, revision)
        else:
            _refuse_wrong_key(settings, database)
            migrate_schema(database, revision)
        current = is_current(database)
        if current:
            _with_key(settings, database)
    click.echo("The database is up to date." if current else f"The database is at {revision}.")


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--context", "contexts", multiple=True, help="An incoming context; repeat it. Default: the usual names.")
def replay(file: Path, contexts: tuple[str, ...]) -> None:
    """Prints one JSON object per stage of the AMI stream recorded in FILE. Touches no database."""
    tracker = Tracker(contexts or DEFAULT_INCOMING_CONTEXTS)
    with file.open(encoding="utf-8", errors="replace") as lines:
        for stage in replay_lines(lines, tracker):
            click.echo(json.dumps(stage, ensure_ascii=False))


@main.command()
def check() -> None:
    """Looks at settings, database, PBX logins, event filters and clocks, and says what to do."""
    settings = _settings()
    well = True
    for subject, finding in check_hub(settings):
        well &= finding.well
        click.echo(f"{'ok  ' if finding.well else 'FAIL'} {subject}: {finding.sentence}")
    sys.exit(0 if well else 1)


@main.command()
def prune() -> None:
    """Deletes history older than the settings keep, a little at a time; the worker does it by itself every hour."""
    parts = _parts()
    pruned = prune_history(parts.database, datetime.now(UTC), retention(parts.settings))
    click.echo(f"Deleted {pruned.deliveries} deliveries, {pruned.calls} calls and {pruned.others} other rows.")


@main.group()
def pbx() -> None:
    """The PBXs the hub listens to."""


@pbx.command("add")
@click.option("--project", "project_name", default="My project", show_default=True, help="Made when it is not there.")
@click.option("--name", default="Asterisk", show_default=True)
@click.option("--host", required=True)
@click.option("--port", default=5038, show_default=True)
@click.option("--username", required=True, help="The AMI user, see asterisk-conf/.")
@click.option("--secret", prompt=True, hide_input=True, help="Its secret; asked for when not given.")
@click.option("--tls", is_flag=True)
@click.option("--tls-ca", type=click.File(), help="File of an own certificate authority (PEM).")
@click.option("--plain-login", is_flag=True, help="For a PBX that refuses the MD5 challenge.")
@click.option("--context", "contexts", multiple=True, help="An incoming context; repeat it. Default: the usual names.")
@click.option("--cel", default="", help="The SQLite file of cel_sqlite3_custom, when it is readable on this host.")
@click.option("--recordings", help="Folder of its recordings here. Default: PBXHUB_RECORDINGS, unless taken.")
def add_pbx(
    project_name: str, name: str, host: str, port: int, username: str, secret: str, tls: bool,
    tls_ca: TextIO | None, plain_login: bool, contexts: tuple[str, ...], cel: str, recordings: str | None,
) -> None:  # fmt: skip
    """Adds an Asterisk; a running listener takes it up by itself."""
    parts = _parts(migrating=True)
    now = datetime.now(UTC)
    authority = tls_ca.read() if tls_ca else ""
    given = PbxInput(name, host, port, username, secret, tls, authority, plain_login, contexts or None)
    with parts.database.write() as session:
        project = session.query(Project).filter_by(name=project_name).first()
        if project is None:
            project = Project(name=project_name, created_on=now)
            add_project(session, project)
        common = parts.settings.recordings
        row = add_pbx_to(session, project, given, parts.vault, common, now, operator=True)
        if isinstance(row, list):
            raise _refused(row)
        files = PbxFiles(cel, row.recordings if recordings is None else recordings)
        if refused := name_files(session, row, files, common):
            raise _refused(refused)
        write_entry(session, project.id, CommandLine(), "PBX added", row.name, {}, shown(row), "", now)
    click.echo(f"Added. `pbxhub check` tells whether {host}:{port} lets the hub in.")


@main.command("setup-link")
def setup_link() -> None:
    """Prints a new link to make the first account of this hub; earlier ones no longer work. Only for a database that
    has no users: also where an owner is remembered, because the database was lost."""
    parts = _parts(migrating=True)
    setup = first_setup(parts.settings, parts.database, datetime.now(UTC), anew=True)
    if not setup.link:
        raise click.ClickException(str(setup.sentence))
    click.echo(setup.link)


@main.group()
def user() -> None:
    """Those who sign in to the hub, and who of them runs it."""


@user.command("list")
def list_users() -> None:
    """One line per user: e-mail, whether an operator, name."""
    with _parts().database.read() as session:
        for row in session.query(User).order_by(User.email):
            click.echo(f"{row.email}\t{'operator' if row.operator else 'user'}\t{row.name}")


@user.command("operator")
@click.argument("email")
@click.option("--revoke", is_flag=True, help="Takes the right back; the last operator keeps it.")
def make_operator(email: str, revoke: bool) -> None:
    """Makes the user with this EMAIL an operator of the hub."""
    with _parts().database.write() as session:
        row = session.query(User).filter_by(email=normalised(email)).first()
        if row is None:
            raise click.ClickException(f"There is no user {email}. `pbxhub user list` shows all of them.")
        if refused := change_operator(session, row.id, not revoke, by=None):
            raise click.ClickException(refused.text)
        action: Action = "operator removed" if revoke else "operator added"
        write_entry(session, None, CommandLine(), action, row.email, {}, {}, "", datetime.now(UTC))
    click.echo(f"{row.email} is no operator any more." if revoke else f"{row.email} is an operator now.")


@user.command("link")
@click.argument("email")
def print_link(email: str) -> None:
    """Prints a link for EMAIL and nobody else: to set the password anew, or to accept an invitation. For a hub without
    a mail server, and for somebody whom its mails do not reach. Hand it over as you would a password."""
    parts = _parts()
    try:
        link = link_for(app(parts), parts.database, email)
    finally:
        parts.database.close()
    if isinstance(link, Refusal):
        raise click.ClickException(link.text)
    click.echo(link.address)
    click.echo(f"It works once and until {link.until:%Y-%m-%d %H:%M} UTC.", err=True)


def _refused(refusals: Sequence[Refusal]) -> click.ClickException:
    return click.ClickException("\n".join(f"{refusal.path}: {refusal.text}" for refusal in refusals))


def _settings() -> Settings:
    try:
        settings = read_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    configure_logs(settings.log_format, settings.log_level)
    return settings


def _database(settings: Settings) -> Database:
    return open_database(settings.database_url, direct_url=settings.database_direct_url)


def _parts(migrating: bool = False) -> Parts:
    settings = _settings()
    database = _database(settings)
    with _database_named():
        _refuse_wrong_key(settings, database)
        if migrating:
            migrate_schema(database)
        elif not is_current(database):
            raise click.ClickException("The database's tables are not up to date. Run: pbxhub migrate")
        settings = _with_key(settings, database)
    return Parts(settings, database, Vault(settings.secret_key))


@contextmanager
def _database_named() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise click.ClickException(f"PBXHUB_DATABASE_URL: the database cannot be opened: {_reason(error)}") from None


def _refuse_wrong_key(settings: Settings, database: Database) -> None:
    """Before anything is touched, the tables too: with another key, what is sealed fails or is sealed a second way."""
    try:
        check_key(database, settings.secret_key, str(settings.key_file))
    except WrongKeyError as error:
        raise click.ClickException(str(error)) from None


def _with_key(settings: Settings, database: Database) -> Settings:
    """A key is made for a database that has none, and remembered there."""
    try:
        settings = with_key(settings)
        remember_key(database, settings.secret_key, str(settings.key_file))
    except (SettingsError, WrongKeyError) as error:
        raise click.ClickException(str(error)) from None
    return settings


def _reason(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def _with_demo(parts: Parts, stack: ExitStack) -> Parts:
    port = parts.settings.port + 1
    if port > 65535:
        raise click.ClickException("PBXHUB_PORT: the demo's receiver needs the next port as well: give 65534 or less")
    show = showing(parts.database, parts.vault, port, lambda received: click.echo(f"  arrived: {describe(received)}"))
    try:
        released = stack.enter_context(show)
    except OSError as error:
        raise click.ClickException(
            f"PBXHUB_PORT: the demo's receiver needs port {port} as well: {error.strerror}"
        ) from None
    click.echo(f"What the demo's webhooks send arrives at http://127.0.0.1:{port}/")
    return replace(parts, released=released)


@contextmanager
def _answering(parts: Parts) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(answering(parts))
        except OSError as error:
            raise click.ClickException(f"PBXHUB_AGI: cannot listen there: {error.strerror}") from None
        yield


@contextmanager
def _answering_if_free(parts: Parts) -> Iterator[None]:
    """Another program at the usual port of FastAGI must not keep calls from being reported."""
    with ExitStack() as stack:
        try:
            stack.enter_context(answering(parts))
        except OSError as error:
            click.echo(f"PBXHUB_AGI: cannot listen there: {error.strerror}. Calls cannot ask webhooks.", err=True)
        yield


def _show_addresses(parts: Parts) -> None:
    click.echo(f"pbxhub {__version__} at {parts.settings.public_url}")
    setup = first_setup(parts.settings, parts.database, datetime.now(UTC))
    if setup.sentence:
        click.echo(setup.sentence, err=not setup.link)


def _run_until_stopped(parts: Parts, services: Sequence[Service]) -> None:
    """Starts the services in order; at SIGTERM or Ctrl-C ends them in the opposite order."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    if working in services and (trouble := wake_trouble(parts.database)):
        raise click.ClickException(trouble)
    with ExitStack() as stack:
        stack.callback(parts.database.close)
        with _port_named(parts.settings):
            for service in services:
                stack.enter_context(service(parts))
        try:
            stack.enter_context(measuring(parts))
        except OSError as error:
            raise click.ClickException(f"PBXHUB_METRICS: cannot listen there: {error.strerror}") from None
        if pages in services:
            _show_addresses(parts)
        collect_seldom()
        stop.wait()
        _end_in_time()


@contextmanager
def _port_named(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f"{settings.bind}:{settings.port}"
        raise click.ClickException(f"PBXHUB_PORT: cannot listen on {where}: {error.strerror}") from None


def _end_in_time() -> None:
    """What waits for a database that is away must not keep the process alive: its leases and files bring it back."""

    def end() -> None:
        log.error("the database did not answer in time; what was under way is taken up again at the next start")
        os._exit(1)

    timer = threading.Timer(_STOP, end)
    timer.daemon = True
    timer.start()
