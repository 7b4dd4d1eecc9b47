"""An operator includes asterisk-conf/: every file loads, every context does what it says, nothing else gets out."""

import re
import sqlite3
import wave
from collections.abc import Callable
from contextlib import closing

import pytest

from pbxhub.ami.login import filters
from pbxhub.ami.protocol import FILTERED_EVENTS
from pbxhub.paths import ASTERISK_CONF
from pbxhub.testing.pbx.ami_stream import AmiStream
from pbxhub.testing.pbx.asterisk import ADMIN_USER, HUB_USER, Asterisk
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.waiting import await_until, wait
from tests.support.watch import Watch

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]


def _dialplan() -> list[str]:
    main = (ASTERISK_CONF / "extensions.conf").read_text()
    return [(ASTERISK_CONF / name).read_text() for name in re.findall(r"^#include pbxhub/(\S+)", main, re.MULTILINE)]


START = "UserEvent: PBXHubEvaluationStart"


def test_every_file_is_included_and_loads_without_a_complaint(pbx: Asterisk) -> None:
    files = {path.name for path in ASTERISK_CONF.glob("*.conf")} - {"manager.conf", "manager-16.conf"}
    texts = [path.read_text() for path in [*pbx.folder.glob("etc/*.conf"), *ASTERISK_CONF.glob("*.conf")]]
    included = {name for text in texts for name in re.findall(r"^#include pbxhub/(\S+)", text, re.MULTILINE)}
    assert files <= included
    assert len(included & {"manager.conf", "manager-16.conf"}) == 1 or pbx.version == 22
    complaints = [
        line for line in pbx.log.read_text().splitlines() if "pbxhub/" in line and ("WARN" in line or "ERROR" in line)
    ]
    assert complaints == []


def test_the_hub_s_user_reads_calls_and_can_change_nothing(pbx: Asterisk) -> None:
    shown = pbx.cli(f"manager show user {HUB_USER}")
    assert re.search(r"read perm: system,call,agent,user,(dtmf,cdr|cdr,dtmf)\s", shown)
    assert re.search(r"write perm: reporting\s", shown)
    stream = AmiStream(pbx.address, HUB_USER)
    for action in ("Command", "Originate", "Redirect", "Hangup", "UpdateConfig", "ModuleLoad"):
        with pytest.raises(AssertionError, match="Permission denied"):
            stream.ask(action, Command="core show version", Channel="x", Module="x")
    stream.ask("CoreShowChannels")
    stream.ask("Status", Variables="CDR(start),MIXMONITOR_FILENAME")
    stream.close()


@pytest.mark.parametrize("context", sorted(re.findall(r"^\[(pbxhub-[\w-]+)\]", "".join(_dialplan()), re.MULTILINE)))
def test_every_context_can_be_entered_by_a_call_and_returns(pbx: Asterisk, outside: Phone, context: str) -> None:
    caller = outside()
    caller.dial(f"hook{context.removeprefix('pbxhub-')}")
    caller.await_closed()
    lines = pbx.last_lines(60)
    assert f"[s@{context}:1]" in lines
    if "No application 'VoiceMail'" in lines:  # Debian's package of 16 has none: Asterisk ends the call there
        assert (pbx.version, context) == (16, "pbxhub-voicemail")
    else:
        assert re.search(rf"\[s@{context}:\d+\] Return", lines)


def test_the_readme_shows_every_subroutine() -> None:
    shown = set(re.findall(r"^\| `Gosub\((pbxhub-[\w-]+)", (ASTERISK_CONF / "README.md").read_text(), re.MULTILINE))
    assert shown == set(re.findall(r"^\[(pbxhub-[\w-]+)\]", "".join(_dialplan()), re.MULTILINE))


@pytest.mark.parametrize("name", ["manager.conf", "manager-16.conf"])
def test_the_filters_name_exactly_what_the_hub_hears(name: str) -> None:
    text = (ASTERISK_CONF / name).read_text()
    names = re.findall(r"name\((\w+)\)", text) or re.findall(r"\w+", " ".join(re.findall("Event: (.+)", text)))
    assert set(names) >= FILTERED_EVENTS


def test_only_what_the_hub_hears_leaves_asterisk_and_every_event_has_its_time(
    pbx: Asterisk, watch: Watch, phone: Phone, outside: Phone
) -> None:
    everything = AmiStream(pbx.address)
    employee, caller = phone(101), outside()
    caller.dial("5550100")
    employee.accept()
    caller.hangup()
    watch.story()
    events = [block for block in watch.stream.blocks if block.startswith("Event: ")]
    assert {_name(block) for block in events} <= FILTERED_EVENTS | {"FullyBooted"}
    assert all("\nTimestamp: " in block for block in events if _name(block) != "FullyBooted")
    sent = len([block for block in everything.blocks if "Event: " in block])
    assert len(events) * 3 < sent, f"{len(events)} of {sent} events passed the filter"
    everything.close()


@pytest.mark.parametrize("by", ["manager.conf", "Action: Filter"])
def test_of_the_keys_that_are_pressed_only_those_of_feature_codes_leave_asterisk(
    pbx: Asterisk, phone: Phone, outside: Phone, by: str
) -> None:
    stream = AmiStream(pbx.address, HUB_USER if by == "manager.conf" else ADMIN_USER)
    everything = AmiStream(pbx.address)
    if by == "Action: Filter":
        for headers in filters(str(pbx.version)):
            stream.ask("Filter", **headers)
    employee, caller = phone(101), outside()
    caller.dial("5550100")
    employee.accept()
    caller.await_established()
    caller.dtmf("15*9#3")
    pressed = r"\nDigit: (.)\nDurationMs: \d+\nDirection: Received"
    await_until(lambda: "".join(_found(everything, pressed)) == "15*9#3")
    caller.hangup()
    await_until(lambda: len(_found(stream, "^Event: Hangup\n")) == 2)
    assert "".join(_found(stream, pressed)) == "*#"
    stream.close()
    everything.close()


