"""A worker claims what is due, sends it and writes how it went; another one takes over when it dies."""

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import select, update

from pbxhub.delivery.outbox import (
    CannotResendError,
    Finished,
    cancel_pending,
    claim,
    record,
    remove_of_calls,
    remove_of_deliveries,
    resend_one,
)
from pbxhub.sending.exchange import Answer
from pbxhub.store.delivery_rows import BULK, CANCELLED, DELIVERED, FAILED, FIRST_ATTEMPTS, PENDING, Delivery
from pbxhub.store.events import EventRow
from pbxhub.store.history import Call
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.webhooks.spec import AnswerSpec, Filter, Limits, Parameter, RequestSpec, Retry, Saved
from tests.support.outbox_world import (
    AFTER,
    BEFORE,
    BUSY,
    FORWARD,
    NOON,
    OK,
    World,
    at,
    context_of,
    finish,
    forward,
    give_up,
    report,
    spec,
    take,
)


def test_the_attempt_is_written_before_the_request_leaves(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    (claimed,) = take(database, 0).claimed
    (delivery,) = world.deliveries()
    (attempt,) = world.attempts(delivery)
    assert (attempt.number, attempt.finished_on, attempt.started_on) == (1, None, NOON)
    assert claimed.request.body == delivery.body
    assert take(database, 1).claimed == ()


def test_a_success_is_recorded_with_its_answer(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, OK, 1)
    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.outcome, delivery.status_code) == (DELIVERED, "ok", 200)
    assert delivery.claim_token is None
    (attempt,) = world.attempts(delivery)
    assert (attempt.finished_on, attempt.outcome, attempt.response_body) == (at(1), "ok", b"ok")


def test_without_retries_anything_but_success_is_with_error(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, BUSY, 1)
    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.outcome, delivery.finished_on) == (FAILED, "http_5xx", at(1))


