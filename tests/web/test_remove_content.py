"""An owner removes for good what deliveries and calls contain; the trace says when, where to, how it ended, and who."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import delete, insert, select, update

from pbxhub.store.accounts import AuditEntry
from pbxhub.store.api import KeptAnswer
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.events import EventRow
from pbxhub.store.history import Call, CallEvents, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.questions import Question
from pbxhub.store.resends import BeforeResend
from pbxhub.store.session import Base, Database
from pbxhub.store.webhooks import touch_webhooks
from pbxhub.wsgi.current import now
from tests.support.made_failures import Failures
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]
MARK = "Zoriana-7f3a"  # what a person said, wherever the hub may keep it
ANOTHER = "+380509990000"


@pytest.fixture
def made(database: Database, people: People) -> Failures:
    """Three calls of one caller, and one of another; everything about them contains MARK."""
    found = Failures(database, people.project)
    found.add(now(), "one", "two", "three")
    found.add(now(), "other", caller=ANOTHER)
    headers, value = [["X-Name", MARK]], {"name": MARK}
    with database.write() as session:
        session.execute(
            update(Delivery).values(
                url=f"https://crm.example.com/{MARK}?name={MARK}", headers=headers, body=MARK.encode(), message=MARK,
                files=[[0, MARK, "raw", 5]],
            )
        )  # fmt: skip
        session.execute(update(Call).values(data=value, answers=value, caller_name=MARK))
        session.execute(update(StageEvent).values(data=value))
        for linkedid, one in found.ids.items():
            session.add(
                Attempt(
                    delivery_id=one, number=1, started_on=now(), finished_on=now(), outcome="http_5xx", message=MARK,
                    status_code=500, request_headers=headers, response_headers=headers, response_body=MARK.encode(),
                )
            )  # fmt: skip
            session.add(
                BeforeResend(
                    delivery_id=one, state="failed", lane=1, due_at=now(), tries=1, outcome="http_5xx", message=MARK,
                    url=f"https://{MARK}.example", headers=headers, body=MARK.encode(), files=[],
                )
            )  # fmt: skip
            session.add(Question(delivery_id=one, line=0, steps=[{"step": MARK, "result": "ANSWER"}]))
            session.add(CallEvents(id=new_id(), pbx_id=found.pbx, linkedid=linkedid, recorded=MARK.encode()))
            session.add(
                OrderedCall(
                    id=new_id(), project_id=people.project, name=MARK, mobile_number="1", agent_id="101", custom=value,
                    status="completed", call_id=one, transcript=MARK, analysis=value, callback_headers=value,
                    callback_params=value, created_on=now(),
                )
            )  # fmt: skip
            answer = f'{{"id": "{one}", "url": "https://crm.example.com/{MARK}"}}'.encode()
            session.add(
                KeptAnswer(
                    project_id=people.project, key=linkedid, request_hash="x", status=202, body=answer, created_on=now()
                )
            )
            event = {"project_id": people.project, "call_id": one, "type": "call_stage", "xid": 0, "data": value}
            session.execute(insert(EventRow).values(**event, created_on=now()))
        touch_webhooks(session, people.project)
    return found


def kept(database: Database, made: Failures, *names: str) -> Iterator[str]:
    """Tables that still contain MARK, and belong to these calls or deliveries, which have the same ids."""
    rows = [made.ids[name] for name in names]
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(select(table)).mappings():
                text = str(list(row.values()))
                if MARK in text and (any(str(one) in text for one in rows) or row.get("linkedid") in names):
                    yield table.name


def test_of_one_delivery_only_the_trace_stays(
    database: Database, people: People, made: Failures, signed_in: SignedIn
) -> None:
    owner, root, one = signed_in("owner"), f"/projects/{people.project}", made.ids["one"]
    with database.write() as session:  # of the call: it stays
        session.execute(update(Call).values(caller_name="", data={}))
    asked = owner.post(f"{root}/content/preview", {"id": str(one)})
    assert "Nobody can bring it back" in asked.text
    assert MARK in owner.get(f"{root}/deliveries/{one}").text
    owner.post(f"{root}/content/remove", {"id": str(one)})
    page = owner.get(f"{root}/deliveries/{one}").text
    assert "Its content was removed for good." in page
    assert "owner@example.com" in page
    assert MARK not in page
    with database.read() as session:
        row = session.get_one(Delivery, one)
        assert (row.url, row.status_code, row.outcome) == ("https://crm.example.com", 500, "http_5xx")
        assert row.content_removed_by == "owner@example.com"
        assert session.scalars(select(AuditEntry.subject)).all() == [f"1 deliveries: {one}"]
    assert set(kept(database, made, "one")) == {"stage_event", "call_events", "event", "ordered_call"}


def test_of_a_caller_nothing_stays_but_of_others_everything(
    database: Database, people: People, made: Failures, signed_in: SignedIn
) -> None:
    owner, root = signed_in("owner"), f"/projects/{people.project}"
    form = {"number": "067 000-00-01", "calls": "1"}
    assert "3 deliveries" in owner.post(f"{root}/content/preview", form).text
    answer = owner.post(f"{root}/content/remove", form, follow_redirects=True)
    assert "Deliveries: 3, calls: 3." in answer.text
    assert list(kept(database, made, "one", "two", "three")) == []
    assert len(list(kept(database, made, "other"))) == 10
    card = owner.get(f"{root}/calls/{made.ids['one']}").text
    assert "The values and events of this call were removed for good." in card
    assert MARK not in card
    with database.read() as session:
        assert "067" not in str(session.scalars(select(AuditEntry.subject)).all())
    assert "Deliveries: 0, calls: 0." in owner.post(f"{root}/content/remove", form, follow_redirects=True).text


def test_what_is_still_to_be_sent_stays_and_says_so(
    database: Database, people: People, made: Failures, signed_in: SignedIn
) -> None:
    owner, root = signed_in("owner"), f"/projects/{people.project}"
    waits, live = made.ids["one"], made.ids["two"]
    with database.write() as session:
        session.execute(update(Delivery).where(Delivery.id == waits).values(state="pending"))
        session.execute(update(Call).where(Call.id == live).values(ended_on=None))
    for one in (waits, live):
        refused = owner.post(f"{root}/content/preview", {"id": str(one)}, follow_redirects=True)
        assert "It is still to be sent, or its call is going on" in refused.text
    form = {"number": "+380670000001", "calls": "1"}
    assert "2 deliveries are still to be sent" in owner.post(f"{root}/content/preview", form).text
    answer = owner.post(f"{root}/content/remove", form, follow_redirects=True)
    assert "Deliveries: 1, calls: 1." in answer.text
    assert "left as they are: 2." in answer.text
    for name in ("one", "two"):
        assert len(list(kept(database, made, name))) == 10


def test_what_was_removed_is_sent_again_only_with_the_current_settings_and_the_values_of_its_call(
    database: Database, people: People, made: Failures, signed_in: SignedIn
) -> None:
    owner, root, one, two = signed_in("owner"), f"/projects/{people.project}", made.ids["one"], made.ids["two"]
    with database.write() as session:
        session.execute(delete(Question))  # a question is never asked again
    owner.post(f"{root}/content/remove", {"id": str(one)})
    owner.post(f"{root}/content/remove", {"call": str(two), "calls": "1"})
    assert "exactly as it was" not in owner.get(f"{root}/deliveries/{one}").text
    answer = owner.post(f"{root}/errors/send/{one}", {"current": "0"}, follow_redirects=True)
    assert "it can only be sent with the current settings" in answer.text
    answer = owner.post(f"{root}/errors/send/{two}", {"current": "1"}, follow_redirects=True)
    assert "The content of its call was removed" in answer.text
    answer = owner.post(f"{root}/errors/send/{one}", {"current": "1"}, follow_redirects=True)
    assert "It is being sent again." in answer.text
    with database.read() as session:
        row = session.get_one(Delivery, one)
        assert (row.state, row.content_removed_on, row.url) == ("pending", None, "https://example.com/")


def test_the_caller_of_a_search_is_offered_only_if_something_of_a_caller_is_found(
    database: Database, people: People, made: Failures, signed_in: SignedIn
) -> None:
    owner, root = signed_in("owner"), f"/projects/{people.project}"
    with database.write() as session:
        session.execute(update(Call).values(person=Call.caller))
    for number, offered in (("0670000001", True), ("380441234567", False), ("0000001", False)):  # a DID, an end
        page = owner.get(f"{root}/deliveries?number={number}").text
        assert (str(made.ids["one"]) in page, "Remove all content of this caller" in page) == (True, offered)


def test_only_an_owner_may_and_only_what_is_clear(
    database: Database, people: People, made: Failures, signed_in: SignedIn
) -> None:
    root, one = f"/projects/{people.project}", str(made.ids["one"])
    for path in ("preview", "remove"):
        assert signed_in("stranger").post(f"{root}/content/{path}", {"id": one}).status_code == 404
        assert signed_in("editor").post(f"{root}/content/{path}", {"id": one}).status_code == 403
        for wrong in ({}, {"id": "x"}, {"id": one, "number": "1"}, {"call": one, "number": "1"}):
            assert signed_in("owner").post(f"{root}/content/{path}", wrong).status_code == 400
    owner = signed_in("owner")
    assert owner.post(f"{root}/content/preview", {"id": str(new_id())}).status_code == 404
    assert "Remove content" not in signed_in("editor").get(f"{root}/deliveries/{one}").text
    theirs = Failures(database, people.other)
    theirs.add(now(), "theirs")
    owner.post(f"{root}/content/remove", {"id": str(theirs.ids["theirs"])})
    with database.read() as session:
        assert session.get_one(Delivery, theirs.ids["theirs"]).content_removed_on is None
