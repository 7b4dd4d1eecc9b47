"""Webhooks that a waiting call asks: where the dialplan asks, and what an answer would do."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.pbxs import pbxs_of
from pbxhub.steering.answer import Plan
from pbxhub.store.agi_tokens import Tokens
from pbxhub.webhooks.call_control import plan_of, rules_of
from pbxhub.webhooks.spec import Steering

LONGEST_ANSWER = 64 * 1024  # bytes
_USUAL_PLACE = ("127.0.0.1", 4573)


@dataclass(frozen=True, slots=True)
class Simulated:
    """The steps of a call, or why the answer is refused and the default route taken."""

    steps: tuple[str, ...]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class AskingPlace:
    """The address at which a PBX asks. It holds a token of the PBX: for owners only."""

    name: str
    url: str


def simulate(access: Access, steering: Steering, answer: bytes) -> Simulated:
    """What an answer would do with a waiting call. Nobody is called."""
    found = plan_of(steering, answer[: LONGEST_ANSWER + 1], rules_of(steering, country=access.project.country))
    if isinstance(found, Plan):
        return Simulated(tuple(str(action) for action in found.actions))
    return Simulated((), str(found))


def asking_places(session: Session, access: Access) -> list[AskingPlace]:
    """The address of each PBX of the project for AGI() in its dialplan."""
    tokens = Tokens(access.hub.vault)
    host, port = access.hub.settings.agi or _USUAL_PLACE
    pbxs = pbxs_of(session, access)
    return [AskingPlace(pbx.name, f"agi://{host}:{port}/{tokens.path(pbx)}") for pbx in pbxs]