def test_what_a_dead_worker_left_is_marked_lost_and_sent_again(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    (dead,) = take(database, 0).claimed
    assert take(database, 29).claimed == ()
    (alive,) = take(database, 31).claimed
    assert (alive.id, alive.attempt) == (dead.id, 2)
    first, second = world.attempts(world.deliveries()[0])
    assert (first.outcome, first.finished_on) == ("worker_lost", at(31))
    assert second.finished_on is None


def test_a_slow_worker_cannot_overwrite_the_new_owner(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    (slow,) = take(database, 0).claimed
    (owner,) = take(database, 31).claimed
    (late,) = finish(database, [slow], BUSY, 32)
    assert not late.owned
    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.claim_token) == (PENDING, owner.token)
    assert world.attempts(delivery)[0].outcome == "http_5xx"  # what really happened is kept all the same
    finish(database, [owner], OK, 33)
    assert world.deliveries()[0].state == DELIVERED


def test_a_worker_that_took_its_own_delivery_again_records_only_the_last_lease(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(retry=Retry("fast")))
    world.publish(report("1.1", BEFORE))
    (before,) = take(database, 0).claimed
    world.publish(report("1.2", BEFORE), now=at(31))
    again, other = sorted(take(database, 31).claimed, key=lambda one: one.attempt != 2)
    assert again.id == before.id
    late, owned = finish(database, [before, other], BUSY, 32)
    assert (late.owned, owned.owned) == (False, True)
    with database.write() as session:
        done = [Finished(again, OK, (), at(33)), Finished(before, BUSY, (), at(33))]
        record(context_of(database), session, done, at(33))
    assert world.deliveries()[0].state == DELIVERED


def test_two_attempts_of_one_delivery_that_end_together_are_both_told(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(retry=Retry("fast")))
    world.publish(report("1.1", BEFORE))
    finish(database, [*take(database, 0).claimed, *take(database, 31).claimed], BUSY, 32)
    assert called(database) == [1, 2]


def called(database: Database) -> list[int]:
    """The numbers of the attempts that events report."""
    with database.read() as session:
        told = select(EventRow).where(EventRow.type == "webhook_called").order_by(EventRow.id)
        return [row.data["attempt"] for row in session.scalars(told)]  # type: ignore[misc]


def pause(world: World, webhook_id: int, since: datetime | None) -> None:
    with world.database.write() as session:
        session.get_one(Webhook, webhook_id).paused_on = since
        touch_webhooks(session, world.project_id)


@pytest.mark.slow
def test_a_delivery_that_kills_every_worker_is_given_up(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    for number in range(5):
        assert len(take(database, number * 40).claimed) == 1
    batch = take(database, 5 * 40)
    assert batch.claimed == ()
    give_up(database, batch, 200)
    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.outcome, delivery.attempts) == (FAILED, "worker_lost", 5)
    with database.write() as session:
        resend_one(context_of(database), session, world.project_id, delivery.id, at(300))
    for number in range(5):
        assert len(take(database, 300 + number * 40).claimed) == 1
    batch = take(database, 500)
    assert batch.claimed == ()
    give_up(database, batch, 500)
    assert [row.state for row in world.deliveries()] == [FAILED]


def test_no_more_requests_of_a_webhook_are_in_flight_than_it_allows(database: Database) -> None:
    world = World(database)
    narrow, wide = world.webhook(what=spec(in_flight=2)), world.webhook(what=spec(in_flight=8))
    world.publish(*(report(f"1.{number}", BEFORE) for number in range(20)))
    claimed = take(database, 0).claimed
    assert [one.webhook.id for one in claimed].count(narrow) == 2
    assert [one.webhook.id for one in claimed].count(wide) == 8
    assert take(database, 1).claimed == ()
    finish(database, claimed[:1], OK, 2)
    assert [one.webhook.id for one in take(database, 2).claimed] == [claimed[0].webhook.id]


def test_a_hanging_webhook_leaves_the_places_of_a_batch_to_others(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(in_flight=8))
    world.publish(*(report(f"1.{number}", BEFORE) for number in range(50)))
    assert len(take(database, 0).claimed) == 8
    other = world.webhook()
    world.publish(report("2.1", BEFORE), now=at(1))
    assert [one.webhook.id for one in take(database, 1, limit=1).claimed] == [other]


def test_one_project_cannot_take_all_places(database: Database) -> None:
    greedy, modest = World(database), World(database)
    for _ in range(5):
        greedy.webhook()
    greedy.publish(*(report(f"1.{number}", BEFORE) for number in range(20)))
    assert len(take(database, 0, limit=20, rooms={greedy.project_id: 10}).claimed) == 10
    modest.webhook()
    modest.publish(report("2.1", BEFORE), now=at(1))
    rooms = {greedy.project_id: 0, modest.project_id: 10}
    assert [one.project_id for one in take(database, 1, limit=10, rooms=rooms).claimed] == [modest.project_id]


def test_a_place_that_comes_free_is_for_who_has_the_fewest_in_flight(database: Database) -> None:
    world = World(database)
    hanging = [world.webhook(what=spec(in_flight=3)) for _ in range(3)]
    world.publish(*(report(f"1.{number}", BEFORE) for number in range(9)))
    assert len(take(database, 0, limit=6).claimed) == 6
    healthy = world.webhook()
    world.publish(report("2.1", BEFORE), now=at(1))
    assert [one.webhook.id for one in take(database, 1, limit=1).claimed] == [healthy]
    assert {one.webhook.id for one in take(database, 1, limit=3).claimed} == set(hanging)


@pytest.mark.parametrize(
    ("limits", "rooms"),
    [(Limits(1), None), (Limits(100, per_minute=60), None), (Limits(5), None), (Limits(100), 1)],
    ids=["in_flight", "rate", "few in flight", "places of the project"],
)
def test_a_bulk_resend_takes_its_share_of_the_places_of_a_webhook_and_no_more(
    database: Database, limits: Limits, rooms: int | None
) -> None:
    world = World(database)
    world.webhook(what=replace(spec(), limits=limits))
    world.publish(*[report(f"1.{one}", BEFORE) for one in range(8)])
    with database.write() as session:
        session.execute(update(Delivery).values(lane=BULK))
    world.publish(*[report(f"2.{one}", BEFORE) for one in range(8)], now=at(1))
    of_project = None if rooms is None else {world.project_id: rooms}
    lanes = {}
    for chance in (0.4, 0.95):
        with database.write() as session:
            batch = claim(context_of(database), session, 100, at(2), of_project, chance=lambda chance=chance: chance)
            lanes[chance] = [one.lane for one in batch.claimed]
            session.rollback()
    assert set(lanes[0.4]) == {FIRST_ATTEMPTS}
    assert lanes[0.95].count(BULK) == 1
    assert len(lanes[0.4]) == len(lanes[0.95])


def test_places_that_nothing_urgent_waits_for_are_for_a_bulk_resend(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(in_flight=5))
    world.publish(*[report(f"1.{one}", BEFORE) for one in range(8)])
    with database.write() as session:
        session.execute(update(Delivery).values(lane=BULK))
    world.publish(report("2.1", BEFORE), now=at(1))
    assert sorted(one.lane for one in take(database, 2).claimed) == [FIRST_ATTEMPTS, BULK, BULK, BULK, BULK]


def test_places_that_come_free_one_by_one_are_for_every_lane(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(retry=Retry("fast"), in_flight=50))
    world.publish(*(report(f"1.{number}", BEFORE) for number in range(3)))
    finish(database, take(database, 0).claimed, BUSY, 1)
    world.publish(*(report(f"2.{number}", BEFORE) for number in range(3)), now=at(9))
    assert [one.lane for one in take(database, 9, limit=1, chance=0.5).claimed] == [1]
    assert [one.lane for one in take(database, 9, limit=1, chance=0.85).claimed] == [2]


def test_projects_take_turns_within_a_batch(database: Database) -> None:
    many, few = World(database), World(database)
    for _ in range(6):
        many.webhook()
    few.webhook()
    many.publish(*(report(f"1.{number}", BEFORE) for number in range(10)))
    few.publish(*(report(f"2.{number}", BEFORE) for number in range(3)), now=at(1))
    claimed = take(database, 1, limit=6).claimed
    assert [one.project_id for one in claimed].count(few.project_id) == 3


def test_a_later_stage_waits_for_the_first_attempt_of_the_one_before(database: Database) -> None:
    world = World(database)
    world.webhook(FORWARD)
    world.publish(report("1.1", forward("101"), forward("102", 2)))
    world.publish(report("1.1", forward("103", 3)), now=at(1))
    (first,) = take(database, 2).claimed
    assert b'"forward_to":"101"' in first.request.body
    finish(database, [first], BUSY, 3)
    (second,) = take(database, 3).claimed
    assert b'"forward_to":"102"' in second.request.body
    finish(database, [second], OK, 4)
    (third,) = take(database, 4).claimed
    assert b'"forward_to":"103"' in third.request.body
    assert not any(row.out_of_order for row in world.deliveries())


def test_after_thirty_seconds_a_stage_goes_all_the_same_and_is_marked(database: Database) -> None:
    world = World(database)
    world.webhook(FORWARD, spec(deadline=60))
    world.publish(report("1.1", forward("101")))
    take(database, 9)
    world.publish(report("1.1", forward("102", 2)), now=at(5))
    assert take(database, 35.5).claimed == ()  # the one before has left at 9 s
    assert take(database, 38.5).claimed == ()
    (second,) = take(database, 39.5).claimed
    assert b'"forward_to":"102"' in second.request.body
    assert [row.out_of_order for row in world.deliveries()] == [False, True]


def test_the_order_of_a_call_outlives_a_pause_of_its_webhook(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook(FORWARD)
    stages = [forward(str(100 + step), step) for step in (1, 2, 3)]
    world.publish(report("1.1", *stages))
    pause(world, webhook_id, at(1))
    assert take(database, 100).claimed == ()
    pause(world, webhook_id, None)
    for step in (1, 2, 3):
        (only,) = take(database, 500 + step).claimed
        assert f'"forward_to":"{100 + step}"'.encode() in only.request.body
        finish(database, [only], OK, 500.5 + step)
    assert not any(row.out_of_order for row in world.deliveries())


def test_what_a_paused_and_deleted_webhook_had_in_flight_is_not_left_behind(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook(what=spec(retry=Retry("fast")))
    world.publish(report("1.1", BEFORE))
    claimed = take(database, 0).claimed
    pause(world, webhook_id, at(1))
    with database.write() as session:
        session.get_one(Webhook, webhook_id).deleted_on = at(2)
        touch_webhooks(session, world.project_id)
        cancel_pending(session, webhook_id, at(2))
    finish(database, claimed, BUSY, 3)
    take(database, 60)
    assert [row.state for row in world.deliveries()] == [CANCELLED]


def test_recording_again_after_a_commit_whose_answer_was_lost_tells_nothing_twice(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    claimed = take(database, 0).claimed
    for _ in range(2):
        finish(database, claimed, OK, 1)
    assert called(database) == [1]


def test_calls_do_not_wait_for_each_other(database: Database) -> None:
    world = World(database)
    world.webhook(FORWARD)
    world.publish(report("1.1", forward("101")), report("1.2", forward("101")))
    assert len(take(database, 0).claimed) == 2


def test_disabling_a_webhook_cancels_what_waits_for_it(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook(what=spec(in_flight=1))
    world.publish(report("1.1", BEFORE), report("1.2", BEFORE))
    flying = take(database, 0).claimed
    with database.write() as session:
        session.execute(update(Webhook).where(Webhook.id == webhook_id).values(enabled=False))
        touch_webhooks(session, world.project_id)
        assert cancel_pending(session, webhook_id, at(1)) == 1
    finish(database, flying, OK, 2)
    assert sorted(row.state for row in world.deliveries()) == [CANCELLED, DELIVERED]
    assert take(database, 60).claimed == ()


def test_a_stage_published_while_its_webhook_was_being_disabled_is_cancelled_by_the_claim(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook()
    world.publish(report("1.1", BEFORE))
    with database.write() as session:
        session.execute(update(Webhook).where(Webhook.id == webhook_id).values(enabled=False))
        touch_webhooks(session, world.project_id)
    assert take(database, 1).claimed == ()
    assert world.deliveries()[0].state == CANCELLED


def test_an_answer_with_nul_bytes_and_broken_text_is_stored(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    nasty = Answer("http_4xx", "a\0b", 400, headers=(("X-Odd", "\xff\0"),), body=b"\0\xff" * 20_000)
    finish(database, take(database, 0).claimed, nasty, 1)
    (attempt,) = world.attempts(world.deliveries()[0])
    assert attempt.response_body == (b"\0\xff" * 20_000)[:20_480]
    assert attempt.response_truncated


def test_the_next_webhook_of_a_chain_sees_the_answer(database: Database) -> None:
    world = World(database)
    saving = AnswerSpec(save=(Saved("ID", "result.id", mandatory=True),))
    world.webhook(what=spec(answer=saving, on_success="next"))
    request = spec(url="http://127.0.0.1:9/<<webhook.saved.ID>>/<<caller>>")
    following = world.webhook("chain", request, name="next")
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, Answer("ok", "", 200, body=b'{"result":{"id":77}}'), 1)
    (chained,) = take(database, 1).claimed
    assert (chained.webhook.id, chained.kind) == (following, "chain")
    assert chained.request.url == "http://127.0.0.1:9/77/%2B380441234567"
    with database.read() as session:
        assert session.query(Call).one().answers["webhook.saved"] == {"ID": 77}


def test_the_third_webhook_of_a_chain_sees_what_the_first_one_saved(database: Database) -> None:
    world = World(database)
    first = spec(answer=AnswerSpec(save=(Saved("CALL_ID", "result"), Saved("USER", "user"))), on_success="show")
    world.webhook(what=first)
    world.webhook("chain", spec(answer=AnswerSpec(save=(Saved("USER", "user"),)), on_success="finish"), name="show")
    url = "http://127.0.0.1:9/<<webhook.saved.CALL_ID>>/<<webhook.saved.USER>>"
    world.webhook("chain", spec(url), name="finish")
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, Answer("ok", "", 200, body=b'{"result":"C1","user":1}'), 1)
    finish(database, take(database, 1).claimed, Answer("ok", "", 200, body=b'{"user":2}'), 2)
    (third,) = take(database, 2).claimed
    assert third.request.url == "http://127.0.0.1:9/C1/2"


def test_a_webhook_of_a_chain_goes_only_when_its_own_filters_hold(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(on_success="to Anna", on_failure="to Ivan"))
    world.webhook("chain", spec(filters=(Filter("caller_name", "equals", "Ivan"),)), name="to Ivan")
    world.webhook("chain", spec(filters=(Filter("caller_name", "equals", "Anna"),)), name="to Anna")
    world.publish(report("1.1", BEFORE), report("1.2", BEFORE))
    first, second = take(database, 0).claimed
    finish(database, [first], BUSY, 1)
    assert take(database, 1).claimed == ()
    finish(database, [second], OK, 2)
    assert [one.webhook.name for one in take(database, 2).claimed] == ["to Anna"]


def test_a_chain_goes_on_after_a_request_that_could_not_be_made(database: Database) -> None:
    world = World(database)
    empty = RequestSpec(url="http://127.0.0.1:9/", parameters=(Parameter("x", value="<<utm_term>>", mandatory=True),))
    world.webhook(what=spec(request=empty, on_failure="also empty"))
    world.webhook(what=spec(request=empty, on_failure="also empty"))
    world.webhook("chain", spec(request=empty, on_failure="tell"), name="also empty")
    told = spec(url="http://127.0.0.1:9/<<response_status>>/<<error_reason>>?<<error_sentence>>")
    world.webhook("chain", told, name="tell")
    assert world.publish(report("1.1", BEFORE)).failed == 3
    (tells,) = take(database, 0).claimed
    assert (tells.webhook.name, tells.kind) == ("tell", "chain")
    assert "/FAILED/MISSING_MANDATORY?parameters.x" in tells.request.url


def test_a_webhook_that_skips_incomplete_calls_makes_no_error_of_them(database: Database) -> None:
    world = World(database)
    empty = RequestSpec(url="http://127.0.0.1:9/", parameters=(Parameter("x", value="<<utm_term>>", mandatory=True),))
    webhook = world.webhook(what=spec(request=empty, on_failure="tell", incomplete="skip"))
    world.webhook("chain", spec(), name="tell")
    published = world.publish(report("1.1", BEFORE))
    assert (published.deliveries, published.failed) == (0, 0)
    assert take(database, 0).claimed == ()
    (skipped,) = world.deliveries()
    assert (skipped.state, skipped.outcome, skipped.finished_on) == ("cancelled", "skipped", NOON)
    assert "parameters.x" in skipped.message
    with database.write() as session:  # the value has come by API in the meantime, or the field is no longer mandatory
        session.get_one(Webhook, webhook).spec = spec(url="http://127.0.0.1:9/now")
        touch_webhooks(session, world.project_id)
    with database.write() as session:
        resend_one(context_of(database), session, world.project_id, skipped.id, at(3), current_settings=True)
    (again,) = take(database, 3).claimed
    assert again.request.url == "http://127.0.0.1:9/now"


def test_a_chain_goes_on_after_an_address_that_was_refused(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(on_failure="tell"))
    world.webhook("chain", spec(url="http://127.0.0.1:9/<<error_reason>>"), name="tell")
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, Answer("blocked_target", ""), 1)
    (tells,) = take(database, 1).claimed
    assert tells.request.url == "http://127.0.0.1:9/NOT_SENT"


def test_a_webhook_of_a_chain_is_sent_again_with_the_answer_of_the_one_before(database: Database) -> None:
    world = World(database)
    saving = AnswerSpec(save=(Saved("ID", "result.id"),))
    world.webhook(what=spec(answer=saving, on_success="next"))
    world.webhook("chain", spec(url="http://127.0.0.1:9/<<webhook.saved.ID>>/<<webhook.status>>"), name="next")
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, Answer("ok", "", 200, body=b'{"result":{"id":77}}'), 1)
    (chained,) = take(database, 1).claimed
    finish(database, [chained], BUSY, 2)
    with database.write() as session:
        resend_one(context_of(database), session, world.project_id, chained.id, at(3), current_settings=True)
    (again,) = take(database, 3).claimed
    assert again.request.url == "http://127.0.0.1:9/77/200"


def test_what_another_delivery_of_the_call_still_needs_is_not_removed(database: Database) -> None:
    """1. The lookup saves a value; 2. another delivery of the call waits; 3. what its chain sends needs the value."""
    world = World(database)
    world.webhook(BEFORE, spec(answer=AnswerSpec(save=(Saved("ID", "id"),))))
    world.webhook(AFTER, spec(on_success="next"))
    world.webhook("chain", spec(url="http://127.0.0.1:9/<<webhook.saved.ID>>"), name="next")
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, Answer("ok", "", 200, body=b'{"id": 77}'), 1)
    world.publish(report("1.1", AFTER, ended=60), now=at(60))
    lookup = world.deliveries()[0]
    with database.write() as session:
        assert remove_of_deliveries(session, world.project_id, [lookup.id], "owner", at(61)) == 0
    finish(database, take(database, 62).claimed, OK, 63)
    assert take(database, 64).claimed[0].request.url == "http://127.0.0.1:9/77"


def test_a_chained_webhook_whose_answer_was_removed_is_not_sent_again_with_the_current_settings(
    database: Database,
) -> None:
    world = World(database)
    world.webhook(AFTER, spec(answer=AnswerSpec(save=(Saved("ID", "id"),)), on_success="next"))
    world.webhook("chain", spec(url="http://127.0.0.1:9/<<webhook.saved.ID>>", retry=Retry("none")), name="next")
    world.publish(report("1.1", AFTER, ended=60))
    finish(database, take(database, 60).claimed, Answer("ok", "", 200, body=b'{"id": 77}'), 61)
    finish(database, take(database, 62).claimed, BUSY, 63)
    lookup, chained = world.deliveries()
    assert chained.state == FAILED
    with database.write() as session:
        assert remove_of_deliveries(session, world.project_id, [lookup.id], "owner", at(64)) == 1
    with database.write() as session, pytest.raises(CannotResendError, match="answer that it goes on from was removed"):
        resend_one(context_of(database), session, world.project_id, chained.id, at(65), current_settings=True)


def test_an_answer_without_a_mandatory_value_is_a_failure(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(answer=AnswerSpec(save=(Saved("ID", "result.id", mandatory=True),))))
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, Answer("ok", "", 200, body=b'{"result":{}}'), 1)
    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.outcome) == (FAILED, "check_failed")
    assert "result.id" in delivery.message


