"""A viewer of the dashboard sees the calls and requests of today beside those of the day before."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from pbxhub.account.statistics import MOST_TIMES, calls_of_day, deliveries_of_day
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.ids import first_id_at, new_id
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now as now_of_hub
from tests.support.people import Browser, People

KYIV = ZoneInfo("Europe/Kyiv")
NOON = datetime(2026, 3, 11, 12, 30, tzinfo=KYIV)


def call(project: int, moment: datetime, disposition: str, talk: int = 0) -> Call:
    return Call(id=new_id(), project_id=project, linkedid=str(new_id()), direction="incoming", caller="1", dst="2",
                started_on=moment, ended_on=moment, disposition=disposition, talk=talk, data={})  # fmt: skip


def test_calls_stand_in_their_hour_of_today_and_of_yesterday(database: Database, people: People) -> None:
    times = ((-1, "ANSWERED"), (-12, "BUSY"), (-12, "NO ANSWER"), (-13, "ANSWERED"), (-25, "ANSWERED"), (-23, "BUSY"))
    with database.write() as session:
        session.add_all(call(people.project, NOON + timedelta(hours=hours), name) for hours, name in times)
    with database.read() as session:
        day = calls_of_day(session, people.project, NOON, KYIV)
    assert {bar.start.astimezone(KYIV).hour: dict(bar.counts) for bar in day.bars if bar.total} == {
        0: {"missed": 2},
        11: {"answered": 1},
    }
    assert {bar.start.astimezone(KYIV).hour: bar.before for bar in day.bars if bar.before} == {11: 1, 13: 1, 23: 1}
    assert day.yesterday == 1


def test_a_day_on_which_the_clocks_are_put_back_has_its_calls_in_their_hours(
    database: Database, people: People
) -> None:
    noon = datetime(2026, 10, 26, 12, 30, tzinfo=KYIV)  # the 25 hours of the day before began at 21:00 of UTC
    late = datetime(2026, 10, 25, 23, 30, tzinfo=KYIV)
    with database.write() as session:
        session.add_all(call(people.project, moment, "ANSWERED") for moment in (noon, late, late - timedelta(hours=12)))
    with database.read() as session:
        day = calls_of_day(session, people.project, noon + timedelta(minutes=1), KYIV)
    assert [bar.start for bar in day.bars if bar.total] == [noon.replace(minute=0)]
    assert (day.total, sum(bar.before for bar in day.bars), day.yesterday) == (1, 1, 1)


def test_a_call_that_an_employee_answered_is_answered_whatever_the_dialplan_reported(
    database: Database, people: People
) -> None:
    with database.write() as session:
        times = (NOON - timedelta(minutes=minutes) for minutes in (1, 2))
        session.add_all(
            call(people.project, moment, "VOICEMAIL", talk) for moment, talk in zip(times, (12, 0), strict=True)
        )
    with database.read() as session:
        day = calls_of_day(session, people.project, NOON, KYIV)
    assert [dict(bar.counts) for bar in day.bars if bar.total] == [{"answered": 1, "missed": 1}]


def test_requests_stand_beside_those_of_the_24_hours_before(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    with database.write() as session:
        webhook = Webhook(project_id=people.project, name="CRM", stage="incoming.after", position=1, created_on=NOON,
                          spec=WebhookSpec(RequestSpec(url="https://crm.example.com/")))  # fmt: skip
        session.add(webhook)
        session.flush()
        for hours, state in (
            (0, "delivered"),
            (-24, "delivered"),
            (-24, "failed"),
            (-47, "delivered"),
            (-49, "failed"),
        ):
            made = now_of_hub() + timedelta(hours=hours)
            key = UUID(int=first_id_at(made).int | (new_id().int & (1 << 80) - 1))
            session.add(Delivery(id=key, project_id=people.project, webhook_id=webhook.id, webhook_revision=1,
                                 state=state, lane=1, due_at=made, method="GET", url="https://crm.example.com/",
                                 headers=[], body=b"", created_on=made))  # fmt: skip
    with database.read() as session:
        day = deliveries_of_day(session, people.project, now_of_hub(), webhook.id)
    assert (day.delivered, day.before) == (1, 2)
    assert [bar.before for bar in day.bars if bar.before] == [1, 2]
    page = signed_in("viewer").get(f"/projects/{people.project}/dashboard")
    assert "2 delivered the day before" in page.text
    assert "the day before 2" in page.text


def test_answer_times_of_a_busy_hour_weigh_as_much_as_its_requests(database: Database, people: People) -> None:
    now = now_of_hub()
    with database.write() as session:
        webhook = Webhook(project_id=people.project, name="CRM", stage="incoming.after", position=1, created_on=NOON,
                          spec=WebhookSpec(RequestSpec(url="https://crm.example.com/")))  # fmt: skip
        session.add(webhook)
        session.flush()
        for hours, count, duration in ((2, 2 * MOST_TIMES, 10), (5, MOST_TIMES, 90)):
            made = now - timedelta(hours=hours)
            session.add_all(
                Delivery(id=UUID(int=first_id_at(made).int | (new_id().int & (1 << 80) - 1)), state="delivered",
                         project_id=people.project, webhook_id=webhook.id, webhook_revision=1, lane=1, due_at=made,
                         method="GET", url="https://crm.example.com/", headers=[], body=b"", duration_ms=duration,
                         created_on=made)
                for _ in range(count)
            )  # fmt: skip
    with database.read() as session:
        day = deliveries_of_day(session, people.project, now)
    assert (day.delivered, day.p50, day.p95, day.sampled) == (3 * MOST_TIMES, 10, 90, True)
