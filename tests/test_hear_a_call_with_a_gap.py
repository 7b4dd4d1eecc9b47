"""Two listeners, or one and CEL, hear the same call; one of them misses a part of it. No stage is published twice."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from pbxhub.ami.backfill import Backfill
from pbxhub.ami.cel_file import CelFile
from pbxhub.ami.channel_list import ChannelList
from pbxhub.ami.pbx_rows import known_trunks, read_rows
from pbxhub.calls.ami_events import (
    AttendedTransfer,
    DialEnd,
    Hangup,
    HangupRequest,
    Message,
    Newchannel,
    ParkedCall,
    Status,
)
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.cel import messages_of
from pbxhub.calls.cel_calls import BEFORE_ALL, Place
from pbxhub.calls.cel_rows import CelRow
from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
from pbxhub.calls.snapshot import load, outline
from pbxhub.calls.stages import CallReport
from pbxhub.calls.state import StageKey
from pbxhub.calls.tracker import Tracker
from pbxhub.delivery.outbox import publish
from pbxhub.store.history import StageEvent
from pbxhub.store.session import Database
from pbxhub.testing.pbx.pbx_player import PbxPlayer
from tests.support.cel_files import keep_first, new_cel, write_recorded
from tests.support.cel_recordings import rows_of
from tests.support.gaps import heard, with_gap
from tests.support.hub import VAULT, add_pbx
from tests.support.outbox_world import context_of
from tests.support.recordings import EXPECTED, VERSIONS, more

Key = tuple[str, str, str]


def keys_of(reports: Iterable[CallReport]) -> set[Key]:
    return {(report.linkedid, stage.name, stage.key) for report in reports for stage in report.stages}


def told_with_gaps(version: str, name: str) -> dict[frozenset[Key], str]:
    """What a listener tells that misses a part of the recording, any part: each outcome with the first such part."""
    count = len(heard(version, name))
    told: dict[frozenset[Key], str] = {}
    for begin in range(count):
        for end in range(begin + 1, count + 1):
            told.setdefault(frozenset(keys_of(with_gap(version, name, begin, end))), f"missing {begin} to {end}")
    return told


def told_too_often(published: Set[Key], undisturbed: Set[Key]) -> set[tuple[str, str]]:
    """Stages of a destination that are published more often than they happened."""
    often, right = (
        Counter((call, name, key.partition("#")[0]) for call, name, key in keys) for keys in (published, undisturbed)
    )
    return {stage[1:] for stage, count in often.items() if count > right[stage]}


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_listener_with_a_gap_adds_no_stage_to_those_of_another_or_of_cel(version: str, name: str) -> None:
    undisturbed = keys_of(with_gap(version, name, 0, 0))
    tracker = Tracker()
    told_by_cel = messages_of(rows_of(version, name), DEFAULT_INCOMING_CONTEXTS)
    cel = keys_of(report for message in told_by_cel for report in tracker.feed(message))
    for gap, which in told_with_gaps(version, name).items():
        for others in (undisturbed, cel):
            assert not told_too_often(gap | others, undisturbed), which


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 0.02, 0.5, 1.9])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_hub_that_starts_in_the_middle_of_a_call_continues_it_as_cel_tells_it(
    version: str, name: str, seconds: float, tmp_path: Path
) -> None:
    """At any moment of the call: nothing that an undisturbed hub does not tell, and all that is told without CEL.

    seconds: by which the rows are ahead of the list. With those of half a second the beginning is told, too, except
    in the middle of a hangup: Asterisk may write the rows of its channels in another order.
    """
    undisturbed = keys_of(with_gap(version, name, 0, 0))
    rows = list(rows_of(version, name))
    path = new_cel(tmp_path / "master.db")
    write_recorded(path, rows)
    for begin, (message, live, parked) in reversed(list(enumerate(heard(version, name)))):
        keep_first(path, sum(row.time <= message.time + seconds for row in rows))
        backfill = Backfill(CelFile(str(path), "iso-8859-1"), Place(BEFORE_ALL, "2.0"), Tracker)
        now, before_all = (datetime.fromtimestamp(time, UTC) for time in (message.time, 1.0))
        channels = ChannelList(live, before_all, version, None, None)  # read then, so that no row is waited for
        later = (*parked, *(later for later, _, _ in heard(version, name)[begin + 1 :]))
        tracker = Tracker()
        told = keys_of(asyncio.run(backfill.take_up(channels, tracker, now))) | told_from(tracker, channels, now, later)
        calls = {status.channel.linkedid for status in live}
        begun = {key for key in undisturbed if key[0] in calls and key[1].endswith(".before")}
        assert told <= undisturbed, f"from {begin} on"
        assert begun <= told or seconds < 0.5 or isinstance(message, Hangup | HangupRequest), f"from {begin} on"
        assert told_from(Tracker(), channels, now, later) & undisturbed <= told, f"from {begin} on"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [-2, 0, 1.9])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_hub_that_starts_in_the_middle_of_a_call_tells_all_of_it_once_in_the_end(
    version: str, name: str, seconds: float, tmp_path: Path
) -> None:
    """At any moment of the call. seconds: by which the rows are ahead of the list, or late. The others come when the
    call is over."""
    undisturbed, rows = keys_of(with_gap(version, name, 0, 0)), list(rows_of(version, name))
    path = new_cel(tmp_path / "master.db")
    for begin, (message, live, parked) in enumerate(heard(version, name)):
        keep_first(path, 0)
        known = sum(row.time <= message.time + seconds for row in rows)
        write_recorded(path, rows[:known])
        backfill, tracker = Backfill(CelFile(str(path), "iso-8859-1"), Place(BEFORE_ALL, "2.0"), Tracker), Tracker()
        now, before_all = (datetime.fromtimestamp(time, UTC) for time in (message.time, 1.0))
        told = asyncio.run(backfill.take_up(ChannelList(live, before_all, version, None, None), tracker, now))
        gone = tracker.resync(live, now, "lost_while_disconnected")
        told += backfill.resync(ChannelList(live, now, version, None, None), gone, now)
        for later in (*parked, *(later for later, _, _ in heard(version, name)[begin + 1 :])):
            told += backfill.feed(later, tracker.feed(later), now)
        write_recorded(path, rows[known:])
        told += asyncio.run(polled(backfill, now + timedelta(minutes=1)))
        told += asyncio.run(polled(backfill, now + timedelta(minutes=3)))
        assert keys_of(told) == undisturbed, f"from {begin} on"


async def polled(backfill: Backfill, now: datetime) -> list[CallReport]:
    return [report async for report in backfill.poll(now)]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_rows_that_come_while_another_call_is_waited_for_are_not_added_to_a_call_as_the_list_has_it(
    version: str, tmp_path: Path
) -> None:
    """A call is sent on to the same phone while the hub waits for the rows of another call, which never come."""
    rows, all_heard = list(rows_of(version, "ami_blindtransfer")), heard(version, "ami_blindtransfer")
    message, live, _ = all_heard[1]
    path, now = new_cel(tmp_path / "master.db"), datetime.fromtimestamp(message.time, UTC)
    write_recorded(path, rows[:1])
    other = live[0]._replace(channel=live[0].channel._replace(uniqueid="9.9", linkedid="9.9"))
    source = WrittenMeanwhile(str(path), "iso-8859-1")
    source.later = rows[1:]
    listed = ChannelList((*live, other), now + timedelta(minutes=1), version, None, None)
    tracker = Tracker()
    told = keys_of(asyncio.run(Backfill(source, Place(BEFORE_ALL, "2.0"), Tracker).take_up(listed, tracker, now)))
    assert not source.later
    channels = ChannelList(live, now, version, None, None)
    told |= told_from(tracker, channels, now, [later for later, _, _ in all_heard[2:]])
    assert told == keys_of(with_gap(version, "ami_blindtransfer", 0, 0))


class WrittenMeanwhile(CelFile):
    """later: rows that Asterisk writes after the first reading."""

    later: Sequence[CelRow] = ()

    def rows_after(self, place: Place) -> list[tuple[Place, CelRow]] | None:
        found = super().rows_after(place)
        write_recorded(Path(self.name), self.later)
        self.later = ()
        return found


def told_from(tracker: Tracker, live: ChannelList, now: datetime, later: Iterable[Message]) -> set[Key]:
    told = tracker.resync(live.channels, now, "lost_while_disconnected")
    return keys_of(told) | keys_of(report for message in later for report in tracker.feed(message))


GAPS = 300  # of each recording, always the same ones
WHOLE = ("real16_", "pool22")  # whole streams, with more than the events that the hub asks for
NOT_KNOWABLE = {  # what the list of channels does not say
    # the caller has hung up; an outside party whom an employee has called, parked and left looks the same
    "cf_all": {("outgoing.before", ""), ("outgoing.pickup", ""), ("outgoing.after", "")},
    "forward_loop": {("incoming.forward", "151")},  # how often a phone has diverted to itself
    "queue_caller_transfers_attended_out": {  # a call inside and one to the outside became one
        ("outgoing.before", ""), ("outgoing.pickup", ""), ("outgoing.after", ""),
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("recording", [name for name in more() if not name.partition("/")[2].startswith(WHOLE)])
def test_a_listener_with_a_gap_adds_no_stage_to_those_of_another_on_any_pbx(recording: str) -> None:
    version, _, name = recording.partition("/")
    undisturbed, tracker = keys_of(with_gap(version, name, 0, 0)), Tracker()
    for message, _, _ in heard(version, name):
        tracker.feed(message)
    gaps = list(combinations(range(len(heard(version, name)) + 1), 2))
    for begin, end in Random(recording).sample(gaps, min(GAPS, len(gaps))):
        told = keys_of(with_gap(version, name, begin, end, tracker.trunks))
        often = told_too_often(told | undisturbed, undisturbed)
        assert often <= NOT_KNOWABLE.get(name, set()), f"missing {begin} to {end}"


def test_a_colleague_who_is_asked_in_a_gap_and_refuses_has_not_taken_the_caller() -> None:
    told = [stage for report in with_gap("more-suite-22", "blonde_refused_given_up", 0, 16) for stage in report.stages]
    assert [f"{stage.name.removeprefix('incoming.')} {stage.key}".strip() for stage in told] == [
        "before", "forward 101", "pickup 101", "forward 102", "after",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "end"), [("bridge_app", 8), ("bridge_app_takes_over", 14), ("bridge_add", 11)])
def test_a_phone_that_dialled_to_take_the_caller_in_a_gap_was_not_rung(name: str, end: int) -> None:
    heard_all = keys_of(with_gap("more-suite-22", name, 0, 0))
    assert keys_of(with_gap("more-suite-22", name, 0, end)) <= heard_all


@pytest.mark.parametrize(
    ("version", "end", "stages"),
    [
        ("16", 22, ["before", "forward 102", "pickup 102", "after"]),
        ("22", 21, ["before", "forward 102", "pickup 102", "after"]),
        ("16", 23, ["before", "pickup 102", "after"]),  # the list of channels shows the caller with 102 already
        ("22", 22, ["before", "pickup 102", "after"]),
    ],
)
def test_a_transfer_heard_from_the_consultation_on_is_told_once(version: str, end: int, stages: list[str]) -> None:
    told = [stage for report in with_gap(version, "attended_feature", 0, end) for stage in report.stages]
    assert [f"{stage.name.removeprefix('incoming.')} {stage.key}".strip() for stage in told] == stages


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_that_was_parked_in_a_gap_is_told_of_as_parked(version: str) -> None:
    messages = [message for message, _, _ in heard(version, "park_retrieve")]
    parked = next(at for at, message in enumerate(messages) if isinstance(message, ParkedCall))
    told = keys_of(with_gap(version, "park_retrieve", parked - 2, parked + 1))
    assert told == keys_of(with_gap(version, "park_retrieve", 0, 0))


@pytest.mark.parametrize("is_retrieved", [False, True])
def test_an_outgoing_call_parked_before_a_gap_was_talked_on_until_then_unless_a_colleague_took_it(
    is_retrieved: bool,
) -> None:
    """An employee calls out, talks, parks the call and hangs up. Ten minutes later the hub connects again."""
    messages = [message for message, _, _ in heard("22", "out_answered")]
    parks = next(message for message, _, _ in heard("22", "park_retrieve") if isinstance(message, ParkedCall))
    told = messages[: next(at for at, message in enumerate(messages) if isinstance(message, HangupRequest))]
    phone, outside = [message.channel for message in messages if isinstance(message, Newchannel)]
    gone = {message.uniqueid: message for message in messages if isinstance(message, Hangup)}
    at = told[-1].time + 3
    parked = parks._replace(time=at, parkee=outside._replace(linkedid=phone.linkedid))
    live = tuple(
        one for one in heard("22", "out_answered")[len(told) - 1][1] if one.channel.uniqueid == outside.uniqueid
    )
    taker = phone._replace(name="PJSIP/102-000000ff", uniqueid=f"{phone.uniqueid}9", number="102")
    took = live[0]._replace(channel=taker, dnid="71")
    tracker = Tracker()
    for message in (*told, parked, gone[phone.uniqueid]._replace(time=at)):
        tracker.feed(message)
    answered = next(m.time for m in told if isinstance(m, DialEnd))
    tracker.resync(
        (*live, took) if is_retrieved else live, datetime.fromtimestamp(at + 600, UTC), "lost_while_disconnected"
    )
    if is_retrieved:
        tracker.feed(gone[phone.uniqueid]._replace(time=at + 700, uniqueid=taker.uniqueid))
    else:
        tracker.feed(parked._replace(time=at + 600))
    [after] = [s for report in tracker.feed(gone[outside.uniqueid]._replace(time=at + 700)) for s in report.stages]
    talked = int(at - answered) + 700 * is_retrieved
    assert (after.name, after.values["billsec"]) == ("outgoing.after", talked)


def test_an_outgoing_call_given_away_while_it_rang_and_answered_in_a_gap_was_talked_on_since_the_hub_knows_it() -> None:
    """An employee who has somebody on one line calls out on another, and connects the two before it is answered."""
    call = heard("22", "out_answered")
    first = next(message for message, _, _ in call if isinstance(message, Newchannel))
    rings = next(at for at, (message, _, _) in enumerate(call) if isinstance(message, DialEnd))
    talking = next(live for _, live, _ in call if sum(bool(one.bridge) for one in live) == 2)
    gives_away = next(
        message for message, _, _ in heard("22", "attended_refer") if isinstance(message, AttendedTransfer)
    )
    at = call[rings - 1][0].time
    held = first.channel._replace(name="PJSIP/101-000000ff", uniqueid="1795328670.1", linkedid="1795328670.1")
    tracker = Tracker()
    for message, _, _ in call[:rings]:
        tracker.feed(message)
    tracker.feed(first._replace(channel=held, time=at))
    tracker.feed(gives_away._replace(original=held, second=first.channel, time=at))
    tracker.resync(talking, datetime.fromtimestamp(at + 30, UTC), "lost_while_disconnected")
    ends = [message._replace(time=at + 100) for message, _, _ in call if isinstance(message, Hangup)]
    told = [stage for message in ends for report in tracker.feed(message) for stage in report.stages]
    assert [(stage.name, stage.values["billsec"]) for stage in told] == [("outgoing.after", 70)]


@pytest.mark.parametrize(("version", "end"), [("more-16", 14), ("more-22", 14), ("more-16", 24), ("more-22", 24)])
def test_a_three_way_talk_heard_from_the_consultation_on_never_sends_the_caller_to_the_caller(
    version: str, end: int
) -> None:
    told = [stage for report in with_gap(version, "atx_three", 0, end) for stage in report.stages]
    assert not {stage.key for stage in told if stage.name != "incoming.before"} - {"", "101", "102"}


@pytest.mark.parametrize(
    ("version", "name", "end"), [("more-16", "att_out_gosub_16", 12), ("more-22", "att_out_gosub", 10)]
)
def test_a_trunk_that_is_being_consulted_when_the_hub_comes_back_is_no_employee(
    version: str, name: str, end: int
) -> None:
    told = [stage for report in with_gap(version, name, 0, end) for stage in report.stages]
    assert "5" not in {stage.key for stage in told}  # the endpoint is trunk-5-b


@pytest.mark.parametrize("application", ["AppDial", "AppQueue"])
def test_a_call_taken_by_a_colleague_in_a_gap_has_rung_the_phone_that_was_dialled(application: str) -> None:
    """Status has the number that the colleague dialled, *8, and the one by which the phone was dialled."""
    caller, leg = talking(Context="from-trunk")
    took = leg._replace(dnid="*8", application=application, variables={"DIALEDPEERNUMBER": "desk-102/sip:102@pbx"})
    (report,) = Tracker(endpoints={"desk-102": "102"}).resync([caller, took], datetime.now(UTC), "pbx_restarted")
    assert [(stage.name, stage.key) for stage in report.stages] == [
        ("incoming.before", ""),
        ("incoming.forward", "102"),
        ("incoming.pickup", "101"),
    ]
    (report,) = Tracker().resync([caller, took._replace(variables={})], datetime.now(UTC), "pbx_restarted")
    assert [(stage.name, stage.key) for stage in report.stages] == [("incoming.before", ""), ("incoming.pickup", "101")]


def write(database: Database, pbx_id: int, reports: Iterable[CallReport]) -> None:
    for report in reports:
        publish(context_of(database), {pbx_id: [report]}, datetime.now(UTC))


@pytest.mark.parametrize("disturbed_first", [False, True])
def test_of_two_listeners_one_misses_a_diversion_and_every_stage_is_written_once(
    database: Database, disturbed_first: bool
) -> None:
    pbx_id = add_pbx(database, PbxPlayer())
    whole, disturbed = list(with_gap("22", "forward_302", 0, 0)), list(with_gap("22", "forward_302", 4, 15))
    for reports in (disturbed, whole) if disturbed_first else (whole, disturbed):
        write(database, pbx_id, reports)
    with database.read() as session:
        rows = session.execute(select(StageEvent.stage, StageEvent.key).order_by(StageEvent.id)).all()
    forwards = [key for stage, key in rows if stage == "incoming.forward"]
    assert sorted(forwards) == ["101", "103"]
    assert sorted(stage for stage, _ in rows if stage != "incoming.forward") == [
        "incoming.after",
        "incoming.before",
        "incoming.pickup",
    ]


def outlined(forwards: Sequence[str], pickups: Sequence[str]) -> tuple[int, dict[str, tuple[StageKey, ...]]]:
    now = datetime.now(UTC)
    known = CallReport("1.1", "incoming", "79161234567", "", "5550100", "103", now, now, None, "", {})
    call = load(outline(known, {"incoming.forward": list(forwards), "incoming.pickup": list(pickups)}))
    assert call is not None
    return call.hop.number, call.fired


def test_a_call_known_by_its_published_stages_alone_counts_its_hops_again() -> None:
    hop, fired = outlined(["101", "103", "101#2"], ["101", "103", "101#2"])
    assert (hop, fired["incoming.pickup"]) == (2, ((1, "101"), (1, "103"), (2, "101")))
    hop, fired = outlined(["101", "*21#2"], ["*21#2"])
    assert (hop, fired) == (1, {"incoming.forward": ((1, "101"), (1, "*21#2")), "incoming.pickup": ((1, "*21#2"),)})


def talking(**caller: str) -> list[Status]:
    """An incoming call that the dialplan has sent on to a queue: what Status tells of it."""
    own = {"Channel": "PJSIP/trunk-00000001", "CallerIDNum": "79161234567", "Context": "ext-queues", "Exten": "600"}
    own |= {"Uniqueid": "1.1", "DNID": "5550100", "Application": "Queue", "BridgeID": "b", **caller}
    agent = {"Channel": "PJSIP/101-00000002", "CallerIDNum": "101", "Context": "from-internal", "Uniqueid": "1.2"}
    agent |= {"ConnectedLineNum": "79161234567", "Application": "AppQueue", "BridgeID": "b"}
    told = []
    for channel in (own, agent):
        lines = {"Event": "Status", **channel, "Linkedid": "1.1", "ChannelStateDesc": "Up"}
        status = parse("\n".join(f"{name}: {value}" for name, value in lines.items()), 100.0)
        assert isinstance(status, Status)
        told.append(status)
    return told


def taken_up(tracker: Tracker, **caller: str) -> tuple[str, list[str]]:
    (report,) = tracker.resync(talking(**caller), datetime.now(UTC), "lost_while_disconnected") or [None]
    return ("", []) if report is None else (report.dst, [stage.name for stage in report.stages])


BEGUN = ["incoming.before", "incoming.forward", "incoming.pickup"]


def test_a_call_that_has_moved_on_in_the_dialplan_is_known_for_incoming_by_its_trunk() -> None:
    tracker = Tracker()
    for message, _, _ in heard("22", "no_answer"):
        tracker.feed(message)
    assert taken_up(tracker) == ("5550100", BEGUN)


@pytest.mark.parametrize(
    ("shown", "dialled", "number"),
    [
        ("5550100", "15550001@trunk0", "15550001"),
        ("15550001", "", "15550001"),
        ("5550100", "", ""),  # the DID
        ("79161234567", "", ""),  # the caller
    ],
)
def test_a_phone_outside_that_took_the_call_in_a_gap_is_told_by_what_was_dialled(
    shown: str, dialled: str, number: str
) -> None:
    caller, leg = talking(Context="from-trunk")
    variables = {"DIALEDPEERNUMBER": dialled} if dialled else {}
    party = leg.channel._replace(name="PJSIP/trunk0-00000002", context="from-trunk", number=shown)
    live = [caller, leg._replace(channel=party, variables=variables)]
    (report,) = Tracker().resync(live, datetime.now(UTC), "lost_while_disconnected")
    assert [(stage.name, stage.key) for stage in report.stages] == [
        ("incoming.before", ""),
        ("incoming.forward", number),
        ("incoming.pickup", number),
    ]


@pytest.mark.parametrize(
    ("driver", "came_with", "caller"),
    [
        ("PJSIP", "79161234567", "79161234567"),
        ("SIP", "79161234567", "79161234567"),
        ("SIP", "anonymous", ""),
        ("PJSIP", "", "5559999"),
        ("IAX2", "101", "5559999"),  # whoever called there
    ],
)
def test_a_caller_sent_out_in_a_gap_is_told_by_the_number_of_the_call_and_not_by_that_of_the_company(
    driver: str, came_with: str, caller: str
) -> None:
    """FreePBX sets the company's number on the caller's channel before it dials a trunk."""
    first, leg = talking(Context="from-trunk", CallerIDNum="5559999")
    first = first._replace(
        channel=first.channel._replace(name=f"{driver}/trunk-00000001"),
        bridge="", variables={"CALLERID(ANI)": came_with},
    )  # fmt: skip
    party = leg.channel._replace(name="PJSIP/trunk0-00000002", context="from-trunk", number="s")
    ringing = leg._replace(
        channel=party, state="Ringing", bridge="", connected="5559999",
        variables={"DIALEDPEERNUMBER": "15550001@trunk0"},
    )  # fmt: skip
    (report,) = Tracker().resync([first, ringing], datetime.now(UTC), "lost_while_disconnected")
    assert report.caller == caller
    assert [stage.name for stage in report.stages] == ["incoming.before", "incoming.forward"]


@pytest.mark.parametrize(("dnid", "stages"), [("5550100", BEGUN), ("", [])])
def test_a_trunk_that_calls_went_out_by_is_known_too_but_not_what_asterisk_itself_dialled(
    dnid: str, stages: list[str]
) -> None:
    tracker = Tracker()
    for message, _, _ in heard("22", "out_answered"):
        tracker.feed(message)
    assert taken_up(tracker, DNID=dnid)[1] == stages


def test_a_hub_just_started_knows_the_trunks_of_the_last_calls(database: Database) -> None:
    pbx_id = add_pbx(database, PbxPlayer())
    write(database, pbx_id, with_gap("22", "no_answer", 0, 0))
    trunks = known_trunks(database, read_rows(database, VAULT)[pbx_id])
    assert trunks == {"trunk"}
    tracker = Tracker()
    tracker.restore({}, trunks)
    assert taken_up(tracker) == ("5550100", BEGUN)
    assert taken_up(Tracker())[1] == []