@pytest.mark.parametrize("of_call", [False, True])
def test_a_late_answer_brings_nothing_back_that_was_removed(database: Database, of_call: bool) -> None:
    world = World(database)
    world.webhook(what=spec(answer=AnswerSpec(save=(Saved("who", "name"),))))
    world.publish(report("1.1", BEFORE))
    slow = take(database, 0).claimed  # and stands still
    finish(database, take(database, 1000).claimed, OK, 1001)
    world.publish(report("1.1", AFTER, ended=60), now=at(1002))
    (delivery,) = world.deliveries()
    assert delivery.call_id
    with database.write() as session:
        assert remove_of_deliveries(session, world.project_id, [delivery.id], "owner", at(1003)) == 1
        if of_call:
            assert remove_of_calls(session, world.project_id, [delivery.call_id], "owner", at(1003)) == 1
    headers = (("Content-Type", "application/json"), ("X-Name", "Zoriana"))
    finish(database, slow, Answer("ok", "Zoriana", 200, headers, b'{"name": "Zoriana"}', total_us=1), 1004)
    (delivery,) = world.deliveries()
    first, _ = world.attempts(delivery)
    assert (first.status_code, first.message, first.response_headers, first.response_body) == (200, "", [], b"")
    with database.read() as session:
        assert session.scalars(select(Call.answers)).all() == [{}]
