"""What the webhooks of a project would send for a played call, stage by stage, and why some would not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.played_calls import PlayedStage
from pbxhub.account.preview import Preview, Tried, rendered_for, test_send
from pbxhub.account.sample_calls import chosen_values
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.calls.stages import OPTIONAL_STAGES
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.matching import compile_filters, value_met
from pbxhub.webhooks.spec import Filter, dump_spec


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A webhook of a stage. refused_by: the first of its filters that does not hold, and the value that it met."""

    webhook: Webhook
    preview: Preview | None
    refused_by: Filter | None = None
    met: object = None

    @property
    def is_sendable(self) -> bool:
        return self.preview is not None and self.preview.request is not None


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage of a played call with every webhook that waits for it, in the order of sending."""

    name: str
    after: timedelta
    sample: str
    requests: tuple[PlannedRequest, ...]


def plan_requests(session: Session, access: Access, stages: Sequence[PlayedStage]) -> list[PlannedStage]:
    """What would leave at each stage. Webhooks that are switched off are left out, and so are stages that are reported
    only while a webhook waits for them, where none does."""
    switched_on = [row for row in live_webhooks(session, access) if row.enabled]
    waited_for = {row.stage for row in switched_on}
    return [
        PlannedStage(
            stage.name, stage.after, stage.sample,
            tuple(_planned(session, access, row, stage) for row in switched_on if row.stage == stage.name),
        )
        for stage in stages
        if stage.name not in OPTIONAL_STAGES or stage.name in waited_for
    ]  # fmt: skip


def send_played(session: Session, access: Access, webhook: Webhook, sample: str) -> Tried:
    """Sends the request of a webhook for a stage of a played call, marked as a test, and reads the answer."""
    return test_send(session, access, as_data(webhook, sample), webhook)


def as_data(webhook: Webhook, sample: str) -> dict[str, Any]:
    """A saved webhook as the editor would send it, for previews. sample: which call."""
    own = {"id": webhook.id, "name": webhook.name, "stage": webhook.stage, "enabled": webhook.enabled}
    return {**own, "spec": dump_spec(webhook.spec), "sample": sample}


def _planned(session: Session, access: Access, webhook: Webhook, stage: PlayedStage) -> PlannedRequest:
    values = chosen_values(session, access, stage.name, stage.sample, webhook.name)
    for each in webhook.spec.filters:
        if not compile_filters(replace(webhook.spec, filters=(each,)), access.calendar).matches(values):
            return PlannedRequest(webhook, None, each, value_met(each, values))
    return PlannedRequest(webhook, rendered_for(session, access, as_data(webhook, stage.sample), webhook))
