"""The command `pbxhub`. What a command works with is imported when it runs: help, and commands that need little of the
hub, start at once.
"""

import atexit
import gc
import json
import sys
from pathlib import Path

import click

from pbxhub import __version__
from pbxhub.commands.admin_commands import pbx, setup_link
from pbxhub.commands.key_commands import lost_key, rotate_key
from pbxhub.commands.maintenance_commands import backup, move, restore
from pbxhub.commands.user_commands import user
from pbxhub.testing.commands import monitor, scenario


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """pbxhub turns the stages of calls on your Asterisk into the HTTP requests that you set up.

    Settings are PBXHUB_* environment variables; docs/settings.md lists them.
    """
    # what a command loads stays to its end: to look for garbage in it at every 700 new objects takes a seventh of the
    # start, and looking once more when the interpreter ends takes 0.1 s
    gc.set_threshold(200_000)
    atexit.register(gc.freeze)


for command in (pbx, setup_link, user, rotate_key, lost_key, backup, restore, move, scenario, monitor):
    main.add_command(command)


@main.command()
@click.option("--demo", is_flag=True, help="Adds a built-in PBX that plays recorded calls, and a receiver.")
def run(demo: bool) -> None:
    """Runs everything in one process: pages, listener, worker and FastAGI. Migrates the database first."""
    from pbxhub.running import run_all

    run_all(demo)


@main.command()
def listen() -> None:
    """Runs the listener only. Several listeners may run; each stage is still published once."""
    from pbxhub.running import run_part

    run_part("listen")


@main.command()
def work() -> None:
    """Runs the worker only. Several workers share the due deliveries."""
    from pbxhub.running import run_part

    run_part("work")


@main.command()
def agi() -> None:
    """Runs FastAGI only: waiting calls ask webhooks what to do."""
    from pbxhub.running import run_part

    run_part("agi")


@main.command()
def web() -> None:
    """Runs the pages and the API only, in two processes."""
    from pbxhub.running import run_pages

    run_pages()


@main.command()
@click.argument("revision", default="head")
@click.option("--draft", metavar="MESSAGE", help="For developers: drafts a migration to the tables in the code.")
@click.option("--yes-drop-everything", "drop", is_flag=True, help="Required for base, which deletes all tables.")
@click.option("--yes-lose-newer-data", "losing", is_flag=True, help="Required for an older REVISION.")
@click.option("--beside-others", is_flag=True, help="Even while other processes use the database.")
def migrate(revision: str, draft: str | None, drop: bool, losing: bool, beside_others: bool) -> None:
    """Migrates the database to REVISION (default: the newest). "base" deletes all tables."""
    from pbxhub.hub_database import migrate_database, write_draft

    if draft:
        write_draft(draft)
        return
    if revision == "base" and not drop:
        raise click.ClickException(
            "This deletes every table with everything in it: calls, webhooks, users, the history. Make a backup first; "
            "then: pbxhub migrate base --yes-drop-everything"
        )
    current = migrate_database(revision, beside_others, losing)
    click.echo("The database is up to date." if current else f"The database is at {revision}.")


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--context", "contexts", multiple=True, help="An incoming context; repeat it. Default: the usual names.")
@click.option("--endpoint", "endpoints", multiple=True, help="NAME=EXTENSION, as on an employee's card; repeat it.")
@click.option(
    "--optional", multiple=True, help="Also this optional stage (docs/parameters.md); repeat it, or give all."
)
def replay(file: Path, contexts: tuple[str, ...], endpoints: tuple[str, ...], optional: tuple[str, ...]) -> None:
    """Prints the stages of the AMI stream recorded in FILE, one JSON object each. Uses no database."""
    from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
    from pbxhub.calls.replay import replay as replay_lines
    from pbxhub.calls.stages import OPTIONAL_STAGES
    from pbxhub.calls.tracker import Tracker

    if unknown := {*optional} - {"all", *OPTIONAL_STAGES}:
        known = ", ".join(OPTIONAL_STAGES)
        raise click.BadParameter(f"{unknown.pop()} is not an optional stage; give all, or one of {known}.")
    cards = dict(card.split("=", 1) for card in endpoints if "=" in card)
    stages = OPTIONAL_STAGES if "all" in optional else optional
    tracker = Tracker(contexts or DEFAULT_INCOMING_CONTEXTS, optional=stages, endpoints=cards)
    with file.open(encoding="utf-8", errors="replace") as lines:
        for stage in replay_lines(lines, tracker):
            click.echo(json.dumps(stage, ensure_ascii=False))


@main.command()
def check() -> None:
    """Checks settings, database, PBX logins, event filters and clocks, and says what to do."""
    from pbxhub.command_settings import load_settings
    from pbxhub.commands.checkup import check_hub

    settings = load_settings()
    well = True
    for subject, finding in check_hub(settings):
        well &= finding.well
        click.echo(f"{'ok  ' if finding.well else 'FAIL'} {subject}: {finding.sentence}")
    sys.exit(0 if well else 1)


@main.command()
def prune() -> None:
    """Deletes history that is older than the settings allow, in small steps. The worker does this every hour anyway."""
    from pbxhub.delivery.prune import prune as delete_old_history
    from pbxhub.delivery.prune import retention
    from pbxhub.hub_database import open_hub_database
    from pbxhub.store.clock import utc_now

    hub = open_hub_database()
    pruned = delete_old_history(hub.database, utc_now(), retention(hub.settings))
    click.echo(f"Deleted {pruned.deliveries} deliveries, {pruned.calls} calls and {pruned.others} other rows.")
