"""Commands for users: add one, make an operator, and let back in whoever has lost a password or the second factor.

What a command works with is imported when it runs; see cli.py.
"""

import sys
from typing import TYPE_CHECKING, cast

import click

from pbxhub.commands.command_line import accepted, by_command_line

if TYPE_CHECKING:
    from pbxhub.account.access import Role


@click.group()
def user() -> None:
    """Users and operators of the hub."""


@user.command("list")
def list_users() -> None:
    """Lists the users, one per line: e-mail address, operator or user, name."""
    from pbxhub.hub_database import open_hub_database
    from pbxhub.store.accounts import User

    with open_hub_database().database.read() as session:
        rows = session.query(User).order_by(User.email).all()
    for row in rows:
        click.echo(f"{row.email}\t{'operator' if row.operator else 'user'}\t{row.name}")
    if not rows:
        sentence = "No users yet. pbxhub setup-link prints a link to create the first account."
        click.echo(sentence, err=True)  # a script reads an empty list


@user.command("add")
@click.argument("email")
@click.option("--name", default="", help="As the pages show it.")
@click.option("--operator", is_flag=True, help="Makes the user an operator of the hub.")
@click.option("--project", "project_name", help="Makes the user a member of this project: its name or number.")
@click.option("--role", type=click.Choice(["viewer", "editor", "owner"]), default="viewer", show_default=True)
def add(email: str, name: str, operator: bool, project_name: str | None, role: str) -> None:
    """Adds a user. Asks for the password; elsewhere than on a terminal, the password is the first line of the input."""
    from pbxhub.account.first_owner import remember_owner
    from pbxhub.account.passwords import hashed, normalised
    from pbxhub.account.projects import find_project
    from pbxhub.account.user_accounts import add_user, join, refuse_user
    from pbxhub.hub_database import open_hub_database

    hub = open_hub_database()
    by = by_command_line(hub)
    with hub.database.read() as session:
        accepted(refuse_user(session, email, operator))
        if project_name is not None:
            accepted(find_project(session, project_name))
    password = normalised(_read_password())
    stored = hashed(password, hub.vault)
    with hub.database.write() as session:
        row = accepted(add_user(session, by, email, name, password, stored, operator))
        if project_name is not None:
            join(session, by, row, accepted(find_project(session, project_name)), cast("Role", role))
        address = row.email
    remember_owner(hub.settings.data_dir)
    click.echo(f"Added. {address} signs in at {hub.settings.public_url}")
    if project_name is None:
        click.echo("The user is a member of no project: an owner invites them, or give --project.", err=True)


@user.command("password")
@click.argument("email")
def password(email: str) -> None:
    """Sets the password of the user with this EMAIL, without any mail, and signs them out everywhere.

    Asks for the password; elsewhere than on a terminal, it is the first line of the input.
    """
    from pbxhub.account.passwords import hashed, normalised
    from pbxhub.account.user_accounts import find_user, set_password
    from pbxhub.hub_database import open_hub_database

    hub = open_hub_database()
    by = by_command_line(hub)
    with hub.database.read() as session:
        accepted(find_user(session, email))
    password = normalised(_read_password())
    stored = hashed(password, hub.vault)
    with hub.database.write() as session:
        row = accepted(find_user(session, email))
        accepted(set_password(session, by, row, password, stored))
        address, two_factor = row.email, row.tf_primary_method is not None
    click.echo(f"The password of {address} is set; every browser that was signed in is signed out.")
    if two_factor:
        click.echo(f"Signing in still needs a code. Phone lost? Run: pbxhub user second-factor {address}", err=True)


@user.command("second-factor")
@click.argument("email")
def second_factor(email: str) -> None:
    """Switches two-factor sign-in off for the user with this EMAIL, who has lost the phone and the recovery codes."""
    from pbxhub.account.user_accounts import find_user, remove_second_factor
    from pbxhub.hub_database import open_hub_database

    hub = open_hub_database()
    by = by_command_line(hub)
    with hub.database.write() as session:
        row = accepted(find_user(session, email))
        if row.tf_primary_method is None and not row.recovery_codes:
            raise click.ClickException(f"{row.email} has no second factor.")
        remove_second_factor(session, by, row)
        address = row.email
    click.echo(f"{address} signs in with the password alone, and should set up the new phone on the page Profile.")


@user.command("operator")
@click.argument("email")
@click.option("--revoke", is_flag=True, help="Removes the right. The last operator cannot be removed.")
def make_operator(email: str, revoke: bool) -> None:
    """Makes the user with this EMAIL an operator of the hub."""
    from pbxhub.account.operators import change_operator
    from pbxhub.account.user_accounts import find_user
    from pbxhub.hub_database import open_hub_database

    hub = open_hub_database()
    by = by_command_line(hub)
    with hub.database.write() as session:
        row = accepted(find_user(session, email))
        accepted(change_operator(session, by, row.id, not revoke))
    click.echo(f"{row.email} is no longer an operator." if revoke else f"{row.email} is an operator now.")


@user.command("link")
@click.argument("email")
def print_link(email: str) -> None:
    """Prints a link for EMAIL to reset the password or to accept an invitation. For a hub without a mail server, or a
    user who does not get its mail. Treat the link like a password."""
    from pbxhub.account.account_links import link_for
    from pbxhub.hub_database import open_hub_database
    from pbxhub.store.clock import utc_now

    hub = open_hub_database()
    with hub.database.write() as session:
        link = accepted(link_for(session, hub, email, utc_now()))
    click.echo(link.address)
    click.echo(f"It works once, until {link.until:%Y-%m-%d %H:%M} UTC.", err=True)


def _read_password() -> str:
    """Never from the command line: other users could read it."""
    if sys.stdin.isatty():
        return str(click.prompt("New password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")
