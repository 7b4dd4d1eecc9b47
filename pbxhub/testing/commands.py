"""The commands `pbxhub scenario` and `pbxhub monitor`."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pbxhub.testing.pbx.asterisk import Dialplan, TrunkDriver
    from pbxhub.testing.random_calls.gaps import Gap

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
_NEEDED = ("croniter", "dotenv", "h11", "pytest", "pytest_timeout", "standardwebhooks")


_ASTERISK = click.Choice(["22", "20", "18", "16"])


@click.group()
def scenario() -> None:
    """Script calls and webhooks, assert what happened."""


@scenario.command("run")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--tag", "tags", multiple=True, help="Only scenarios with this mark; repeat it to ask for several.")
@click.option("--exclude-tag", "without_tags", multiple=True, help="No scenarios with this mark.")
@click.option("--scenario", "name", default="", help="Only scenarios with this in their name.")
@click.option("--env-file", "env_files", multiple=True, type=_FILE, help="KEY=VALUE lines for env().")
@click.option("--timeout", default="2m", show_default=True, help="The longest one scenario may take.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout, the report on stderr.")
@click.option("--junit", type=_NEW_FILE, help="Write a JUnit XML report there.")
@click.option("--sip-trace", type=_NEW_FILE, help="Write the agents' SIP messages there, as a pcap for Wireshark.")
@click.option(
    "--save-audio", type=click.Path(file_okay=False, path_type=Path), help="Keep what each agent hears there."
)
@click.option("--asterisk", type=_ASTERISK, default="22", show_default=True, help="Of the fixture.")
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), default="sqlite", help="Of the fixture hub.")
def run(
    files: tuple[Path, ...],
    tags: tuple[str, ...],
    without_tags: tuple[str, ...],
    name: str,
    env_files: tuple[Path, ...],
    timeout: str,
    as_json: bool,
    junit: Path | None,
    sip_trace: Path | None,
    save_audio: Path | None,
    asterisk: str,
    database: str,
) -> None:
    """Runs the scenarios of FILES: functions test_… and scenario_… of Python files.

    Ends with 0 when all passed, 1 when one failed, 4 on a wrong option, 5 when there was none to run.
    """
    _require_parts()
    from pbxhub.testing.durations import limit
    from pbxhub.testing.scenario import NONE_FOUND, Wanted, run_scenarios

    try:
        limit(timeout)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from None
    wanted = Wanted(
        files, tags, without_tags, name, env_files, timeout, junit, sip_trace, save_audio, int(asterisk), database
    )
    code = run_scenarios(wanted, sys.stdout if as_json else None)
    if code == NONE_FOUND:
        click.echo("no scenario was run: their functions must be named test_… or scenario_…, and fit --tag", err=True)
    sys.exit(code)


@scenario.command()
@click.option("--calls", default=100, show_default=True, help="How many.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same calls.")
@click.option("--asterisk", type=_ASTERISK, default="22", show_default=True)
@click.option("--dialplan", type=click.Choice(["freepbx", "plain"]), default="freepbx", show_default=True)
@click.option(
    "--trunk", type=click.Choice(["pjsip", "chan_sip", "iax2"]), default="pjsip", show_default=True,
    help="Driver of the trunks.",
)  # fmt: skip
@click.option("--at-once", default=10, show_default=True, help="Calls side by side, at most 30.")
@click.option("--without", "off", multiple=True, help='A kind to leave out, "consult code"; repeat it for more.')
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Record disagreements there, one a class."
)
@click.option("--cel", is_flag=True, help="Compare as well what CEL alone tells.")
@click.option(
    "--gaps", multiple=True, type=click.Choice(["hub", "line", "pbx"]),
    help="Compare as well what a hub tells while it, its connection or the PBX is interrupted; repeat it.",
)  # fmt: skip
@click.option("--gaps-without-cel", is_flag=True, help="That hub reads no CEL.")
def random(
    calls: int,
    seed: int,
    asterisk: str,
    dialplan: "Dialplan",
    trunk: "TrunkDriver",
    at_once: int,
    off: tuple[str, ...],
    out: Path | None,
    cel: bool,
    gaps: "tuple[Gap, ...]",
    gaps_without_cel: bool,
) -> None:
    """Plays random calls with phones on a real Asterisk and compares what they saw with what the hub tells.

    Ends with 0 when all agree, 1 when one does not.
    """
    _require_parts()
    from pbxhub.testing.pbx.asterisk_install import AsteriskMissingError
    from pbxhub.testing.random_calls.report import Wanted, disagreeing, play_random, summary

    if trunk == "chan_sip" and asterisk != "16":
        raise click.BadParameter("chan_sip is in Asterisk 16 only: add --asterisk 16", param_hint="--trunk")
    wanted = Wanted(
        calls, seed, int(asterisk), dialplan, trunk, min(at_once, 30), off, out, cel, gaps, not gaps_without_cel
    )
    try:
        outcomes = play_random(wanted, click.echo)
    except AsteriskMissingError as error:
        raise click.ClickException(str(error)) from None
    click.echo(summary(outcomes))
    sys.exit(bool(disagreeing(outcomes)))


@click.command()
@click.argument("file", type=_FILE)
def monitor(file: Path) -> None:
    """Runs the scenarios of FILE (TOML) on their schedules and shows metrics; see docs/testing/monitor.md."""
    _require_parts()
    from pbxhub.testing.monitor.plan import PlanError, read_plan
    from pbxhub.testing.monitor.scheduler import run_monitor

    try:
        run_monitor(read_plan(file), lambda address: click.echo(f"metrics: {address}/metrics", err=True))
    except PlanError as error:
        raise click.ClickException(str(error)) from None


def _require_parts() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(f"{', '.join(missing)} not installed: pip install 'pbxhub[testing]'")
