"""Commands for operators: PBXs, and the link with which the first account is created.

What a command works with is imported when it runs; see cli.py.
"""

from datetime import UTC, datetime
from typing import TextIO

import click

from pbxhub.commands.command_line import accepted, by_command_line


@click.group()
def pbx() -> None:
    """The PBXs the hub listens to."""


@pbx.command("add")
@click.option("--project", "project_name", help="Name or number of the project. Default: the only one there is.")
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
    project_name: str | None, name: str, host: str, port: int, username: str, secret: str, tls: bool,
    tls_ca: TextIO | None, plain_login: bool, contexts: tuple[str, ...], cel: str, recordings: str | None,
) -> None:  # fmt: skip
    """Adds a PBX. A running listener connects to it automatically."""
    from pbxhub.account.access import RIGHTS, ProjectAccess
    from pbxhub.account.pbx_files import PbxFiles, name_files
    from pbxhub.account.pbxs import PbxInput
    from pbxhub.account.pbxs import add_pbx as add_pbx_to
    from pbxhub.account.projects import project_for_pbx
    from pbxhub.hub_database import open_hub_database

    hub = open_hub_database(migrating=True)
    by = by_command_line(hub)
    authority = tls_ca.read() if tls_ca else ""
    given = PbxInput(name, host, port, username, secret, tls, authority, plain_login, contexts or None)
    with hub.database.write() as session:
        project = accepted(project_for_pbx(session, by, project_name))
        access = ProjectAccess(project, by.user, frozenset(RIGHTS), by.hub, operator=True)
        row = accepted(add_pbx_to(session, access, given))
        if cel or recordings is not None:
            files = PbxFiles(cel, row.recordings if recordings is None else recordings)
            accepted(name_files(session, by, row, files, row.any_network))
        named = project.name
    click.echo(f"Added to the project {named}. Run `pbxhub check` to see whether the hub can log in to {host}:{port}.")


@click.command("setup-link")
def setup_link() -> None:
    """Prints a new link with which to create the first account. Earlier links stop working. Only for a database without
    users."""
    from pbxhub.account.first_owner import first_setup
    from pbxhub.hub_database import open_hub_database

    hub = open_hub_database(migrating=True)
    setup = first_setup(hub.settings, hub.database, datetime.now(UTC), anew=True)
    if not setup.link:
        raise click.ClickException(str(setup.sentence))
    click.echo(setup.link)
