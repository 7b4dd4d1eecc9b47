"""An editor sees which webhooks sent nothing, for a call or in a period, by which condition, and sends it after all."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import event, select, update

from pbxhub.account import unsent
from pbxhub.delivery.outbox import step_resends
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.resends import Resend
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import Filter, Parameter, RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

REQUEST = RequestSpec(url="https://crm.example.com/", parameters=(Parameter("phone", value="<<caller>>"),))
ONLY_MISSED = (Filter("disposition", "equals", "NO ANSWER"),)


@pytest.fixture
def paths(database: Database, people: People) -> tuple[str, str]:
    """The page of an answered call, and the address that sends its end to a webhook for missed calls."""
    project = people.project
    with database.write() as session:
        call = Call(id=new_id(), project_id=project, linkedid="1.1", direction="incoming", caller="+380671112233",
                    dst="2", started_on=now(), ended_on=now(), disposition="ANSWERED", data={})  # fmt: skip
        hooks = [
            Webhook(project_id=project, name=name, stage="incoming.after", enabled=on, created_on=now(),
                    spec=WebhookSpec(REQUEST, filters))
            for name, on, filters in (("Missed", True, ONLY_MISSED), ("Newer", True, ()), ("Off", False, ()))
        ]  # fmt: skip
        session.add_all([call, *hooks])
        session.flush()
        stage = StageEvent(id=new_id(), project_id=project, call_id=call.id, stage="incoming.after", key="", ordinal=1,
                           created_on=now(), data={"disposition": "ANSWERED", "caller": call.caller})  # fmt: skip
        session.add(stage)
        session.flush()
        page = f"/projects/{project}/calls/{call.id}"
        return page, f"{page}/stages/{stage.id}/send/{hooks[0].id}"


def test_the_condition_is_named_and_the_stage_is_sent_once(
    database: Database, paths: tuple[str, str], signed_in: Callable[[str], Browser]
) -> None:
    page, send = paths
    editor = signed_in("editor")
    text = " ".join(editor.get(page).text.split())
    assert "2 webhooks sent nothing" in text
    assert "A condition does not hold: <code>disposition</code>" in text
    assert "it is “ANSWERED”" in text
    assert "added, changed or switched on after this call" in text
    assert "It is being sent." in editor.post(send, follow_redirects=True).text
    assert "has got this stage already" in editor.post(send, follow_redirects=True).text
    with database.read() as session:
        rows = session.scalars(select(Delivery)).all()
        assert [(row.state, row.body) for row in rows] == [("pending", b'{"phone":"+380671112233"}')]
    assert "1 webhook sent nothing" in editor.get(page).text


def test_a_viewer_and_a_wrong_webhook_get_nothing(
    database: Database, people: People, paths: tuple[str, str], signed_in: Callable[[str], Browser]
) -> None:
    page, send = paths
    viewer, editor = signed_in("viewer"), signed_in("editor")
    assert "sent nothing" not in viewer.get(page).text
    assert viewer.post(send).status_code == 403
    assert signed_in("stranger").post(send).status_code == 404
    with database.write() as session:
        other = Webhook(project_id=people.project, name="Before", stage="incoming.before", created_on=now(),
                        spec=WebhookSpec(REQUEST))  # fmt: skip
        session.add(other)
        session.flush()
        wrong = f"{send.rpartition('/')[0]}/{other.id}"
        off = session.scalars(select(Webhook.id).where(Webhook.name == "Off")).one()
    editor.get(page)
    assert editor.post(wrong).status_code == 404
    assert "enable it first" in editor.post(f"{send.rpartition('/')[0]}/{off}", follow_redirects=True).text


def test_many_webhooks_cost_the_page_little(
    database: Database, people: People, paths: tuple[str, str], signed_in: Callable[[str], Browser]
) -> None:
    """Each value is looked up once for the stage, however many conditions of however many webhooks ask for it."""
    filters = (Filter("last_employee", "equals", "999"), Filter("call_counter", "greater", "99999"))
    asked, editor = list[str](), signed_in("editor")
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    editor.get(paths[0])
    few = len(asked)
    with database.write() as session:
        session.add_all(
            Webhook(project_id=people.project, name=f"W{number}", stage="incoming.after", created_on=now(),
                    spec=WebhookSpec(REQUEST, filters))
            for number in range(40)
        )  # fmt: skip
    asked.clear()
    text = " ".join(editor.get(paths[0]).text.split())
    assert "42 webhooks sent nothing" in text
    assert "and 22 more" in text
    assert text.count("Send it after all") == 20
    assert len(asked) <= few + 15


@pytest.mark.slow
def test_what_a_webhook_has_not_sent_of_a_period_is_counted_explained_and_ordered_once(
    database: Database, people: People, paths: tuple[str, str], signed_in: Callable[[str], Browser]
) -> None:
    missed = f"/projects/{people.project}/webhooks/{paths[1].rpartition('/')[2]}/missing"
    editor, viewer = signed_in("editor"), signed_in("viewer")
    text = " ".join(editor.get(missed).text.split())
    assert "1 stage has no request of this webhook." in text
    assert "Its conditions accept 0 of the newest 1." in text
    assert "it is “ANSWERED”" in text
    assert "Nothing is missing" in editor.get(f"{missed}?to=2026-01-01T00:00").text
    assert viewer.get(missed).status_code == 403
    moments = dict(re.findall(r'name="(since|until)" value="([^"]+)"', editor.get(missed).text))
    sent = editor.post(missed, {**moments, "rate": "5", "refused": "1"}, follow_redirects=True)
    assert "1 are being sent." in sent.text
    assert "Sending what was missing: 0 of 1" in sent.text
    with database.read() as session:
        order = session.scalars(select(Resend)).one()
        assert (order.adds, order.rate, order.total) == (True, 5, 1)
        off = session.scalars(select(Webhook.id).where(Webhook.name == "Off")).one()
    switched_off = f"{missed.rpartition('/webhooks/')[0]}/webhooks/{off}/missing"
    assert "Switch it on first" in editor.get(switched_off).text
    assert "Switch it on first" in editor.post(switched_off, moments, follow_redirects=True).text
    for _more in range(4):
        editor.post(missed, moments)
    assert "5 such orders are running already." in editor.post(missed, moments, follow_redirects=True).text
    again = {"all": "1", "seen": moments["until"]}
    sent = editor.post(f"/projects/{people.project}/errors/send", again, follow_redirects=True)
    assert "5 such orders are running already." in sent.text
    never = {"since": moments["until"], "until": moments["since"]}
    assert "Nothing is missing in this time." in editor.post(missed, never, follow_redirects=True).text
    assert "Requests are kept for" not in editor.get(missed).text
    assert "Requests are kept for 30 days." in editor.get(f"{missed}?from=2026-01-01T00:00").text


def test_an_order_is_shown_and_can_be_stopped_until_nothing_of_it_waits(
    database: Database, app: Flask, people: People, paths: tuple[str, str], signed_in: Callable[[str], Browser]
) -> None:
    """A paused webhook sends nothing, so everything is queued and nothing has left."""
    webhook, editor = paths[1].rpartition("/")[2], signed_in("editor")
    with database.write() as session:
        session.execute(update(Webhook).where(Webhook.id == int(webhook)).values(paused_on=now(), paused_reason="x"))
    missed = f"/projects/{people.project}/webhooks/{webhook}/missing"
    page = editor.get(missed).text
    assert "The webhook is paused: what you send waits until it is resumed." in page
    editor.post(missed, {**dict(re.findall(r'name="(since|until)" value="([^"]+)"', page)), "refused": "1"})
    step_resends(app.extensions["pbxhub"].context, now() + timedelta(seconds=9))
    errors = f"/projects/{people.project}/errors"
    text = " ".join(editor.get(errors).text.split())
    assert "Sending what was missing: 1 of 1" in text
    assert "1 has not left yet" in text
    assert "1 waits until its webhook is resumed" in text
    (stop,) = set(re.findall(rf'action="({errors}/resends/[^"]+/stop)"', text))
    text = editor.post(stop, follow_redirects=True).text
    assert "Stopped. What had not left is not sent: it is missing again." in text
    assert "Sending what was missing" not in text
    with database.read() as session:
        assert session.scalars(select(Delivery)).all() == []


def test_of_a_call_whose_requests_may_be_deleted_already_nothing_is_said(
    database: Database, paths: tuple[str, str], signed_in: Callable[[str], Browser]
) -> None:
    page, send = paths
    editor = signed_in("editor")
    with database.write() as session:
        session.execute(update(StageEvent).values(created_on=now() - timedelta(days=31)))
    assert "sent nothing" not in editor.get(page).text
    assert "ANSWERED" not in editor.get(f"{page.partition('/calls/')[0]}/unsent?from=2026-01-01T00:00").text
    assert (
        "Requests are kept for 30 days: this one may have been sent." in editor.post(send, follow_redirects=True).text
    )


@pytest.mark.slow
def test_the_stages_that_no_webhook_took_are_listed_and_several_are_sent_after_all(
    database: Database, people: People, paths: tuple[str, str], signed_in: Callable[[str], Browser]
) -> None:
    page = f"/projects/{people.project}/unsent"
    editor, viewer = signed_in("editor"), signed_in("viewer")
    text = " ".join(editor.get(page).text.split())
    assert "Requests are kept for" not in text
    assert "Requests are kept for 30 days." in editor.get(f"{page}?last=").text
    assert "it is “ANSWERED”" in text
    assert "added, changed or switched on after this call" in text
    assert "It is switched off now." in text
    assert "+380671112233" not in editor.get(f"{page}?to=2026-01-01T00:00").text
    seen = " ".join(viewer.get(page).text.split())
    assert "A condition does not hold: <code>disposition</code> </span>" in seen
    assert "ANSWERED" not in seen
    assert 'name="which"' not in seen
    choices = re.findall(r'name="which"\s+value="([^"]+)"', editor.get(page).text)
    assert len(choices) == 3
    assert viewer.post(page, {"which": choices}).status_code == 403
    assert [editor.post(page, {"which": wrong}).status_code for wrong in ("", "x", f"{new_id()}:1")] == [400, 400, 404]
    sent = editor.post(f"{page}?last=7d&project_id=7&_scheme=x", {"which": choices}, follow_redirects=True).text
    assert "2 are being sent." in sent
    assert "enable it first" in sent
    assert "+380671112233" not in sent
    with database.read() as session:
        assert len(session.scalars(select(Delivery)).all()) == 2


def test_a_page_looks_through_so_many_stages_and_the_next_one_goes_on(
    database: Database, people: People, paths: tuple[str, str], signed_in: Callable[[str], Browser],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Also the value of a condition is written as conditions write it: false, not False."""
    monkeypatch.setattr(unsent, "MOST_EXAMINED", 2)
    page, editor = f"/projects/{people.project}/unsent", signed_in("editor")
    with database.write() as session:
        call, old = session.scalars(select(Call)).one(), session.scalars(select(StageEvent)).one()
        hook = session.scalars(select(Webhook).where(Webhook.name == "Missed")).one()
        hook.spec = WebhookSpec(REQUEST, (Filter("is_answered", "equals", "false"),))
        old.data = {"is_answered": True, "caller": call.caller}
        later = [
            StageEvent(id=new_id(), project_id=people.project, call_id=call.id, stage=stage, key=str(number),
                       ordinal=number, created_on=now(), data={})
            for number, stage in enumerate(("incoming.after", "incoming.after", "incoming.before"), 2)
        ]  # fmt: skip
        session.add_all(later)
        session.flush()
        session.add_all(
            Delivery(id=new_id(), project_id=people.project, webhook_id=hook.id, webhook_revision=1,
                     stage_event_id=event.id, call_id=call.id, state="delivered", lane=1, due_at=now(),
                     method="POST", url="https://crm.example.com/", headers=[], body=b"", created_on=now())
            for event in later[:2]
        )  # fmt: skip
    first = editor.get(page).text
    assert "+380671112233" not in first
    assert "stages looked through here, 0 were sent to no webhook. Show older ones, or choose" in " ".join(
        first.split()
    )
    following = unescape(re.findall(r'href="\?([^"]*before=[^"]+)"', first)[0])
    text = " ".join(editor.get(f"{page}?{following}").text.split())
    assert "it is “true”" in text
    assert "looked through here" not in text
    assert "No webhook is set up for this stage." in editor.get(f"{page}?all=1").text
