"""The stages as a user chooses among them: in groups, each with a sentence that says when it happens."""

from dataclasses import dataclass

from pbxhub.web.labels import all_stages
from pbxhub.web.language import _
from pbxhub.webhooks.catalogue import CHAIN, QUESTION


@dataclass(frozen=True, slots=True)
class StageChoice:
    """A stage: its name, and when it happens."""

    code: str
    name: str
    when: str


def stage_groups() -> list[tuple[str, list[StageChoice]]]:
    """Every stage for which a webhook can be set up, in the order they happen, under the titles of their groups."""
    names, sentences = all_stages(), _sentences()
    titles = {
        "incoming": _("Incoming calls"), "outgoing": _("Outgoing calls"), "internal": _("Internal calls"),
        "call": _("During and after any call"), "other": _("Not about calls"), "control": _("Controlled by others"),
    }  # fmt: skip
    groups: dict[str, list[StageChoice]] = {group: [] for group in titles}
    for code, name in names.items():
        groups[_group(code)].append(StageChoice(code, name, sentences.get(code, "")))
    return [(titles[group], choices) for group, choices in groups.items()]


def _group(code: str) -> str:
    if code in (CHAIN, QUESTION):
        return "control"
    family = code.split(".")[0]
    return family if family in ("incoming", "outgoing", "internal", "call") else "other"


def _sentences() -> dict[str, str]:
    return {
        "incoming.before": _("The call has reached the PBX; no phone rings yet."),
        "incoming.forward": _("Each time the call is sent to a phone, a queue or another number."),
        "incoming.pickup": _("An employee has answered."),
        "incoming.after": _("The call is over: how it ended, how long it took and who spoke are known."),
        "incoming.evaluation": _("The caller has rated the conversation."),
        "incoming.unring": _("A phone stopped ringing without answering."),
        "incoming.abandoned": _("The caller hung up while waiting in a queue."),
        "outgoing.before": _("An employee has dialled; nobody has answered yet."),
        "outgoing.pickup": _("The other side has answered."),
        "outgoing.after": _("The call is over: how it ended, how long it took and who spoke are known."),
        "internal.before": _("An extension has dialled another one."),
        "internal.pickup": _("The other extension has answered."),
        "internal.after": _("The call between two extensions is over."),
        "call.hold": _("One side has put the other on hold."),
        "call.unhold": _("The conversation goes on after a hold."),
        "call.voicemail": _("The call was sent to voicemail."),
        "call.recording": _("The file of the recording is ready."),
        "call.analysis": _("A program has sent a transcript or an analysis of the call."),
        "call.complete": _("Everything about the call is known: the recording and the analysis are there, or late."),
        "form.sent": _("A visitor of the site has sent a form."),
        "dialog.opened": _("A visitor has opened a chat."),
        "dialog.closed": _("A chat is over."),
        "deal.changed": _("A deal has changed in the CRM."),
        QUESTION: _("The dialplan asks this webhook what to do, while the caller waits."),
        CHAIN: _("Sent only when another webhook names this one as its next."),
    }  # fmt: skip
