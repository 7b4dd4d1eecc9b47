"""Runs parts of the hub in this process, or pages in several, until the process is told to stop."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from errno import EADDRINUSE
from functools import partial

import click
import structlog

from pbxhub import __version__
from pbxhub.delivery.context import open_context
from pbxhub.delivery.wakeup import wake_trouble
from pbxhub.forked_processes import Stop, keep_running
from pbxhub.hub_database import database_of
from pbxhub.opening import OpenHub, open_hub
from pbxhub.services import (
    answering,
    bound,
    collect_seldom,
    listening,
    measuring,
    pages,
    sending_new,
    working,
)
from pbxhub.settings import Settings
from pbxhub.store.clock import following, utc_now
from pbxhub.store.only_listener import OtherListenerError, only_listener
from pbxhub.vault import Vault

_STOP = 9.5  # seconds; service managers often kill a process after ten
_WEB_PROCESSES = 2  # of `web`; each handles as many requests at a time as `run` does
log = structlog.get_logger(__name__)
Service = Callable[[OpenHub], AbstractContextManager[None]]


def run_all(demo: bool) -> None:
    """Everything in one process. demo: with the built-in PBX and receiver."""
    from pbxhub.demo.demo_project import retire_demo

    hub = open_hub(migrating=True)
    with _only_listener(hub), ExitStack() as stack:  # first: a second hub changes nothing of what the first one does
        if demo:
            hub = _with_demo(hub, stack)
        else:
            with hub.context.database.write() as session:
                retire_demo(session)
        _run_until_stopped(hub, [_pages, working, _answering_if_free, listening])


def run_pages() -> None:
    """The pages and the API, in two processes."""
    import pbxhub.api
    import pbxhub.web  # noqa: F401  the processes share the memory of what is loaded before they are forked

    hub = open_hub()
    settings = hub.settings
    listening_on = _port_of_pages(settings)
    _show_addresses(hub)
    hub.context.database.close()  # only the socket may be open when the processes are forked
    collect_seldom()
    keep_running(partial(_serve_pages, settings, hub.context.vault, listening_on), _WEB_PROCESSES)


def run_part(name: str) -> None:
    """One part: listen, work or agi."""
    services: dict[str, list[Service]] = {
        "listen": [_only_listener, sending_new, listening], "work": [working], "agi": [_answering],
    }  # fmt: skip
    _run_until_stopped(open_hub(), services[name])


def _serve_pages(settings: Settings, vault: Vault, listening_on: socket.socket, stop: Stop) -> None:
    hub = OpenHub(settings, open_context(settings, database_of(settings), vault))
    with following(hub.context.database), pages(hub, listening_on):
        stop.wait()
        _end_in_time()
    hub.context.database.close()


def _with_demo(hub: OpenHub, stack: ExitStack) -> OpenHub:
    from pbxhub.demo.receiver import describe
    from pbxhub.demo.run_demo import showing

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
            f"PBXHUB_PORT: the demo's receiver cannot listen on the next port, {port}: {error.strerror}. "
            "Choose another port."
        ) from None
    click.echo(f"The demo's receiver shows what the webhooks send: http://127.0.0.1:{port}/")
    return replace(hub, released=released)


@contextmanager
def _only_listener(hub: OpenHub) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(only_listener(hub.context.database))
        except OtherListenerError as error:
            raise click.ClickException(f"PBXHUB_DATABASE_URL: {error}") from None
        except OSError as error:
            raise click.ClickException(
                f"PBXHUB_DATABASE_URL: cannot open {error.filename}: {error.strerror}. pbxhub check says what to do"
            ) from None
        yield


@contextmanager
def _answering(hub: OpenHub) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(answering(hub))
        except OSError as error:
            raise _cannot_listen("PBXHUB_AGI", hub.settings.agi, error) from None
        yield


@contextmanager
def _answering_if_free(hub: OpenHub) -> Iterator[None]:
    """Runs FastAGI, or continues without it when another program uses the port: calls are still reported."""
    with ExitStack() as stack:
        try:
            stack.enter_context(answering(hub))
        except OSError as error:
            refusal = _cannot_listen("PBXHUB_AGI", hub.settings.agi, error)
            click.echo(f"{refusal.message} Until then, calls cannot ask webhooks.", err=True)
        yield


def _show_addresses(hub: OpenHub) -> None:
    from pbxhub.account.first_owner import first_setup

    click.echo(f"pbxhub {__version__} at {hub.settings.public_url}")
    setup = first_setup(hub.settings, hub.context.database, utc_now())
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
        stack.enter_context(following(hub.context.database))
        for service in services:
            stack.enter_context(service(hub))
        try:
            stack.enter_context(measuring(hub))
        except OSError as error:
            raise _cannot_listen("PBXHUB_METRICS", hub.settings.metrics, error) from None
        if _pages in services:
            _show_addresses(hub)
        collect_seldom()
        stop.wait()
        _end_in_time()


def _pages(hub: OpenHub) -> AbstractContextManager[None]:
    return pages(hub, _port_of_pages(hub.settings))


def _port_of_pages(settings: Settings) -> socket.socket:
    try:
        return bound(settings.bind, settings.port)
    except OSError as error:
        raise _cannot_listen("PBXHUB_PORT", (settings.bind, settings.port), error) from None


def _cannot_listen(variable: str, where: tuple[str, int] | None, error: OSError) -> click.ClickException:
    host, port = where or ("", 0)
    why = os.strerror(error.errno) if error.errno else str(error)  # asyncio's own text names the address once more
    advice = "Choose another port, or end what uses this one (ss -ltnp shows it)." if error.errno == EADDRINUSE else ""
    return click.ClickException(f"{variable}: cannot listen on {host}:{port}: {why}. {advice}".rstrip())


def _end_in_time() -> None:
    """Ends the process even while threads wait for an unavailable database. Nothing is lost: leases expire, and files
    keep unwritten stages."""

    def end() -> None:
        log.error("database did not answer in time; the next start continues the unfinished work")
        os._exit(1)

    timer = threading.Timer(_STOP, end)
    timer.daemon = True
    timer.start()
