"""A user sees a call drawn to scale: who rang and talked when, the stages, and the requests."""

from datetime import UTC, datetime, timedelta

from pbxhub.account.call_timeline import MOST_WEBHOOKS, timeline_of
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def call(end: float | None, answered: float | None, *legs: dict[str, object]) -> Call:
    return Call(
        started_on=START, answered_on=None if answered is None else after(answered),
        ended_on=None if end is None else after(end), disposition="ANSWERED", data={"legs": list(legs)},
    )  # fmt: skip


def leg(who: str, start: float, answer: float | None, end: float | None) -> dict[str, object]:
    times = {"start": start, "answer": answer, "end": end}
    return {"extension": who, "number": who, "status": "ANSWERED"} | {
        name: None if time is None else after(time).isoformat() for name, time in times.items()
    }


def test_bars_stand_where_their_share_of_the_call_is() -> None:
    drawn = timeline_of(call(100, 20, leg("101", 10, 20, 100), leg("102", 10, None, 20)), [], [], after(900))
    assert [lane.who for lane in drawn.lanes] == ["", "101", "102"]
    assert [(bar.kind, bar.left, bar.width) for bar in drawn.lanes[1].bars] == [
        ("ring", 9.2, 9.2),
        ("talk", 18.4, 73.6),
    ]
    assert [(bar.kind, bar.left, bar.width) for bar in drawn.lanes[2].bars] == [("ring", 9.2, 9.2)]
    assert [seconds for _at, seconds in drawn.ticks] == [0, 30, 60, 90]


def test_a_call_that_goes_on_is_drawn_up_to_now() -> None:
    drawn = timeline_of(call(None, 5, leg("101", 1, 5, None)), [], [], after(10))
    assert drawn.lanes[0].bars[-1].end == drawn.lanes[1].bars[-1].end == after(10)


def test_what_follows_the_call_stands_behind_its_end() -> None:
    stages = [StageEvent(stage="call.recording", created_on=after(400)), StageEvent(stage="x", created_on=after(50))]
    drawn = timeline_of(call(100, None), stages, [], after(900))
    assert [mark.at for mark in drawn.marks] == [96.0, 46.0]
    assert drawn.has_later
    assert not timeline_of(call(100, None), stages[1:], [], after(900)).has_later


def test_each_webhook_has_a_row_of_dots_up_to_a_limit() -> None:
    rows = [(Delivery(webhook_id=number, created_on=after(1)), "Same name") for number in range(MOST_WEBHOOKS + 2)]
    drawn = timeline_of(call(100, None), [], [*rows, rows[0]], after(900))
    assert len(drawn.webhooks) == MOST_WEBHOOKS
    assert drawn.hidden == 2
    assert len(drawn.webhooks[0][1]) == 2


def test_a_call_without_length_and_with_odd_legs_is_drawn() -> None:
    odd = call(0, None, {"start": "never"}, {"extension": None, "start": after(-5).isoformat(), "end": "x"})
    lanes = timeline_of(odd, [], [], after(900)).lanes
    assert [lane.who for lane in lanes] == ["", "—"]
    assert all(bar.left >= 0 and bar.left + bar.width <= 92.01 for lane in lanes for bar in lane.bars)
