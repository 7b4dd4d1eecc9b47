"""A real Asterisk for trying by hand (make pbx), and a call on it without a phone of one's own."""

import shlex
import signal
import sys
from types import FrameType

import click

from pbxhub.testing.pbx.asterisk import HUB_USER, INCOMING_CONTEXT, PASSWORD, Asterisk, running_asterisk
from pbxhub.testing.pbx.asterisk_install import AsteriskMissingError
from pbxhub.testing.phones.baresip import PhoneFailedError
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.processes import ProgramMissingError
from pbxhub.testing.waiting import wait

_NETWORK = "127.22.0"
_EXPLANATION = """
Asterisk {pbx.version} is up with asterisk-conf/ included. Ctrl-C ends it and removes its files.

  AMI       {pbx.host} port {pbx.port}, user {user}, secret {secret}, incoming context {context}
  CEL       {pbx.cel_database}
  phones    101 to 110, password {secret}, SIP server {pbx.address}
  DIDs      5550100 phone 101 · 5550102 ring group · 5550103 queue · 5550105 evaluation after the call
            5550109 recorded · more in pbxhub/testing/pbx/asterisk_lab/extensions.conf
  outside   addresses {net}.2 to {net}.63 are the outside world; from a phone dial 15550001 to reach it
  console   {console}

Next, each in another terminal, in this folder:

  {pbxhub} pbx add --host {pbx.host} --username {user} --secret {secret} --cel {pbx.cel_database}
  {pbxhub} run
  {python} -m pbxhub.testing.pbx.asterisk_by_hand call

The last one calls 5550100 from outside, phone 101 answers, they talk for 5 seconds; see the stages on the hub's pages.
With a SIP phone of your own as 101: add --no-answer, and answer it yourself.
"""


@click.group(invoke_without_command=True)
@click.option("--version", type=click.Choice(["22", "20", "18", "16"]), default="22", show_default=True)
@click.pass_context
def main(context: click.Context, version: str) -> None:
    """Runs an Asterisk of its own until Ctrl-C."""
    if context.invoked_subcommand:
        return
    signal.signal(signal.SIGTERM, _stop)
    click.echo(f"starting Asterisk {version}; the first time it is downloaded, that takes a minute …")
    try:
        with running_asterisk(int(version), _NETWORK) as pbx:
            click.echo(_explain(pbx))
            signal.pause()
    except (AsteriskMissingError, ProgramMissingError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("stopped")


@main.command()
@click.option("--pbx", "network", default=f"{_NETWORK}.1", show_default=True, help="The address make pbx has shown.")
@click.option("--did", default="5550100", show_default=True)
@click.option("--caller", default="79161234567", show_default=True)
@click.option("--talk", default="5s", show_default=True, help="How long they talk.")
@click.option("--no-answer", is_flag=True, help="No phone is started for 101: a phone of your own answers.")
def call(network: str, did: str, caller: str, talk: str, no_answer: bool) -> None:
    """Calls a DID from outside; phone 101 answers."""
    prefix = network.rpartition(".")[0]
    try:
        with Agent(caller, network, address=f"{prefix}.2") as outside:
            if no_answer:
                _talk(outside, did, talk)
                return
            with Agent("101", network, PASSWORD, address=f"{prefix}.101", auto_answer=True):
                _talk(outside, did, talk)
    except (PhoneFailedError, ProgramMissingError) as error:
        raise click.ClickException(str(error)) from None
    except AssertionError as error:
        raise click.ClickException(f"{error}; is make pbx running?") from None


def _talk(outside: Agent, did: str, talk: str) -> None:
    click.echo(f"{outside.username} calls {did} …")
    outside.dial(did)
    outside.await_established("30s")
    click.echo(f"answered; they talk for {talk}")
    wait(talk)
    if outside.state != "closed":
        outside.hangup()
    click.echo("hung up")


def _explain(pbx: Asterisk) -> str:
    console = pbx.folder / "console"
    command = shlex.join(pbx.installation.command("-C", str(pbx.folder / "etc/asterisk.conf"), "-rvvv"))
    console.write_text(f"#!/bin/sh\nexec {command}\n")
    console.chmod(0o700)
    return _EXPLANATION.format(
        pbx=pbx, user=HUB_USER, secret=PASSWORD, context=INCOMING_CONTEXT, net=pbx.network.prefix, console=console,
        python=sys.executable, pbxhub=f"{sys.executable} -m pbxhub",
    )  # fmt: skip


def _stop(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
