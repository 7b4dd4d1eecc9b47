"""Commands for the whole database of a hub: backup, restore, move.

What a command works with is imported when it runs; see cli.py.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click

_SHORTEST = 12  # characters of a passphrase
_passphrase = click.option(
    "--passphrase-file", type=click.File(), help="File whose first line is the passphrase of the key."
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_passphrase
@click.option("--without-key", is_flag=True, help="Leaves the key out: keep a copy of it elsewhere.")
def backup(file: Path, passphrase_file: TextIO | None, without_key: bool) -> None:
    """Writes a backup to FILE while the hub runs: the database, and its key sealed with a passphrase.

    A PostgreSQL database needs pg_dump on this host.
    """
    from pbxhub.hub_database import database_named, open_hub_database
    from pbxhub.maintenance.backup import back_up

    hub = open_hub_database()
    passphrase = "" if without_key else _read_passphrase(passphrase_file, confirm=True)
    url = hub.settings.database_direct_url or hub.settings.database_url
    with _in_words(), database_named():
        manifest = back_up(hub.database, url, hub.settings.secret_key, passphrase, file.absolute(), _now())
    hub.database.close()
    click.echo(f"Wrote {file}: {manifest.kind}, {file.stat().st_size / 1e6:.1f} MB.")
    if without_key:
        click.echo(f"The key is not in it. Keep a copy of {hub.settings.key_file} or of PBXHUB_SECRET_KEY.", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_passphrase
def restore(file: Path, passphrase_file: TextIO | None) -> None:
    """Restores the backup FILE into the empty database of the settings. Stop every process of the hub first.

    Without --passphrase-file the key of this host is used, or the passphrase is asked for when it has none. Deliveries
    that were waiting when the backup was made are not sent: they are on the Webhook error check.
    """
    from pbxhub.command_settings import load_settings, set_up_logs
    from pbxhub.hub_database import database_named
    from pbxhub.maintenance.restore import restore as restore_database

    settings = load_settings()
    set_up_logs(settings)
    needed = passphrase_file is not None or not settings.secret_key
    passphrase = _read_passphrase(passphrase_file, confirm=False) if needed else ""
    with _in_words(), database_named():
        done = restore_database(file, settings, passphrase, _now())
    click.echo(f"Restored the backup of {done.made_on:%Y-%m-%d %H:%M} UTC. Start the hub now.")
    if done.held:
        click.echo(f"{done.held} deliveries were waiting then. They are on the Webhook error check: look, then Send.")


@click.command()
@click.option("--to", "url", required=True, help="SQLAlchemy URL of the empty database, as in PBXHUB_DATABASE_URL.")
def move(url: str) -> None:
    """Copies everything into another database, SQLite or PostgreSQL. Stop every process of the hub first.

    Interrupted, run it again: it continues. The old database stays as it is.
    """
    from pbxhub.database_url import read_database_url
    from pbxhub.hub_database import database_named, open_hub_database
    from pbxhub.maintenance.move import move as move_database
    from pbxhub.store.session import open_database

    hub = open_hub_database()
    try:
        target = open_database(read_database_url(url))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    if target.engine.url == hub.database.engine.url:
        raise click.BadParameter("this is the database of the hub itself", param_hint="--to")
    with _in_words(), database_named():
        moved = move_database(hub.database, target, _show)
    click.echo(f"Moved {sum(moved.values())} rows; the counts of all {len(moved)} tables agree.")
    click.echo("Set PBXHUB_DATABASE_URL to the new database and start the hub.")


def _read_passphrase(file: TextIO | None, confirm: bool) -> str:
    """From the file, or asked for where somebody can answer."""
    if file is not None:
        found = file.readline().strip()
    elif sys.stdin.isatty():
        found = click.prompt("Passphrase of the key", hide_input=True, confirmation_prompt=confirm)
    else:
        raise click.UsageError("Give --passphrase-file FILE" + (", or --without-key." if confirm else "."))
    if len(found) < _SHORTEST:
        raise click.ClickException(f"The passphrase has {len(found)} characters; at least {_SHORTEST} are needed.")
    return str(found)


def _show(table: str, done: int, total: int) -> None:
    if total:
        click.echo(f"{table}: {done} of {total}", err=True)


@contextmanager
def _in_words() -> Iterator[None]:
    from pbxhub.maintenance.backup_file import BackupError

    try:
        yield
    except BackupError as error:
        raise click.ClickException(str(error)) from None


def _now() -> datetime:
    return datetime.now(UTC)
