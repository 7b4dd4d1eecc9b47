"""Commands for the key that seals the stored secrets; docs/operations/keys.md.

What a command works with is imported when it runs; see cli.py.
"""

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pbxhub.maintenance.rotate_key import Unreadable

_MOST_NAMED = 20
_LOOK_FIRST = (
    "Without the lost key, no stored secret can be read again. Look for it first: secret.key in the data folder of "
    "another host, a backup made by pbxhub backup, PBXHUB_SECRET_KEY in the settings of the service. "
    "If it is lost for good: pbxhub lost-key --yes-go-on-without"
)


@click.command("rotate-key")
@click.option("--print-new", is_flag=True, help="Only prints a new key, to put before the old one.")
@click.option(
    "--new-root", is_flag=True, help="After a theft: also ends sessions, second factors, links and FastAGI addresses."
)
def rotate_key(print_new: bool, new_root: bool) -> None:
    """Encrypts every stored secret with the first key of PBXHUB_SECRET_KEY, or of secret.key, while the hub works.

    If it is interrupted, run it again: it continues. Before you run it, start every process of the hub with both keys.
    With --new-root, stop every process first.
    """
    if print_new:
        _print_new_key()
        return
    from pbxhub.hub_database import database_named, open_hub_database
    from pbxhub.maintenance.rotate_key import renew_root, rotate

    hub = open_hub_database()
    with database_named():
        done = rotate(hub.database, hub.vault, _show)
        users = renew_root(hub.database, hub.vault) if new_root and not done.unreadable else None
    hub.database.close()
    if done.unreadable:
        raise click.ClickException(_unreadable(done.unreadable))
    count = sum(done.sealed.values())
    click.echo(f"Encrypted {count} secrets with the first key; every stored secret is encrypted with it now.")
    if len(hub.vault.keys) > 1:
        where = "PBXHUB_SECRET_KEY" if "PBXHUB_SECRET_KEY" in os.environ else str(hub.settings.key_file)
        click.echo(f"Remove the other keys from {where} on every host, and restart. Backups made before need them.")
    if users is not None:
        click.echo(
            "All sessions have ended, and links to recordings in webhooks that were already sent no longer work. Start "
            "the hub, and copy the new FastAGI address of each PBX into its dialplan."
        )
        _show_removed(users)


@click.command("lost-key")
@click.option("--yes-go-on-without", "confirmed", is_flag=True, help="Required: secrets must be entered again.")
def lost_key(confirmed: bool) -> None:
    """Goes on with the key of this host, or a new one, after the key of the database was lost.

    Users keep their passwords; second factors are removed. Every secret of a PBX or a webhook must be entered again:
    until then it is held, and the pages mark it. Stop every process of the hub first.
    """
    from pbxhub.command_settings import load_settings
    from pbxhub.hub_database import database_named, database_of, refuse_other_tables
    from pbxhub.maintenance.rotate_key import find_unreadable, go_on_without
    from pbxhub.settings import with_key
    from pbxhub.store.key_check import WrongKeyError, check_key
    from pbxhub.vault import Vault

    settings = load_settings()
    database = database_of(settings)
    with database_named():
        refuse_other_tables(database)
        try:
            check_key(database, settings.secret_key, str(settings.key_file))
        except WrongKeyError:
            pass
        else:
            raise click.ClickException("The key of this host is the one of the database. Nothing was changed.")
        if not confirmed:
            raise click.ClickException(_LOOK_FIRST)
        vault = Vault(with_key(settings).secret_key)
        users = go_on_without(database, vault)
        unreadable = tuple(find_unreadable(database, vault))
    database.close()
    click.echo("The hub goes on with the key of this host. Start it.")
    _show_removed(users)
    if unreadable:
        click.echo(f"Enter these {len(unreadable)} secrets again:\n" + _named(unreadable))


def _print_new_key() -> None:
    from pbxhub.settings import key_text
    from pbxhub.vault import KEY_BYTES

    click.echo(key_text(os.urandom(KEY_BYTES)))


def _unreadable(found: "tuple[Unreadable, ...]") -> str:
    return (
        f"{len(found)} secrets cannot be decrypted with any key of this host, so nothing was changed. Add the key that "
        f"encrypted them to PBXHUB_SECRET_KEY, or enter them again on the pages:\n{_named(found)}"
    )


def _named(found: "tuple[Unreadable, ...]") -> str:
    lines = [f"  {each.table} {each.name or each.id} ({each.column.removesuffix('_sealed')})" for each in found]
    more = [f"  and {len(lines) - _MOST_NAMED} more"] if len(lines) > _MOST_NAMED else []
    return "\n".join(lines[:_MOST_NAMED] + more)


def _show_removed(users: list[str]) -> None:
    for user in users:
        click.echo(f"Second factor removed: {user}")


def _show(table: str, done: int, total: int) -> None:
    click.echo(f"{table}: {done} of {total}", err=True)
