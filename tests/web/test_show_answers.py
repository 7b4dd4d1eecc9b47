"""A user looks at what a receiver answered: in lines where it is JSON, and as it came."""

from collections.abc import Callable

from flask import Flask
from sqlalchemy import select, update

from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.session import Database
from pbxhub.web.formatting import as_it_came
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People


def test_what_cannot_be_shown_is_written_out() -> None:
    assert as_it_came(b'{"a":1}\r\n\x00\xff\x1b \xd0\x96') == '{"a":1}\r\n\\x00\\xff\\x1b Ж'


def test_a_json_answer_is_shown_in_lines_and_as_it_came(
    app: Flask, database: Database, people: People, things: dict[str, object], signed_in: Callable[[str], Browser]
) -> None:
    with database.write() as session:
        delivery = session.scalars(select(Delivery.id)).one()
        session.add(Attempt(delivery_id=delivery, number=1, started_on=now(), finished_on=now(), outcome="http_5xx",
                            status_code=500, response_body=b'{"why":"full"}', request_headers=[],
                            response_headers=[]))  # fmt: skip
        session.execute(update(Delivery).values(attempts=1))
    page = signed_in("viewer").get(f"/projects/{people.project}/deliveries/{delivery}").text
    assert "{&#34;why&#34;:&#34;full&#34;}" in page
    assert "  &#34;why&#34;: &#34;full&#34;" in page
