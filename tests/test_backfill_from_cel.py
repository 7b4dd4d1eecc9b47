"""A call nobody listened to gives, from the rows of Asterisk's CEL, the same stages as live."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbxhub.calls.ami_events import Message
from pbxhub.calls.cel import messages_of as messages_behind
from pbxhub.calls.cel_rows import CelRow, read_row
from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
from pbxhub.calls.stages import OPTIONAL_STAGES
from pbxhub.calls.tracker import Tracker
from tests.support.cel_recordings import HEADERS, rows_of
from tests.support.recordings import EXPECTED, VERSIONS
from tests.support.recordings import messages_of as live_messages


def messages_of(rows: Iterable[CelRow]) -> Iterator[Message]:
    return messages_behind(rows, DEFAULT_INCOMING_CONTEXTS)


Stages = dict[str, set[tuple[str, str]]]


def stages(messages: Iterator[object]) -> Stages:
    tracker, found = Tracker(), Stages()
    for message in messages:
        for report in tracker.feed(message):  # type: ignore[arg-type]
            found.setdefault(report.linkedid, set()).update((stage.name, stage.key) for stage in report.stages)
    return {linkedid: keys for linkedid, keys in found.items() if keys}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXPECTED)
def test_the_rows_of_every_recorded_call_give_the_stages_it_gave_live(version: str, name: str) -> None:
    assert stages(messages_of(rows_of(version, name))) == stages(iter(live_messages(version, name)))


TEXT = st.text(st.characters(), max_size=30)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_rows_never_raise(data: st.DataObject) -> None:
    recorded = list(rows_of(data.draw(st.sampled_from(VERSIONS)), data.draw(st.sampled_from(sorted(EXPECTED)))))
    kept = [row for row in recorded if data.draw(st.integers(0, 5))]
    columns = [{column: getattr(row, column) for column in HEADERS} for row in kept]
    for at in data.draw(st.lists(st.integers(0, max(0, len(columns) - 1)), max_size=8)):
        if columns:
            columns[at][data.draw(st.sampled_from(sorted(HEADERS)))] = data.draw(TEXT)
    stages(messages_of([read_row(row) for row in columns]))


NEEDED = {"CHAN_START", "ANSWER", "HANGUP", "BLINDTRANSFER", "ATTENDEDTRANSFER", "FORWARD", "PICKUP"}
NEEDED |= {"PARK_START", "PARK_END", "USER_DEFINED"}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_few_kinds_of_rows_that_a_busy_pbx_writes_are_enough(name: str) -> None:
    rows = (row for row in rows_of("22", name) if row.eventtype in NEEDED)
    assert stages(messages_of(rows)) == stages(iter(live_messages("22", name)))


def test_a_row_of_another_column_set_is_read_as_far_as_it_goes() -> None:
    row = read_row({"eventtype": "CHAN_START", "eventtime": "2026-11-22 06:24:22.5", "uniqueid": 5, "AcctId": 7})
    assert (row.time, row.uniqueid, row.exten) == (1795328662.5, "5", "")


def test_a_mark_of_the_hubs_own_dialplan_is_read() -> None:
    """CELGenUserEvent(PBXHubEvaluation,4), as asterisk-conf/ has it."""
    rows = list(rows_of("22", "answered_agent_hangup"))
    caller = next(row for row in rows if row.uniqueid == row.linkedid)
    end = next(at for at, row in enumerate(rows) if row.eventtype == "HANGUP" and row.uniqueid == caller.uniqueid)
    said = {"eventtype": "USER_DEFINED", "userdeftype": "PBXHubEvaluation", "eventextra": '{"extra":"4"}'}
    mark = replace(caller, eventtime=rows[end].eventtime, **said)
    assert ("incoming.evaluation", "1") in stages(messages_of([*rows[:end], mark, *rows[end:]]))[caller.linkedid]


@pytest.mark.parametrize(("cause", "outcome"), [(21, "DECLINE"), (17, "BUSY"), (19, "NO ANSWER"), (0, "NO ANSWER")])
def test_a_call_that_asterisk_itself_began_ends_as_the_phone_it_rang_did(cause: int, outcome: str) -> None:
    own = {"uniqueid": "pbxhub-1", "linkedid": "pbxhub-1", "channame": "PJSIP/151-00000000", "context": "from-internal",
           "exten": "s", "cidnum": "151"}  # fmt: skip
    rung = own | {"appname": "AppDial2", "appdata": "(Outgoing Line)"}
    rows = [
        own | {"eventtype": "CHAN_START", "eventtime": 1795860968.0},
        rung | {"eventtype": "HANGUP", "eventtime": 1795860970.0, "eventextra": f'{{"hangupcause":{cause}}}'},
    ]
    tracker = Tracker()
    (report,) = [report for message in messages_of(map(read_row, rows)) for report in tracker.feed(message)]
    assert (report.direction, report.disposition) == ("internal", outcome)


def trunk_leg(number: str, appdata: str, first: str = "5550922") -> set[tuple[str, str]]:
    """The stages of a call that a phone outside took, whose leg shows that number; Dial was told that appdata."""
    caller = {"uniqueid": "1.1", "linkedid": "1.1", "channame": "PJSIP/trunk-00000000", "context": "from-trunk",
              "exten": first, "cidnum": "79161234567"}  # fmt: skip
    leg = {"uniqueid": "1.2", "linkedid": "1.1", "channame": "PJSIP/trunk0-00000001", "context": "from-trunk",
           "exten": "s"}  # fmt: skip
    rows = [
        caller | {"eventtype": "CHAN_START", "eventtime": 100.0},
        leg | {"eventtype": "CHAN_START", "eventtime": 100.1},
        leg | {"eventtype": "ANSWER", "eventtime": 102.0, "cidnum": number, "appname": "AppDial"},
        caller | {"eventtype": "ANSWER", "eventtime": 102.1, "appname": "Dial" if appdata else "", "appdata": appdata},
        leg | {"eventtype": "HANGUP", "eventtime": 109.0, "cidnum": number},
        caller | {"eventtype": "HANGUP", "eventtime": 109.1},
    ]
    return stages(messages_of(map(read_row, rows)))["1.1"]


@pytest.mark.parametrize(
    ("appdata", "shown", "number"),
    [
        ("PJSIP/101&PJSIP/15550001@trunk0,20", "5550922", "15550001"),
        ("PJSIP/trunk0/sip:15550001@provider.example,20", "79161234567", "15550001"),
        ("SIP/15550001@another", "15550002", "15550002"),
        ("", "15550001", "15550001"),
        ("", "5550922", ""),  # the DID
        ("", "79161234567", ""),  # the caller
    ],
)
def test_an_outside_leg_is_told_by_what_was_dialled_and_never_by_the_number_of_the_caller_or_the_did(
    appdata: str, shown: str, number: str
) -> None:
    assert {key for _, key in trunk_leg(shown, appdata)} == {"", number}


def test_a_number_that_an_ordered_call_of_freepbx_leaves_for_is_known_from_the_begin_of_dial() -> None:
    own = {"channame": "PJSIP/2001-00000000", "uniqueid": "1.1", "linkedid": "1.1", "cidnum": "2001"}
    leg = {"channame": "PJSIP/pstn-main-00000001", "uniqueid": "1.2", "linkedid": "1.1", "context": "from-pstn"}
    dial = {"exten": "s", "appname": "Dial", "appdata": "PJSIP/89000000011@pstn-main,5,T"}
    rows = [
        own | {"eventtype": "CHAN_START", "exten": "s", "context": "from-internal", "appname": "AppDial2"},
        own | {"eventtype": "ANSWER", "appname": "AppDial2"},
        own | dial | {"eventtype": "APP_START"},
        leg | {"eventtype": "CHAN_START", "exten": "s"},
        leg | {"eventtype": "ANSWER", "exten": "s", "cidnum": "s"},
    ]
    at = [read_row(row | {"eventtime": f"{1795939677 + second}.5"}) for second, row in enumerate(rows)]
    tracker = Tracker()
    reports = [report for message in messages_of(at) for report in tracker.feed(message)]
    fired = [(stage.name, stage.values.get("dst")) for report in reports for stage in report.stages]
    assert fired == [("outgoing.before", "89000000011"), ("outgoing.pickup", "89000000011")]


def test_a_leg_that_began_before_the_row_of_its_transfer_was_dialled_for_it() -> None:
    """On a busy machine: the caller goes on, and Asterisk writes BLINDTRANSFER afterwards."""
    own = {"channame": "PJSIP/2001-00000000", "uniqueid": "1.1", "linkedid": "1.1", "context": "from-internal"}
    colleague = {"channame": "PJSIP/2002-00000001", "uniqueid": "1.2", "linkedid": "1.1", "context": "from-internal"}
    leg = {"channame": "PJSIP/pstn-main-00000002", "uniqueid": "1.3", "linkedid": "1.1", "context": "from-pstn"}
    rows = [
        own | {"eventtype": "CHAN_START", "exten": "2002", "eventtime": 100.0},
        colleague | {"eventtype": "CHAN_START", "eventtime": 100.1},
        colleague | {"eventtype": "ANSWER", "eventtime": 102.0},
        leg | {"eventtype": "CHAN_START", "cidnum": "89000000012", "eventtime": 105.0},
        colleague | {"eventtype": "BLINDTRANSFER", "eventtime": 105.002, "eventextra": '{"extension":"89000000012"}'},
        leg | {"eventtype": "ANSWER", "cidnum": "89000000012", "eventtime": 107.0},
    ]
    assert stages(messages_of(map(read_row, rows)))["1.1"] == {("outgoing.before", ""), ("outgoing.pickup", "")}


@pytest.mark.parametrize(
    ("caller_left", "source", "outcome"),
    [(False, "PJSIP/pstn-main-00000001", "BUSY"), (False, "", "BUSY"), (True, "", "NO ANSWER")],
)
def test_a_leg_that_was_given_up_is_not_busy_though_its_cause_says_so(
    caller_left: bool, source: str, outcome: str
) -> None:
    """The caller hangs up while it rings; a colleague who was dialled before was busy, and the cause stays."""
    *begun, _, leg_ends, own_ends = freepbx_rows("89000000011")
    why = replace(leg_ends, eventextra=f'{{"hangupcause":17,"hangupsource":"{source}"}}')
    left = f'{{"hangupcause":17,"hangupsource":"{own_ends.channame if caller_left else ""}"}}'
    end = replace(own_ends, eventtime=leg_ends.eventtime, eventextra=left)
    tracker = Tracker()
    reports = [report for message in messages_of([*begun, why, end]) for report in tracker.feed(message)]
    assert reports[-1].disposition == outcome


def freepbx_rows(exten: str) -> list[CelRow]:
    """2001 dials out; FreePBX dials the trunk in a Gosub, so that the leg shows "s"."""
    own = {"channame": "PJSIP/2001-00000000", "uniqueid": "1.1", "linkedid": "1.1", "cidnum": "2001"}
    leg = {"channame": "PJSIP/pstn-main-00000001", "uniqueid": "1.2", "linkedid": "1.1", "context": "from-pstn"}
    rows = [
        own | {"eventtype": "CHAN_START", "exten": exten, "context": "from-internal"},
        leg | {"eventtype": "CHAN_START", "exten": "s"},
        leg | {"eventtype": "ANSWER", "exten": "s", "cidnum": "s"},
        leg | {"eventtype": "HANGUP"},
        own | {"eventtype": "HANGUP", "exten": "s", "context": "macro-dialout-trunk"},
    ]
    return [read_row(row | {"eventtime": f"{1795939677 + at}.5"}) for at, row in enumerate(rows)]


@pytest.mark.parametrize(("exten", "number"), [("89000000011", "89000000011"), ("s", None)])
def test_a_number_dialled_in_a_gosub_is_what_the_employee_dialled_and_never_s(exten: str, number: str | None) -> None:
    tracker = Tracker()
    reports = [report for message in messages_of(freepbx_rows(exten)) for report in tracker.feed(message)]
    fired = [(stage.name, stage.values.get("dst")) for report in reports for stage in report.stages]
    assert fired == [("outgoing.before", number), ("outgoing.pickup", number), ("outgoing.after", number)]


def test_a_number_to_which_an_inside_call_was_sent_on_is_known_from_the_transfer() -> None:
    begun, leg, *_ = freepbx_rows("2002")
    columns = {column: getattr(begun, column) for column in HEADERS}
    moved = {"eventtype": "BLINDTRANSFER", "eventextra": '{"extension":"89000000012"}', "eventtime": "1795939678.0"}
    tracker = Tracker()
    messages = messages_of([begun, read_row(columns | moved), leg])
    reports = [report for message in messages for report in tracker.feed(message)]
    assert [stage.values.get("dst") for report in reports for stage in report.stages] == ["89000000012"]


QUEUE = {"appname": "Queue", "appdata": "support,t,,,30"}
CALLER = {"channame": "PJSIP/trunk-00000000", "uniqueid": "1.1", "linkedid": "1.1", "context": "from-trunk"}
AGENT = {"channame": "PJSIP/101-00000001", "uniqueid": "1.2", "linkedid": "1.1", "context": "from-internal"}
LEFT = {"eventextra": '{"hangupcause":16,"hangupsource":"PJSIP/trunk-00000000"}'}
ENTERED = [
    CALLER | {"eventtype": "CHAN_START", "exten": "5550103", "cidnum": "79161234567", "eventtime": 100.0},
    CALLER | QUEUE | {"eventtype": "APP_START", "eventtime": 101.0},
    AGENT | {"eventtype": "CHAN_START", "cidnum": "101", "eventtime": 102.0},
]


def optional_stages(*rows: dict[str, object]) -> list[tuple[object, ...]]:
    tracker = Tracker(optional=OPTIONAL_STAGES)
    reports = [report for message in messages_of(map(read_row, rows)) for report in tracker.feed(message)]
    names = ("queue", "queue_wait", "ring_status", "disposition")
    return [
        (stage.name, *(stage.values[name] for name in names if name in stage.values))
        for report in reports
        for stage in report.stages
        if stage.name in OPTIONAL_STAGES or stage.name.endswith(".after")
    ]


def test_a_caller_who_hangs_up_while_waiting_has_left_the_queue() -> None:
    assert optional_stages(
        *ENTERED,
        CALLER | QUEUE | {"eventtype": "APP_END", "eventtime": 107.1},
        AGENT | {"eventtype": "HANGUP", "eventtime": 107.1},
        CALLER | LEFT | {"eventtype": "HANGUP", "eventtime": 107.2},
    ) == [
        ("incoming.abandoned", "support", 6),
        ("incoming.unring", "support", 6, "NO ANSWER"),
        ("incoming.after", "support", 6, "NO ANSWER"),
    ]  # fmt: skip


def test_a_caller_whom_the_queue_sends_on_or_whom_somebody_answered_has_not_left_it() -> None:
    sent_on = optional_stages(
        *ENTERED,
        AGENT | {"eventtype": "HANGUP", "eventtime": 116.0, "eventextra": '{"hangupcause":17}'},
        CALLER | QUEUE | {"eventtype": "APP_END", "eventtime": 116.1},
        CALLER | LEFT | {"eventtype": "HANGUP", "eventtime": 130.0},
    )
    assert sent_on == [("incoming.unring", "support", 15, "BUSY"), ("incoming.after", "support", 29, "BUSY")]
    answered = optional_stages(
        *ENTERED,
        AGENT | {"eventtype": "ANSWER", "eventtime": 105.0},
        AGENT | {"eventtype": "HANGUP", "eventtime": 116.0},
        CALLER | QUEUE | {"eventtype": "APP_END", "eventtime": 116.1},
        CALLER | LEFT | {"eventtype": "HANGUP", "eventtime": 116.2},
    )
    assert answered == [("incoming.after", "support", 4, "ANSWERED")]


def test_a_disposition_that_the_dialplan_reports_is_read() -> None:
    """CELGenUserEvent(PBXHubDisposition,VOICEMAIL), as asterisk-conf/ has it."""
    said = {"eventtype": "USER_DEFINED", "userdeftype": "PBXHubDisposition", "eventextra": '{"extra":"VOICEMAIL"}'}
    assert optional_stages(
        ENTERED[0], CALLER | said | {"eventtime": 104.0}, CALLER | LEFT | {"eventtype": "HANGUP", "eventtime": 109.0}
    ) == [("call.voicemail",), ("incoming.after", "VOICEMAIL")]
