"""Commands for operators: PBXs, users, and the links with which users create their accounts.

What a command works with is imported when it runs; see cli.py.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO, TypeVar, cast

import click

if TYPE_CHECKING:
    from pbxhub.account.access import HubAccess
    from pbxhub.account.refusals import Refusal
    from pbxhub.opening import OpenHub

T = TypeVar("T")


@click.group()
def pbx() -> None:
    """The PBXs the hub listens to."""


@pbx.command("add")
@click.option(
    "--project", "project_name", default="My project", show_default=True, help="Created when it does not exist."
)
@click.option("--name", default="Asterisk", show_default=True)
@click.option("--host", required=True)
@click.option("--port", default=5038, show_default=True)
@click.option("--username", required=True, help="The AMI user; see asterisk-conf/.")
@click.option("--secret", prompt=True, hide_input=True, help="The AMI user's secret; prompted for if omitted.")
@click.option("--tls", is_flag=True)
@click.option("--tls-ca", type=click.File(), help="PEM file of the certificate authority, if it is your own.")
@click.option("--plain-login", is_flag=True, help="For a PBX that refuses the MD5 challenge.")
@click.option(
    "--context", "contexts", multiple=True, help="An incoming context; may be repeated. Default: the usual names."
)
@click.option("--cel", default="", help="SQLite file of cel_sqlite3_custom, if this host can read it.")
@click.option(
    "--recordings",
    help="Folder of its recordings on this host. Default: PBXHUB_RECORDINGS, unless another PBX uses it.",
)
def add_pbx(
    project_name: str, name: str, host: str, port: int, username: str, secret: str, tls: bool,
    tls_ca: TextIO | None, plain_login: bool, contexts: tuple[str, ...], cel: str, recordings: str | None,
) -> None:  # fmt: skip
    """Adds a PBX. A running listener connects to it automatically."""
    from pbxhub.account.access import RIGHTS, Access
    from pbxhub.account.pbx_files import PbxFiles, name_files
    from pbxhub.account.pbxs import PbxInput
    from pbxhub.account.pbxs import add_pbx as add_pbx_to
    from pbxhub.account.projects import make_project
    from pbxhub.opening import open_hub
    from pbxhub.store.accounts import Project

    hub = open_hub(migrating=True)
    by = _by_command_line(hub)
    authority = tls_ca.read() if tls_ca else ""
    given = PbxInput(name, host, port, username, secret, tls, authority, plain_login, contexts or None)
    with hub.context.database.write() as session:
        project = session.query(Project).filter_by(name=project_name).first()
        project = _accepted(project or make_project(session, by, {"name": project_name}))
        access = Access(project, by.user, frozenset(RIGHTS), by.hub, operator=True)
        row = _accepted(add_pbx_to(session, access, given))
        if cel or recordings is not None:
            files = PbxFiles(cel, row.recordings if recordings is None else recordings)
            _accepted(name_files(session, by, row, files, row.any_network))
    click.echo(f"Added. Run `pbxhub check` to see whether the hub can log in to {host}:{port}.")


@click.command("setup-link")
def setup_link() -> None:
    """Prints a new link with which to create the first account. Earlier links stop working. Only for a database without
    users."""
    from pbxhub.account.first_owner import first_setup
    from pbxhub.opening import open_hub

    hub = open_hub(migrating=True)
    setup = first_setup(hub.settings, hub.context.database, datetime.now(UTC), anew=True)
    if not setup.link:
        raise click.ClickException(str(setup.sentence))
    click.echo(setup.link)


@click.group()
def user() -> None:
    """Users and operators of the hub."""


@user.command("list")
def list_users() -> None:
    """Lists the users, one per line: e-mail address, operator or user, name."""
    from pbxhub.opening import open_hub
    from pbxhub.store.accounts import User

    with open_hub().context.database.read() as session:
        for row in session.query(User).order_by(User.email):
            click.echo(f"{row.email}\t{'operator' if row.operator else 'user'}\t{row.name}")


@user.command("operator")
@click.argument("email")
@click.option("--revoke", is_flag=True, help="Removes the right. The last operator cannot be removed.")
def make_operator(email: str, revoke: bool) -> None:
    """Makes the user with this EMAIL an operator of the hub."""
    from pbxhub.account.email_addresses import normalised
    from pbxhub.account.operators import change_operator
    from pbxhub.opening import open_hub
    from pbxhub.store.accounts import User

    hub = open_hub()
    by = _by_command_line(hub)
    with hub.context.database.write() as session:
        row = session.query(User).filter_by(email=normalised(email)).first()
        if row is None:
            raise click.ClickException(f"There is no user {email}. `pbxhub user list` shows all users.")
        if refused := change_operator(session, by, row.id, not revoke):
            raise click.ClickException(refused.text)
    click.echo(f"{row.email} is no longer an operator." if revoke else f"{row.email} is an operator now.")


@user.command("link")
@click.argument("email")
def print_link(email: str) -> None:
    """Prints a link for EMAIL to reset the password or to accept an invitation. For a hub without a mail server, or a
    user who does not get its mail. Treat the link like a password."""
    from pbxhub.account.refusals import Refusal
    from pbxhub.opening import open_hub
    from pbxhub.services import app
    from pbxhub.web.account_links import link_for

    hub = open_hub()
    try:
        link = link_for(app(hub), hub.context.database, email)
    finally:
        hub.context.database.close()
    if isinstance(link, Refusal):
        raise click.ClickException(link.text)
    click.echo(link.address)
    click.echo(f"It works once, until {link.until:%Y-%m-%d %H:%M} UTC.", err=True)


def _by_command_line(hub: "OpenHub") -> "HubAccess":
    from pbxhub.account.access import CommandLine, HubAccess
    from pbxhub.services import app

    return HubAccess(CommandLine(), app(hub).extensions["pbxhub"], operator=True)


def _accepted(found: "T | list[Refusal]") -> T:
    """What was made; ends the command when it was refused."""
    if isinstance(found, list) and found:
        raise click.ClickException("\n".join(f"{refusal.path}: {refusal.text}" for refusal in found))
    return cast(T, found)
