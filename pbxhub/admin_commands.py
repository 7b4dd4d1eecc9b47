"""Commands for whoever runs the hub: PBXs, users, and the links that open accounts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

import click

from pbxhub.account.access import CommandLine
from pbxhub.account.audit_log import Action, write_entry
from pbxhub.account.email_addresses import normalised
from pbxhub.account.first_owner import first_setup
from pbxhub.account.operators import change_operator
from pbxhub.account.pbx_files import PbxFiles, name_files
from pbxhub.account.pbxs import PbxInput, shown
from pbxhub.account.pbxs import add_pbx as add_pbx_to
from pbxhub.account.refusals import Refusal
from pbxhub.opening import open_parts
from pbxhub.services import app
from pbxhub.store.accounts import Project, User
from pbxhub.store.webhooks import add_project
from pbxhub.web.account_links import link_for


@click.group()
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
    parts = open_parts(migrating=True)
    now = datetime.now(UTC)
    authority = tls_ca.read() if tls_ca else ""
    given = PbxInput(name, host, port, username, secret, tls, authority, plain_login, contexts or None)
    with parts.context.database.write() as session:
        project = session.query(Project).filter_by(name=project_name).first()
        if project is None:
            project = Project(name=project_name, created_on=now)
            add_project(session, project)
        common = parts.settings.recordings
        row = add_pbx_to(session, project, given, parts.context.vault, common, now, operator=True)
        if isinstance(row, list):
            raise _refused(row)
        files = PbxFiles(cel, row.recordings if recordings is None else recordings)
        if refused := name_files(session, row, files, common):
            raise _refused(refused)
        write_entry(session, project.id, CommandLine(), "PBX added", row.name, {}, shown(row), "", now)
    click.echo(f"Added. `pbxhub check` tells whether {host}:{port} lets the hub in.")


@click.command("setup-link")
def setup_link() -> None:
    """Prints a new link to make the first account of this hub; earlier ones no longer work. Only for a database that
    has no users: also where an owner is remembered, because the database was lost."""
    parts = open_parts(migrating=True)
    setup = first_setup(parts.settings, parts.context.database, datetime.now(UTC), anew=True)
    if not setup.link:
        raise click.ClickException(str(setup.sentence))
    click.echo(setup.link)


@click.group()
def user() -> None:
    """Those who sign in to the hub, and who of them runs it."""


@user.command("list")
def list_users() -> None:
    """One line per user: e-mail, whether an operator, name."""
    with open_parts().context.database.read() as session:
        for row in session.query(User).order_by(User.email):
            click.echo(f"{row.email}\t{'operator' if row.operator else 'user'}\t{row.name}")


@user.command("operator")
@click.argument("email")
@click.option("--revoke", is_flag=True, help="Takes the right back; the last operator keeps it.")
def make_operator(email: str, revoke: bool) -> None:
    """Makes the user with this EMAIL an operator of the hub."""
    with open_parts().context.database.write() as session:
        row = session.query(User).filter_by(email=normalised(email)).first()
        if row is None:
            raise click.ClickException(f"There is no user {email}. `pbxhub user list` shows all of them.")
        was = row.operator
        if refused := change_operator(session, row.id, not revoke, by=None):
            raise click.ClickException(refused.text)
        action: Action = "operator removed" if revoke else "operator added"
        if was == revoke:  # otherwise nothing has changed
            write_entry(session, None, CommandLine(), action, row.email, {}, {}, "", datetime.now(UTC))
    click.echo(f"{row.email} is no longer an operator." if revoke else f"{row.email} is an operator now.")


@user.command("link")
@click.argument("email")
def print_link(email: str) -> None:
    """Prints a link for EMAIL and nobody else: to set the password anew, or to accept an invitation. For a hub without
    a mail server, and for somebody whom its mails do not reach. Hand it over as you would a password."""
    parts = open_parts()
    try:
        link = link_for(app(parts), parts.context.database, email)
    finally:
        parts.context.database.close()
    if isinstance(link, Refusal):
        raise click.ClickException(link.text)
    click.echo(link.address)
    click.echo(f"It works once and until {link.until:%Y-%m-%d %H:%M} UTC.", err=True)


def _refused(refusals: Sequence[Refusal]) -> click.ClickException:
    return click.ClickException("\n".join(f"{refusal.path}: {refusal.text}" for refusal in refusals))
