"""Names of the hub's codes in the user's language: stages, dispositions, roles, outcomes."""

from dataclasses import replace
from typing import get_args

from flask import Flask, g

from pbxhub.account.audit_log import Action
from pbxhub.sending.outcomes import OUTCOMES, Outcome, describe
from pbxhub.store.accounts import Pbx
from pbxhub.store.accounts import unheard as is_unheard
from pbxhub.web.editor_labels import editor_labels
from pbxhub.web.language import _
from pbxhub.webhooks.catalogue import CHAIN, LATER_STAGES, OTHER_STAGES, QUESTION
from pbxhub.webhooks.rendered_request import SKIPPED
from pbxhub.wsgi.current import now


def install(app: Flask) -> None:
    """Templates write {{ code|stage }}, {{ code|disposition }}, {{ code|role }}, and call outcome(code, status)."""
    app.jinja_env.filters.update(
        stage=stage, disposition=disposition, role=role, pbx_state=pbx_state, unheard=unheard, action=action
    )
    app.jinja_env.globals.update(
        outcome=outcome, all_stages=all_stages, all_reasons=all_reasons, editor_labels=editor_labels
    )


def stage(code: str) -> str:
    """The name of a stage on the pages; events that are not calls keep their own name."""
    if "stage_names" not in g:  # a long list asks for every row
        g.stage_names = all_stages()
    return str(g.stage_names.get(code, code))


def stages() -> dict[str, str]:
    """Every stage of calls with its name, in the order they happen."""
    return {
        "incoming.before": _("Incoming · before the call"),
        "incoming.forward": _("Incoming · forwarded"),
        "incoming.pickup": _("Incoming · picked up"),
        "incoming.after": _("Incoming · after the call"),
        "incoming.evaluation": _("Incoming · evaluated"),
        "incoming.unring": _("Incoming · a phone stopped ringing"),
        "incoming.abandoned": _("Incoming · left a queue"),
        "outgoing.before": _("Outgoing · before the call"),
        "outgoing.pickup": _("Outgoing · answered"),
        "outgoing.after": _("Outgoing · after the call"),
        "internal.before": _("Internal · before the call"),
        "internal.pickup": _("Internal · picked up"),
        "internal.after": _("Internal · after the call"),
        "call.hold": _("Put on hold"),
        "call.unhold": _("Taken back from hold"),
        "call.voicemail": _("Went to voicemail"),
    }


def categories() -> dict[str, str]:
    """The shelves of the gallery, in their order."""
    return {
        "crm": _("Customers (CRM, help desk)"),
        "chat": _("Chats"),
        "table": _("Tables"),
        "analytics": _("Analytics and ads"),
        "automation": _("Automation"),
        "other": _("Anything else"),
    }


def all_stages() -> dict[str, str]:
    """Every stage for which a webhook can be set up, with its name."""
    others = {stage: stage for stage in (*LATER_STAGES, *OTHER_STAGES)}
    return {
        **stages(),
        **others,
        QUESTION: _("A call waits for the answer"),
        CHAIN: _("Only after another event (chain)"),
    }


def disposition(code: str) -> str:
    """How a call ended."""
    return {
        "ANSWERED": _("answered"),
        "PROPER": _("proper"),
        "REPEATED": _("repeated"),
        "NO ANSWER": _("no answer"),
        "BUSY": _("busy"),
        "DECLINE": _("declined"),
        "FAILED": _("failed"),
        "NO-FORWARD": _("not forwarded"),
        "VOICEMAIL": _("voicemail"),
    }.get(code, code.lower())


def role(code: str) -> str:
    """What a member may do."""
    return {"viewer": _("viewer"), "editor": _("editor"), "owner": _("owner")}[code]


def pbx_state(code: str) -> str:
    """The state of the connection to a PBX."""
    return {
        "new": _("not tried yet"),
        "connecting": _("connecting"),
        "refused": _("refused"),
        "connected": _("connected"),
        "lost": _("connection lost"),
    }.get(code, code)


def unheard(pbx: Pbx) -> bool:
    """Whether nothing listens to a PBX that is enabled."""
    return is_unheard(pbx, now())


def action(text: str) -> str:
    """An action of the audit log; an action of another version of the hub stays untranslated."""
    return _(text) if text in get_args(Action) else text


def outcome(code: str, status: int | None = None) -> Outcome:
    """The sentence and hint of an outcome, in the user's language."""
    if code not in OUTCOMES:
        return Outcome(0, code, "", _("Not sent yet."), "", False)
    found = describe(code, status)
    sentence = _(OUTCOMES[code].sentence)
    if found.sentence != OUTCOMES[code].sentence:
        sentence = f"{sentence.removesuffix('.')} ({status})."
    return replace(found, sentence=sentence, hint=_(found.hint) if found.hint else "")


def all_reasons(failures: bool) -> dict[str, str]:
    """Every outcome with its sentence. failures: only those that appear on the error page."""
    left_out = ("ok", "cancelled", SKIPPED) if failures else ()
    return {code: _(one.sentence) for code, one in OUTCOMES.items() if code not in left_out}
