"""A card is closed with the id that the CRM gave when it was opened, however short the call and slow the CRM."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox import cancel_pending, publish, resend_one
from pbxhub.delivery.outbox.restored import fail_restored
from pbxhub.delivery.outbox.stored_stages import values_of_stored
from pbxhub.delivery.outbox.wait_for_answer import release_all
from pbxhub.delivery.webhook_cache import WebhookCache
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, PENDING, WAITING, Delivery
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.played_pbx import PlayedPbx
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.testing.waiting import await_until
from pbxhub.webhooks.chains import check_chains, check_wait
from pbxhub.webhooks.spec import AnswerSpec, FieldError, Filter, Parameter, RequestSpec, Retry, Saved, WebhookSpec
from tests.support.outbox_world import (
    BEFORE,
    BUSY,
    FORWARD,
    NOON,
    OK,
    Answer,
    Claimed,
    World,
    at,
    context_of,
    finish,
    forward,
    report,
    spec,
    take,
)
from tests.support.working import working

AFTER = "incoming.after"
SAVES = AnswerSpec(save=(Saved("ID", "id"),))
GIVEN = Answer("ok", "", 200, body=b'{"id":"C1"}')
URL = "http://127.0.0.1:9/finish/<<webhook.saved.ID>>"


def test_what_needs_an_answer_is_sent_with_it_when_it_is_there(database: Database) -> None:
    world = a_card(database)
    over(world)
    (register,) = take(database, 1).claimed
    assert states(world) == {"Register": PENDING, "Finish": WAITING}
    finish(database, [register], GIVEN, 30)
    assert sent(take(database, 30).claimed) == [("Finish", "/finish/C1")]


def test_it_is_sent_at_once_if_the_answer_is_there_already(database: Database) -> None:
    world = a_card(database)
    publish(context_of(database), {world.pbx_id: [report("1.1", BEFORE)]}, NOON)
    finish(database, take(database, 0).claimed, GIVEN, 1)
    publish(context_of(database), {world.pbx_id: [report("1.1", AFTER)]}, at(2))
    assert sent(take(database, 2).claimed) == [("Finish", "/finish/C1")]


def test_both_may_be_of_one_stage_in_any_order_of_the_table(database: Database) -> None:
    world = World(database)
    world.webhook(BEFORE, spec(URL, wait_for="Register"), name="Finish")
    world.webhook(BEFORE, spec(answer=SAVES), name="Register")
    publish(context_of(database), {world.pbx_id: [report("1.1", BEFORE)]}, NOON)
    (register,) = take(database, 0).claimed
    finish(database, [register], GIVEN, 1)
    assert sent(take(database, 1).claimed) == [("Finish", "/finish/C1")]


def test_it_waits_until_the_last_retry(database: Database) -> None:
    world = a_card(database, retry=Retry("own", (10,)))
    over(world)
    finish(database, take(database, 1).claimed, BUSY, 2)
    assert states(world) == {"Register": PENDING, "Finish": WAITING}
    finish(database, take(database, 20).claimed, GIVEN, 21)
    assert sent(take(database, 21).claimed) == [("Finish", "/finish/C1")]


@pytest.mark.parametrize("rule", ["send", "skip"])
def test_without_an_answer_the_rule_decides(database: Database, rule: str) -> None:
    world = a_card(database, unanswered=rule)
    over(world)
    finish(database, take(database, 1).claimed, BUSY, 2)
    if rule == "send":
        assert sent(take(database, 2).claimed) == [("Finish", "/finish/")]
    else:
        assert take(database, 2).claimed == ()
        (finish_it,) = world.deliveries(Delivery.outcome == "skipped")
        assert (finish_it.state, finish_it.finished_on) == (CANCELLED, at(2))
        assert finish_it.message == "Skipped: Register has not answered in this call."


@pytest.mark.parametrize("rule", ["send", "skip"])
def test_a_call_that_the_other_one_leaves_out_has_no_answer(database: Database, rule: str) -> None:
    world = a_card(database, unanswered=rule, filters=(Filter("caller_name", "equals", "Ivan"),))
    over(world)
    assert [name for name, _ in sent(take(database, 1).claimed)] == (["Finish"] if rule == "send" else [])
    assert states(world) == {"Finish": PENDING if rule == "send" else CANCELLED}


def test_everything_before_it_in_a_chain_is_awaited_too(database: Database) -> None:
    world = World(database)
    world.webhook(BEFORE, spec(on_success="Register"), name="Look up")
    world.webhook("chain", spec(answer=SAVES), name="Register")
    world.webhook(AFTER, spec(URL, wait_for="Register"), name="Finish")
    over(world)
    finish(database, take(database, 1).claimed, OK, 2)
    (register,) = take(database, 2).claimed
    assert states(world) == {"Look up": DELIVERED, "Register": PENDING, "Finish": WAITING}
    finish(database, [register], GIVEN, 3)
    assert sent(take(database, 3).claimed) == [("Finish", "/finish/C1")]


def test_one_can_wait_for_another_that_waits(database: Database) -> None:
    world = a_card(database)
    world.webhook(AFTER, spec("http://127.0.0.1:9/attach/<<webhook.saved.ID>>", wait_for="Finish"), name="Attach")
    over(world)
    finish(database, take(database, 1).claimed, GIVEN, 2)
    (finish_it,) = take(database, 2).claimed
    assert states(world) == {"Register": DELIVERED, "Finish": PENDING, "Attach": WAITING}
    finish(database, [finish_it], OK, 3)
    assert sent(take(database, 3).claimed) == [("Attach", "/attach/C1")]


def test_a_webhook_of_a_chain_can_wait_as_well(database: Database) -> None:
    world = a_card(database)
    world.webhook(AFTER, spec(on_success="Attach"), name="Upload")
    attach = spec("http://127.0.0.1:9/attach/<<webhook.saved.ID>>/<<webhook.status>>", wait_for="Register")
    world.webhook("chain", attach, name="Attach")
    over(world)
    register, upload = take(database, 1).claimed
    finish(database, [upload], Answer("ok", "", 202), 2)
    assert states(world)["Attach"] == WAITING
    finish(database, [register], GIVEN, 3)
    assert sorted(sent(take(database, 3).claimed)) == [("Attach", "/attach/C1/202"), ("Finish", "/finish/C1")]


def test_several_stages_that_wait_keep_their_order(database: Database) -> None:
    world = World(database)
    world.webhook(BEFORE, spec(answer=SAVES), name="Register")
    world.webhook(FORWARD, spec("http://127.0.0.1:9/show/<<forward_to>>", wait_for="Register"), name="Show")
    rings = report("1.1", BEFORE, forward("101"), forward("102", 2))
    publish(context_of(database), {world.pbx_id: [rings]}, NOON)
    finish(database, take(database, 1).claimed, GIVEN, 2)
    first = take(database, 2).claimed
    assert sent(first) == [("Show", "/show/101")]
    finish(database, first, OK, 3)
    assert sent(take(database, 3).claimed) == [("Show", "/show/102")]


def test_a_later_stage_does_not_overtake_one_that_nobody_has_released_yet(database: Database) -> None:
    world = World(database)
    world.webhook(BEFORE, spec(answer=SAVES), name="Register")
    world.webhook(FORWARD, spec("http://127.0.0.1:9/show/<<forward_to>>", wait_for="Register"), name="Show")
    publish(context_of(database), {world.pbx_id: [report("1.1", BEFORE, forward("101"))]}, NOON)
    with database.write() as session:  # as if it had been recorded while the first ring was being written
        session.execute(update(Delivery).where(Delivery.state == PENDING).values(state=DELIVERED))
    publish(context_of(database), {world.pbx_id: [report("1.1", forward("102", 2))]}, at(1))
    assert take(database, 1).claimed == ()
    release_all(context_of(database), at(5))
    first = take(database, 5).claimed
    assert sent(first) == [("Show", "/show/101")]
    finish(database, first, OK, 6)
    assert sent(take(database, 6).claimed) == [("Show", "/show/102")]


def test_what_nobody_released_is_found_by_the_background_job(database: Database) -> None:
    """Of one whose webhook was switched off; and of one that was written while its answer was being recorded."""
    world = a_card(database)
    over(world)
    with database.write() as session:
        webhook = session.get_one(Webhook, world.webhooks[0])
        webhook.enabled = False
        touch_webhooks(session, world.project_id)
        cancel_pending(session, webhook.id, at(2))
    assert states(world) == {"Register": CANCELLED, "Finish": WAITING}
    release_all(context_of(database), at(5))
    assert sent(take(database, 5).claimed) == [("Finish", "/finish/")]


def test_the_background_job_leaves_alone_what_still_waits(database: Database) -> None:
    world = a_card(database)
    over(world)
    release_all(context_of(database), at(5))
    assert states(world) == {"Register": PENDING, "Finish": WAITING}


def test_a_call_that_cannot_be_released_keeps_back_no_other_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty, fine = a_card(database), a_card(database)
    for world in (faulty, fine):
        over(world)
    with database.write() as session:
        session.execute(update(Delivery).where(Delivery.state == PENDING).values(state=CANCELLED))

    def of_the_fine_one(context: DeliveryContext, session: Session, row: Delivery, *more: Any) -> Any:
        if row.project_id == faulty.project_id:
            raise RecursionError
        return values_of_stored(context, session, row, *more)

    monkeypatch.setattr("pbxhub.delivery.outbox.wait_for_answer.values_of_stored", of_the_fine_one)
    release_all(context_of(database), at(5))
    found = {row.project_id: row.state for row in fine.deliveries(Delivery.state != CANCELLED)}
    assert found == {faulty.project_id: WAITING, fine.project_id: PENDING}


def test_an_answer_with_a_time_far_from_now_is_recorded(database: Database) -> None:
    world = World(database)
    filters = (Filter("webhook.saved.ID", "not_working_time"),)
    world.webhook(BEFORE, spec(answer=SAVES, on_success="Next"), name="Register")
    world.webhook("call.hidden", spec(filters=filters), name="Next")
    world.webhook(AFTER, spec(wait_for="Register", filters=filters), name="Finish")
    over(world)
    far = Answer("ok", "", 200, body=b'{"id":"0001-01-01T00:00:00+14:00"}')
    finish(database, take(database, 1).claimed, far, 2)
    assert states(world) == {"Register": DELIVERED, "Finish": CANCELLED}


def test_a_hub_that_starts_again_goes_on_waiting(database: Database) -> None:
    world = a_card(database)
    over(world)
    take(database, 1)  # and the process is killed before the answer comes
    reborn = context_of(database, webhook_cache=WebhookCache())
    release_all(reborn, at(40))
    (register,) = take(database, 300).claimed
    assert register.attempt == 2
    finish(database, [register], GIVEN, 301)
    assert sent(take(database, 301).claimed) == [("Finish", "/finish/C1")]


def test_switching_it_off_cancels_what_waits(database: Database) -> None:
    world = a_card(database)
    over(world)
    with database.write() as session:
        webhook = session.get_one(Webhook, world.webhooks[1])
        webhook.enabled = False
        touch_webhooks(session, world.project_id)
        assert cancel_pending(session, webhook.id, at(2)) == 1
    assert states(world) == {"Register": PENDING, "Finish": CANCELLED}


def test_one_that_cannot_be_rendered_afterwards_fails_and_its_chain_goes_on(database: Database) -> None:
    world = World(database)
    must = RequestSpec(url=URL, parameters=(Parameter("id", value="<<webhook.saved.ID>>", mandatory=True),))
    world.webhook(BEFORE, spec(answer=SAVES), name="Register")
    world.webhook(AFTER, spec(request=must, wait_for="Register", on_failure="Tell"), name="Finish")
    world.webhook("chain", spec("http://127.0.0.1:9/<<error_reason>>"), name="Tell")
    over(world)
    finish(database, take(database, 1).claimed, Answer("ok", "", 200, body=b"{}"), 2)
    assert sent(take(database, 2).claimed) == [("Tell", "/MISSING_MANDATORY")]
    assert states(world)["Finish"] == FAILED
    with database.write() as session:
        session.get_one(Webhook, world.webhooks[1]).spec = spec("http://127.0.0.1:9/now", wait_for="Register")
        touch_webhooks(session, world.project_id)
    (failed,) = world.deliveries(Delivery.state == FAILED)
    with database.write() as session:
        resend_one(context_of(database), session, world.project_id, failed.id, at(3), current_settings=True)
    assert sent(take(database, 3).claimed) == [("Finish", "/now")]


def test_after_a_restore_a_person_decides_about_what_waited(database: Database) -> None:
    world = a_card(database)
    over(world)
    with database.write() as session:
        assert fail_restored(session, at(60)) == 2
    assert [row.outcome for row in world.deliveries()] == ["restored"] * 2


@pytest.mark.slow
def test_the_id_of_a_slow_crm_arrives_with_the_end_of_a_short_call(database: Database) -> None:
    slow = Reply(body=b'{"id":"C1"}', delay=1.0)
    with Receiver(lambda asked: slow if asked.path == "/register" else Reply()) as crm:
        world = World(database)
        world.webhook(BEFORE, spec(f"{crm.url}/register", answer=SAVES), name="Register")
        world.webhook(AFTER, spec(f"{crm.url}/finish/<<webhook.saved.ID>>", wait_for="Register"), name="Finish")
        with working(database, crm):
            context = context_of(database)
            publish(context, {world.pbx_id: [report("1.1", BEFORE)]}, utc_now())
            publish(context, {world.pbx_id: [report("1.1", AFTER)]}, utc_now())
            assert [asked.path for asked in crm.wait_for(2)] == ["/register", "/finish/C1"]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_crm_that_takes_half_a_minute_is_waited_for_also_by_a_hub_killed_meanwhile(
    tmp_path: Path, killed: bool
) -> None:
    """A killed hub asks again when the lease of its request has ended: it cannot know whether it was answered."""
    given = Reply(body=b'{"id":"C1"}')
    with (
        Receiver(lambda _: replace(given, delay=0.0 if crm.count > 1 else 30.0)) as crm,
        PlayedPbx() as pbx,
        Hub(tmp_path / "hub") as hub,
    ):
        hub.start()
        save: Any = {"save": [{"name": "ID", "path": "id"}]}
        hub.webhook(BEFORE, f"{crm.url}/register", name="Register", answer=save, limits={"deadline": 40})
        hub.webhook(AFTER, f"{crm.url}/finish/<<webhook.saved.ID>>", name="Finish", wait_for="Register")
        hub.listen_to(pbx)
        pbx.play("answered", speed=4)
        crm.wait_for(1)
        await_until(lambda: [one.state for one in hub.deliveries("Finish")] == [WAITING], "30s")
        assert crm.count == 1
        if killed:
            hub.kill()
            hub.start()
        await_until(lambda: [one.state for one in hub.deliveries("Finish")] == [DELIVERED], "180s")
    assert [asked.path for asked in crm.requests] == [*["/register"] * (1 + killed), "/finish/C1"]


@pytest.mark.parametrize("answered_first", [True, False])
@pytest.mark.parametrize(("answer", "goes"), [(b'{"id":"C1"}', True), (b'{"id":""}', False), (b"{}", False)])
def test_an_empty_answer_of_a_lookup_cancels_what_it_is_for(
    database: Database, answer: bytes, goes: bool, answered_first: bool
) -> None:
    world = World(database)
    world.webhook(BEFORE, spec(answer=SAVES), name="Look up")
    known = (Filter("webhook.saved.ID", "not_equals", ""), Filter("caller_name", "equals", "Anna"))
    world.webhook(AFTER, spec(URL, wait_for="Look up", filters=known), name="Finish")
    publish(context_of(database), {world.pbx_id: [report("1.1", BEFORE)]}, NOON)
    look_up = take(database, 0).claimed
    if answered_first:
        finish(database, look_up, Answer("ok", "", 200, body=answer), 1)
    publish(context_of(database), {world.pbx_id: [report("1.1", AFTER)]}, at(2))
    if not answered_first:
        finish(database, look_up, Answer("ok", "", 200, body=answer), 3)
    assert sent(take(database, 3).claimed) == ([("Finish", "/finish/C1")] if goes else [])
    assert states(world).get("Finish") == (PENDING if goes else None if answered_first else CANCELLED)


def test_a_circle_is_refused() -> None:
    sentence = "is sent after this webhook, so each would wait for the other"
    circle = {"a": WebhookSpec(wait_for="b"), "b": WebhookSpec(), "c": WebhookSpec(on_success="b", wait_for="a")}
    assert check_chains(circle)["a"] == [FieldError("wait_for", f"b {sentence}")]
    fork = {"a": WebhookSpec(wait_for="b"), "b": WebhookSpec(on_success="c"), "c": WebhookSpec(wait_for="a")}
    assert check_chains(fork) == {}
    assert check_chains({"a": WebhookSpec(wait_for="a")}) == {"a": [FieldError("wait_for", f"a {sentence}")]}
    assert check_chains({"a": WebhookSpec(wait_for="gone")}) == {
        "a": [FieldError("wait_for", "names the webhook gone, which does not exist")]
    }
    assert check_chains({"a": WebhookSpec(wait_for="b"), "b": WebhookSpec(), "c": WebhookSpec(wait_for="a")}) == {}


@pytest.mark.parametrize(("stage", "wrong"), [("form.sent", 1), ("call.question", 1), (AFTER, 0), ("chain", 0)])
def test_only_webhooks_of_calls_can_wait(stage: str, wrong: int) -> None:
    assert len(check_wait(stage, WebhookSpec(wait_for="b"))) == wrong


def a_card(database: Database, unanswered: str = "send", **register: object) -> World:
    """Register opens a card before the call, Finish closes it afterwards."""
    world = World(database)
    world.webhook(BEFORE, spec(answer=SAVES, **register), name="Register")
    world.webhook(AFTER, spec(URL, wait_for="Register", unanswered=unanswered), name="Finish")
    return world


def over(world: World) -> None:
    """A call that begins and ends before anything is sent."""
    context = context_of(world.database)
    publish(context, {world.pbx_id: [report("1.1", BEFORE)]}, NOON)
    publish(context, {world.pbx_id: [report("1.1", AFTER)]}, at(1))


def states(world: World) -> dict[str, str]:
    with world.database.read() as session:
        names = {row.id: row.name for row in session.query(Webhook)}
    return {names[row.webhook_id]: row.state for row in world.deliveries()}


def sent(claimed: Sequence[Claimed]) -> list[tuple[str, str]]:
    return [(one.webhook.name, one.request.url.removeprefix("http://127.0.0.1:9")) for one in claimed]
