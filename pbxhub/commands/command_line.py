"""What commands for operators have in common: on whose behalf they act, and how they say that something was refused."""

from typing import TYPE_CHECKING, TypeVar, cast

import click

if TYPE_CHECKING:
    from pbxhub.account.access import HubAccess
    from pbxhub.account.refusals import Refusal
    from pbxhub.hub_database import HubDatabase

T = TypeVar("T")


def by_command_line(hub: "HubDatabase") -> "HubAccess":
    """The person on the server, with the rights of an operator."""
    from pbxhub.account.access import CommandLine, HubAccess

    return HubAccess(CommandLine(), hub, operator=True)


def accepted(found: "T | Refusal | list[Refusal]") -> T:
    """What was made; ends the command when it was refused."""
    from pbxhub.account.refusals import Refusal

    if isinstance(found, Refusal):
        raise click.ClickException(found.text)
    if isinstance(found, list) and found:
        raise click.ClickException("\n".join(f"{refusal.path}: {refusal.text}" for refusal in found))
    return cast(T, found)
