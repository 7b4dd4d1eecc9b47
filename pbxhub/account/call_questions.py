"""Webhooks that a waiting call asks: where the dialplan asks, and what an answer would do."""

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.pbxs import pbxs_of
from pbxhub.delivery.read_answer import Reading
from pbxhub.delivery.stage_values import StageValues
from pbxhub.steering.actions import SetVariables
from pbxhub.steering.answer import Plan
from pbxhub.steering.dialplan_text import value_text
from pbxhub.steering.number_rules import Rules
from pbxhub.store.agi_tokens import Tokens
from pbxhub.webhooks.call_control import plan_of, prefer_known, rules_of
from pbxhub.webhooks.spec import Steering

LONGEST_ANSWER = 64 * 1024  # bytes
_USUAL_PLACE = ("127.0.0.1", 4573)


@dataclass(frozen=True, slots=True)
class Simulated:
    """The steps of a call, or why it takes the default route instead. default: the number of that route; "" for the
    dialplan's."""

    steps: tuple[str, ...]
    refused: str = ""
    default: str = ""


@dataclass(frozen=True, slots=True)
class AskingPlace:
    """The address at which a PBX asks. It holds a token of the PBX: for owners only."""

    name: str
    url: str


def simulate(access: Access, steering: Steering, answer: bytes) -> Simulated:
    """What an answer would do with a waiting call. Nobody is called."""
    return _followed(steering, answer, rules_of(steering, country=access.project.country))


def what_follows(access: Access, steering: Steering, values: StageValues, body: bytes, reading: Reading) -> Simulated:
    """What the PBX would do with the call of these values after this answer, by the rules of a real question."""
    own = frozenset(filter(None, (values.call.dst,)))
    rules = rules_of(steering, own, access.project.country)
    settled = prefer_known(steering, rules, str(values.get("responsible") or ""))
    if not reading.ok:
        return Simulated((), reading.sentence, settled.default)
    found = _followed(settled, body, rules)
    saved = reading.values.get("webhook.saved")
    if found.refused or not isinstance(saved, dict) or not saved:
        return found
    told = SetVariables(tuple((name, value_text(value)) for name, value in saved.items()))
    return replace(found, steps=(str(told), *found.steps))


def _followed(steering: Steering, answer: bytes, rules: Rules) -> Simulated:
    found = plan_of(steering, answer[: LONGEST_ANSWER + 1], rules)
    if isinstance(found, Plan):
        return Simulated(tuple(str(action) for action in found.actions), default=steering.default)
    return Simulated((), str(found), steering.default)


def asking_places(session: Session, access: Access) -> list[AskingPlace]:
    """The address of each PBX of the project for AGI() in its dialplan."""
    tokens = Tokens(access.hub.vault)
    host, port = access.hub.settings.agi or _USUAL_PLACE
    pbxs = pbxs_of(session, access)
    return [AskingPlace(pbx.name, f"agi://{host}:{port}/{tokens.path(pbx)}") for pbx in pbxs]