def _found(stream: AmiStream, pattern: str) -> list[str]:
    return [found for block in stream.blocks for found in re.findall(pattern, block)]


def test_a_mark_after_the_call(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550105")
    employee.accept()
    caller.await_established()
    employee.hangup()
    _asked(watch)
    caller.dtmf("4")
    caller.await_closed()
    assert watch.story() == [
        "incoming.before 79161234567 5550105",
        "incoming.forward ring 101",
        "incoming.pickup 101",
        "incoming.after ANSWERED",
        "incoming.evaluation 4",
    ]
    mark = watch.stages_so_far()[-1].values
    assert (mark["extension"], mark["category_number"]) == ("101", "3")


def test_a_wrong_key_is_asked_again(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550105")
    employee.accept()
    caller.await_established()
    employee.hangup()
    _asked(watch)
    caller.dtmf("9")
    await_until(lambda: "pbx-invalid" in watch.pbx.last_lines(20))
    caller.dtmf("2")
    caller.await_closed()
    assert watch.story()[-1] == "incoming.evaluation 2"


def test_no_mark_is_no_evaluation(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550105")
    employee.accept()
    caller.await_established()
    employee.hangup()
    caller.await_closed()
    assert watch.story()[-1] == "incoming.after ANSWERED"
    assert any(START in block for block in watch.stream.blocks)


def test_the_caller_hangs_up_in_the_menu(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550105")
    employee.accept()
    caller.await_established()
    employee.hangup()
    _asked(watch)
    caller.hangup()
    assert watch.story()[-1] == "incoming.after ANSWERED"


def test_nobody_answered_so_nobody_is_asked(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550105")
    employee.await_incoming()
    employee.hangup()
    caller.await_closed()
    assert watch.story()[-1] == "incoming.after BUSY"
    assert not any(START in block for block in watch.stream.blocks)


def test_a_mark_after_a_queue(watch: Watch, phone: Phone, outside: Phone) -> None:
    member, caller = phone(101), outside()
    caller.dial("5550106")
    member.accept()
    member.hangup()
    _asked(watch)
    caller.dtmf("5")
    caller.await_closed()
    assert watch.story()[-2:] == ["incoming.after ANSWERED", "incoming.evaluation 5"]


def test_the_conversation_is_recorded(watch: Watch, pbx: Asterisk, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550109")
    employee.accept()
    await_until(lambda: any(path.stat().st_size > 10_000 for path in pbx.recordings.rglob("*.wav")))
    caller.hangup()
    assert watch.story()[-1] == "incoming.after ANSWERED"
    file = str(watch.stages_so_far()[-1].values["recording_file"])
    with wave.open(file) as recording:
        assert recording.getnframes() > 4000  # half a second


def test_scheme_variables_forward_and_disposition_reach_the_hub(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, other, caller = phone(101), phone(102), outside()
    caller.dial("5550111")
    employee.accept()
    caller.hangup()
    watch.story()
    after = watch.stages_so_far()[-1].values
    assert after["scheme_name"] == "main menu"
    assert after["var.REGION"] == 'Нижний Новгород, "центр" \\ юг'
    assert str(after["var.HOSTILE"]).startswith("aUserEvent")
    assert after["disposition"] == "ANSWERED"
    caller.dial("5550112")
    other.accept()
    caller.hangup()
    caller.await_closed()
    watch.calls(2)
    assert "redirect" in [stage.values.get("forward_kind") for stage in watch.stages_so_far()]
    caller.dial("5550117")
    assert watch.calls(3)[2][-1].values["disposition"] == "VOICEMAIL"


def test_the_dialplan_says_that_a_voice_bot_takes_the_call(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550120")
    employee.accept()
    wait("500ms", employee, caller)  # answered comes before bridged
    caller.hangup()
    assert watch.story()[1:] == [
        "incoming.pickup bot",
        "incoming.forward redirect 101",
        "incoming.pickup 101",
        "incoming.after ANSWERED",
    ]


def test_the_dialplan_says_that_a_call_is_incoming(watch: Watch, phone: Phone) -> None:
    employee, inside = phone(101), phone(102)
    inside.dial("9")
    employee.accept()
    inside.hangup()
    story = watch.story()
    assert story[0].startswith("incoming.before 102")
    assert story[1:] == ["incoming.forward ring 101", "incoming.pickup 101", "incoming.after ANSWERED"]


def test_cel_keeps_what_the_hub_needs_after_a_gap(watch: Watch, pbx: Asterisk, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550100")
    employee.accept()
    caller.hangup()
    linkedid = watch.calls()[0] and watch.reports[0].linkedid

    def kept() -> list[str]:
        with closing(sqlite3.connect(f"file:{pbx.cel_database}?mode=ro", uri=True)) as database:
            rows = database.execute("select eventtype from cel where linkedid = ? order by AcctId", [linkedid])
            events = [str(row[0]) for row in rows]
        assert events.count("LINKEDID_END") == 1, events
        return events

    assert await_until(kept)[0] == "CHAN_START"


def _asked(watch: Watch) -> None:
    await_until(lambda: any(START in block for block in watch.stream.blocks))


def _name(block: str) -> str:
    return block.partition("Event: ")[2].partition("\n")[0]
