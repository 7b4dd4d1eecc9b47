"""The request of a program that subscribes to a stage: everything that a call can have then, as one flat object."""

from collections.abc import Sequence

from pbxhub.calls.stages import CALL_STAGES, OPTIONAL_STAGES
from pbxhub.webhooks.catalogue import ENTRIES, LATER_STAGES
from pbxhub.webhooks.spec import Filter, Parameter, RequestSpec, Retry, WebhookSpec

SUBSCRIBABLE = (*CALL_STAGES, *OPTIONAL_STAGES, *LATER_STAGES)
_OF_CHAINS = ("response_", "error_")


def whole_event(stage: str, url: str, filters: Sequence[Filter]) -> WebhookSpec:
    """Each parameter that can have a value at this stage, by its name; null without one. Times are in ISO 8601."""
    names = [entry.name for entry in ENTRIES if stage in entry.stages and not entry.name.startswith(_OF_CHAINS)]
    parameters = tuple(Parameter(name, value=f"<<{name}>>") for name in names if name != "details")
    request = RequestSpec(url=url, parameters=parameters, date_format="iso")
    return WebhookSpec(request, filters=tuple(filters), retry=Retry("minutes"))
