"""A hub that was down during a whole call learns its optional stages from CEL: all but the holds."""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing

import pytest

from pbxhub.calls.ami_parser import parse
from pbxhub.calls.cel import messages_of
from pbxhub.calls.cel_rows import CelRow, read_row
from pbxhub.calls.stages import OPTIONAL_STAGES, CallReport
from pbxhub.calls.tracker import Tracker
from pbxhub.testing.pbx.asterisk import INCOMING_CONTEXT, Asterisk
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.waiting import await_until
from tests.support.watch import Watch

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]
Told = set[tuple[str, str, str, object, object]]


def told(reports: Iterable[CallReport]) -> Told:
    return {
        (report.linkedid, stage.name, stage.key, stage.values.get("queue"), stage.values.get("ring_status"))
        for report in reports
        for stage in report.stages
        if stage.name in OPTIONAL_STAGES
    }


def live(watch: Watch) -> Told:
    tracker = Tracker([INCOMING_CONTEXT], optional=OPTIONAL_STAGES)
    messages = filter(None, map(parse, watch.stream.blocks))
    stages = told(report for message in messages for report in tracker.feed(message))
    assert "internal.after" in {name for _, name, *_ in stages}
    return stages


def by_cel(pbx: Asterisk, linkedids: set[str]) -> Told:
    with closing(sqlite3.connect(f"file:{pbx.cel_database}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        rows = [read_row(dict(row)) for row in database.execute("select * from cel order by AcctId")]
    of_test: list[CelRow] = [row for row in rows if row.linkedid in linkedids]
    assert sum(row.eventtype == "LINKEDID_END" for row in of_test) == len(linkedids)
    tracker = Tracker([INCOMING_CONTEXT], optional=OPTIONAL_STAGES)
    messages = messages_of(of_test, [INCOMING_CONTEXT])
    return told(report for message in messages for report in tracker.feed(message))


def test_cel_alone_gives_them_as_the_events_do(watch: Watch, pbx: Asterisk, phone: Phone, outside: Phone) -> None:
    first, second, caller = phone(101), phone(102), outside()
    caller.dial("5550103")  # leaves the queue while a phone rings
    first.await_incoming()
    caller.hangup()
    pbx.wait_idle()
    caller.dial("5550103")  # hangs up after an agent has answered: this is not leaving the queue
    first.accept()
    caller.await_established()
    caller.hangup()
    pbx.wait_idle()
    caller.dial("5550117")  # voicemail, says the dialplan
    caller.await_closed()
    caller.dial("5550201")
    first.respond_incoming(603)
    pbx.wait_idle()
    first.dial("102")
    second.accept()
    first.await_established()
    first.hangup()
    pbx.wait_idle()
    live_stages = await_until(lambda: live(watch))
    names = sorted(name for _, name, *_ in live_stages)
    assert names == [
        "call.voicemail", "incoming.abandoned", "incoming.unring", "incoming.unring", "internal.after",
        "internal.before", "internal.pickup",
    ]  # fmt: skip
    linkedids = {report.linkedid for report in watch.reports}
    assert await_until(lambda: by_cel(pbx, linkedids)) == live_stages
