"""Projects: who may make one."""

from sqlalchemy.orm import Session

from pbxhub.account.access import may_operate
from pbxhub.account.operators import operators_of
from pbxhub.account.refusals import Refusal
from pbxhub.sentences import say
from pbxhub.settings import Settings

_MOST_NAMED = 3


def refuse_new_project(session: Session, operator: bool, settings: Settings) -> Refusal | None:
    """Why a user may not make a project: only operators may, unless PBXHUB_PROJECTS says everyone."""
    if may_operate(operator, "projects.add", settings):
        return None
    known = ", ".join(user.email for user in operators_of(session)[:_MOST_NAMED])
    return Refusal(
        "",
        say("On this hub the operator makes the projects."),
        say("Ask %(who)s to make one for you.", who=known),
    )
