"""The command `pbxhub`: the only place where the parts of the hub are put together."""

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

import click
import structlog

from pbxhub import __version__
from pbxhub.account.first_owner import first_setup
from pbxhub.admin_commands import pbx, setup_link, user
from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
from pbxhub.calls.replay import replay as replay_lines
from pbxhub.calls.stages import OPTIONAL_STAGES
from pbxhub.calls.tracker import Tracker
from pbxhub.checkup import check_hub
from pbxhub.delivery.context import open_context
from pbxhub.delivery.outbox import prune as prune_history
from pbxhub.delivery.wakeup import wake_trouble
from pbxhub.demo.project import retire_demo
from pbxhub.demo.receiver import describe
from pbxhub.demo.show import showing
from pbxhub.maintenance_commands import backup, move, restore
from pbxhub.opening import database_named, database_of, load_settings, open_hub, refuse_wrong_key, settings_with_key
from pbxhub.services import (
    OpenHub,
    answering,
    bound,
    collect_seldom,
    listening,
    measuring,
    pages,
    retention,
    working,
)
from pbxhub.settings import Settings
from pbxhub.store.migrate import draft_migration, is_current
from pbxhub.store.migrate import migrate as migrate_schema
from pbxhub.testing.commands import monitor, scenario
from pbxhub.vault import Vault
from pbxhub.worker_processes import Stop, keep_running

