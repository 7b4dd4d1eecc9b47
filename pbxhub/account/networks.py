"""Networks of a project, granted by operators: where its PBXs may be, and which allowed ones its webhooks may reach."""

import ipaddress
from dataclasses import dataclass

from sqlalchemy.orm import Session

from pbxhub.account.access import HubAccess
from pbxhub.account.audit_log import note_of_hub
from pbxhub.account.refusals import Refusal
from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import Project
from pbxhub.store.webhooks import touch_webhooks
from pbxhub.translatable import say

_MOST = 100


@dataclass(frozen=True, slots=True)
class Grant:
    """pbxs: any networks, written 10.0.0.0/8. webhooks: of PBXHUB_ALLOWED_NETWORKS; None = all of them."""

    pbxs: tuple[str, ...]
    webhooks: tuple[str, ...] | None


def grant_networks(session: Session, by: HubAccess, project: Project, grant: Grant) -> list[Refusal]:
    """Gives a project its networks, or changes nothing and returns why not. Of the networks for webhooks those are kept
    that PBXHUB_ALLOWED_NETWORKS has."""
    wrong = next((text for text in grant.pbxs if not _is_network(text)), None)
    if wrong is not None or len(grant.pbxs) > _MOST:
        return [
            Refusal(
                "pbx_networks",
                say("%(text)s is not a network.", text=wrong or ", ".join(grant.pbxs)),
                say("Give networks like 192.168.10.0/24, one per line; 100 at most."),
            )
        ]
    before = _shown(project)
    project.pbx_networks = list(grant.pbxs)
    known = {str(network) for network in by.hub.settings.allowed_networks}
    project.webhook_networks = None if grant.webhooks is None else [text for text in grant.webhooks if text in known]
    touch_webhooks(session, project.id)
    note_of_hub(session, by, "networks granted", project.name, before, _shown(project), project.id)
    return []


def _shown(project: Project) -> dict[str, JSON]:
    """What the log says of the networks."""
    webhooks = project.webhook_networks
    return {
        "pbx_networks": ", ".join(project.pbx_networks),
        "webhook_networks": "all" if webhooks is None else ", ".join(webhooks),
    }


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
