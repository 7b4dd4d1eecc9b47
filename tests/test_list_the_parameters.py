"""A user looks for a parameter: the list, the documentation and the code say the same."""

from datetime import UTC, datetime
from pathlib import Path

from pbxhub.calls.tracker import Tracker
from pbxhub.webhooks import params
from pbxhub.webhooks.catalogue import ENTRIES, FAMILIES, STAGES
from pbxhub.webhooks.template import compile_template
from pbxhub.webhooks.value_filters import FILTERS
from tests.support.parameters_page import page
from tests.support.recordings import messages_of, scenarios

HERE = Path(__file__).parent
FAMILY_NAMES = (
    "var.CAMPAIGN", "attr.roistat", "custom.order_id", "custom.a.b[0]", "form.email", "dialog.operator", "deal.amount",
    "webhook.status", "webhook.json.a.b[0].c", "webhook.headers.x-id", "webhook.saved.CALL_ID",
)  # fmt: skip


def test_the_catalogue_has_exactly_the_names_that_are_promised() -> None:
    promised = (HERE / "catalogue_names.txt").read_text().split()
    assert sorted(params.names()) == sorted(promised)
    assert len(set(promised)) == len(promised)


def test_the_page_of_the_documentation_is_the_catalogue() -> None:
    written = (HERE.parent / "docs" / "parameters.md").read_text("utf-8")
    assert written == page(), "renew it: python -m tests.support.parameters_page > docs/parameters.md"
    for name in (*params.names(), *FILTERS, *STAGES):
        assert f"`{name}" in written


def test_every_name_and_family_is_accepted_in_a_template() -> None:
    for name in (*params.names(), *FAMILY_NAMES):
        (slot,) = compile_template(f"<<{name}>>").slots
        assert slot.name == params.canonical(name)


def test_every_entry_says_what_it_is() -> None:
    for entry in (*ENTRIES, *FAMILIES):
        assert entry.meaning
        assert entry.example
        assert entry.source
        assert entry.stages
        assert set(entry.stages) <= set(STAGES)


def test_a_parameter_exists_at_the_stages_of_the_catalogue() -> None:
    assert params.exists_at("caller", "incoming.before")
    assert not params.exists_at("billsec", "incoming.before")
    assert params.exists_at("billsec", "outgoing.after")
    assert params.exists_at("evaluation_mark", "incoming.evaluation")
    assert params.exists_at("form.email", "form.sent")
    assert not params.exists_at("form.email", "incoming.after")
    assert params.exists_at("billsec", "chain")


def test_the_end_of_a_call_has_every_value_that_the_call_has_had() -> None:
    """Otherwise the editor marks a parameter that is sent, and the sample shows null for it."""
    ended: set[str] = set()
    for name in scenarios("22"):
        tracker, known = Tracker(), dict[str, set[str]]()
        for message in messages_of("22", name):
            for told in tracker.feed(message):
                values = known.setdefault(told.linkedid, set())
                values.update(told.values, *(stage.values for stage in told.stages))
                if told.ended_on and told.direction != "internal":
                    ended |= values
    assert {"billsec", "answer_time", "evaluation_mark", "forward_to", "queue", "hangup_by"} <= ended
    catalogued = {entry.name for entry in ENTRIES}
    only_of_a_moment = {"ring_status"}
    lacking = {one for one in ended & catalogued - only_of_a_moment if not params.exists_at(one, "call.complete")}
    assert lacking == set()


def test_stored_values_get_their_times_back() -> None:
    stored = {"calldate": "2026-05-14T10:30:10+00:00", "caller_name": "2026-05-14T10:30:10+00:00", "end_time": "soon"}
    assert params.from_json(stored) == {
        "calldate": datetime(2026, 5, 14, 10, 30, 10, tzinfo=UTC),
        "caller_name": "2026-05-14T10:30:10+00:00",
        "end_time": "soon",
    }