_STOP = 9.5  # seconds; service managers often kill a process after ten
_WEB_PROCESSES = 2  # of `web`; each handles as many requests at a time as `run` does
log = structlog.get_logger(__name__)
Service = Callable[[OpenHub], AbstractContextManager[None]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """pbxhub turns the stages of calls on your Asterisk into the HTTP requests that you set up.

    Settings are PBXHUB_* environment variables; docs/settings.md lists them.
    """


for command in (pbx, setup_link, user, backup, restore, move, scenario, monitor):
    main.add_command(command)


@main.command()
@click.option("--demo", is_flag=True, help="Adds a built-in PBX that plays recorded calls, and a receiver.")
def run(demo: bool) -> None:
    """Runs everything in one process: pages, listener, worker and FastAGI. Migrates the database first."""
    hub = open_hub(migrating=True)
    with ExitStack() as stack:
        if demo:
            hub = _with_demo(hub, stack)
        else:
            with hub.context.database.write() as session:
                retire_demo(session)
        _run_until_stopped(hub, [pages, working, _answering_if_free, listening])


@main.command()
def listen() -> None:
    """Runs the listener only. Several listeners may run; each stage is still published once."""
    _run_until_stopped(open_hub(), [listening])


@main.command()
def work() -> None:
    """Runs the worker only. Several workers share the due deliveries."""
    _run_until_stopped(open_hub(), [working])


@main.command()
def agi() -> None:
    """Runs FastAGI only: waiting calls ask webhooks what to do."""
    _run_until_stopped(open_hub(), [_answering])


@main.command()
def web() -> None:
    """Runs the pages and the API only, in two processes."""
    hub = open_hub()
    settings = hub.settings
    with _port_named(settings):
        listening_on = bound(settings.bind, settings.port)
    _show_addresses(hub)
    hub.context.database.close()  # only the socket may be open when the processes are forked
    collect_seldom()
    keep_running(partial(_serve_pages, settings, listening_on), _WEB_PROCESSES)


def _serve_pages(settings: Settings, listening_on: socket.socket, stop: Stop) -> None:
    hub = OpenHub(settings, open_context(settings, database_of(settings), Vault(settings.secret_key)))
    with pages(hub, listening_on):
        stop.wait()
        _end_in_time()
    hub.context.database.close()


@main.command()
@click.argument("revision", default="head")
@click.option("--draft", metavar="MESSAGE", help="For developers: drafts a migration to the tables in the code.")
@click.option("--yes-drop-everything", "drop", is_flag=True, help="Required for base, which deletes all tables.")
def migrate(revision: str, draft: str | None, drop: bool) -> None:
    """Migrates the database to REVISION (default: the newest). "base" deletes all tables."""
    settings = load_settings()
    database = database_of(settings)
    if draft:
        draft_migration(database, draft)
        return
    if revision == "base" and not drop:
        raise click.ClickException(
            "This deletes every table with everything in it: calls, webhooks, users, the history. Make a backup first; "
            "then: pbxhub migrate base --yes-drop-everything"
        )
    with database_named():
        if revision == "base":
            migrate_schema(database, revision)
        else:
            refuse_wrong_key(settings, database)
            migrate_schema(database, revision)
        current = is_current(database)
        if current:
            settings_with_key(settings, database)
    click.echo("The database is up to date." if current else f"The database is at {revision}.")


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--context", "contexts", multiple=True, help="An incoming context; repeat it. Default: the usual names.")
@click.option("--optional", is_flag=True, help="Also the stages that are reported only where a webhook waits for them.")
def replay(file: Path, contexts: tuple[str, ...], optional: bool) -> None:
    """Prints the stages of the AMI stream recorded in FILE, one JSON object each. Uses no database."""
    tracker = Tracker(contexts or DEFAULT_INCOMING_CONTEXTS, optional=OPTIONAL_STAGES if optional else ())
    with file.open(encoding="utf-8", errors="replace") as lines:
        for stage in replay_lines(lines, tracker):
            click.echo(json.dumps(stage, ensure_ascii=False))


@main.command()
def check() -> None:
    """Checks settings, database, PBX logins, event filters and clocks, and says what to do."""
    settings = load_settings()
    well = True
    for subject, finding in check_hub(settings):
        well &= finding.well
        click.echo(f"{'ok  ' if finding.well else 'FAIL'} {subject}: {finding.sentence}")
    sys.exit(0 if well else 1)


@main.command()
def prune() -> None:
    """Deletes history that is older than the settings allow, in small steps. The worker does this every hour anyway."""
    hub = open_hub()
    pruned = prune_history(hub.context.database, datetime.now(UTC), retention(hub.settings))
    click.echo(f"Deleted {pruned.deliveries} deliveries, {pruned.calls} calls and {pruned.others} other rows.")


def _with_demo(hub: OpenHub, stack: ExitStack) -> OpenHub:
    port = hub.settings.port + 1
    if port > 65535:
        raise click.ClickException("PBXHUB_PORT: the demo's receiver uses the next port as well; give 65534 or less")
    context = hub.context
    show = showing(
        context.database, context.vault, port, lambda received: click.echo(f"  arrived: {describe(received)}")
    )
    try:
        released = stack.enter_context(show)
    except OSError as error:
        raise click.ClickException(
            f"PBXHUB_PORT: the demo's receiver cannot listen on port {port}: {error.strerror}"
        ) from None
    click.echo(f"The demo's receiver shows what the webhooks send: http://127.0.0.1:{port}/")
    return replace(hub, released=released)


@contextmanager
def _answering(hub: OpenHub) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(answering(hub))
        except OSError as error:
            raise click.ClickException(f"PBXHUB_AGI: cannot listen there: {error.strerror}") from None
        yield


@contextmanager
def _answering_if_free(hub: OpenHub) -> Iterator[None]:
    """Runs FastAGI, or continues without it when another program uses the port: calls are still reported."""
    with ExitStack() as stack:
        try:
            stack.enter_context(answering(hub))
        except OSError as error:
            click.echo(f"PBXHUB_AGI: cannot listen there: {error.strerror}. Calls cannot ask webhooks.", err=True)
        yield


def _show_addresses(hub: OpenHub) -> None:
    click.echo(f"pbxhub {__version__} at {hub.settings.public_url}")
    setup = first_setup(hub.settings, hub.context.database, datetime.now(UTC))
    if setup.sentence:
        click.echo(setup.sentence, err=not setup.link)


def _run_until_stopped(hub: OpenHub, services: Sequence[Service]) -> None:
    """Starts the services in order. SIGTERM or Ctrl-C stops them in reverse order."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    if working in services and (trouble := wake_trouble(hub.context.database)):
        raise click.ClickException(trouble)
    with ExitStack() as stack:
        stack.callback(hub.context.database.close)
        with _port_named(hub.settings):
            for service in services:
                stack.enter_context(service(hub))
        try:
            stack.enter_context(measuring(hub))
        except OSError as error:
            raise click.ClickException(f"PBXHUB_METRICS: cannot listen there: {error.strerror}") from None
        if pages in services:
            _show_addresses(hub)
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
    """Ends the process even while threads wait for an unavailable database. Nothing is lost: leases expire, and files
    keep unwritten stages."""

    def end() -> None:
        log.error("database did not answer in time; the next start continues the unfinished work")
        os._exit(1)

    timer = threading.Timer(_STOP, end)
    timer.daemon = True
    timer.start()
