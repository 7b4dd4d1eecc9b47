"""Somebody enters host, user and password of a PBX: it works, or a sentence says what to change."""

import asyncio
import ssl
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import trustme

from pbxhub.ami.login import Address
from pbxhub.ami.manager_actions import ActionRefusedError, build
from pbxhub.store.pbx_state_sentences import REASONS, PbxState
from pbxhub.testing.pbx.pbx_player import PbxPlayer
from tests.support.pbx_line import HASTY, address_of, line_to, playing, until

NEWCHANNEL = (
    "Event: Newchannel\nPrivilege: call,all\nTimestamp: 1795330979.1\nChannel: PJSIP/trunk-{0:08x}\nChannelState: 4\n"
    "ChannelStateDesc: Ring\nCallerIDNum: 79161234567\nCallerIDName: {1}\nContext: from-trunk\nExten: 5550100\n"
    "Uniqueid: 1795330979.{0}\nLinkedid: 1795330979.{0}"
)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


@pytest.mark.parametrize("plain", [False, True])
def test_the_hub_logs_in_by_challenge_or_by_password_and_never_sends_the_password_in_a_challenge(plain: bool) -> None:
    async def scenario() -> None:
        async with playing() as player, line_to(address_of(player, plain_login=plain)) as line:
            await line.until_state("connected")
            sent = str(player.actions)
            assert ("hubsecret" in sent) == plain
            assert player.actions[-1]["Action"] == "CoreShowChannels"
            assert line.stocks[0].version == "22.10.1"

    run(scenario())


@pytest.mark.parametrize(("version", "filters"), [("22.10.1", 20), ("16.28.0", 1), ("18.9-cert4", 1)])
def test_only_wanted_events_come_through_on_old_and_new_asterisk(version: str, filters: int) -> None:
    async def scenario() -> None:
        async with playing(PbxPlayer(version=version)) as player, line_to(address_of(player)) as line:
            await line.until_state("connected")
            assert len([action for action in player.actions if action["Action"] == "Filter"]) >= filters
            await player.send("Event: NewchannelX\nPrivilege: call,all\nUniqueid: 1.1")
            await player.send("Event: VarSet\nPrivilege: call,all\nUniqueid: 1.1")
            await player.send(NEWCHANNEL.format(1, "Иван"))
            await until(lambda: line.events)
            assert "CallerIDName: Иван" in line.events[0]
            assert len(line.events) == 1

    run(scenario())


def test_a_wrong_password_is_a_refusal_that_says_what_to_check() -> None:
    async def scenario() -> None:
        async with playing() as player, line_to(address_of(player, secret="wrong")) as line:
            state = await line.until_state("refused", "login_failed")
            assert "Authentication failed" in state.sentence
            assert "secret" in state.sentence
            await until(lambda: len(player.actions) >= 4)  # it keeps trying
            assert [state.name for state in line.states] == ["connecting", "refused"]  # and says so once
            player.secret = "wrong"
            await line.until_state("connected")

    run(scenario())


@pytest.mark.slow
def test_where_only_one_may_log_in_the_next_one_does_as_soon_as_the_first_has_left() -> None:
    async def scenario() -> None:
        waits_long = replace(HASTY, answer=10.0, first_pause=600.0, longest_pause=600.0)
        async with playing() as player, AsyncExitStack() as before:
            player.faults.one_login = True
            first = await before.enter_async_context(line_to(address_of(player)))
            await first.until_state("connected")
            async with line_to(address_of(player), waits_long) as second:
                state = await second.until_state("refused", "login_in_use")
                assert "allowmultiplelogin" in state.sentence
                await before.aclose()
                await second.until_state("connected")

    run(scenario())


def test_a_port_where_nothing_listens_is_a_refusal() -> None:
    async def scenario() -> None:
        async with playing() as player:
            address = address_of(player)
        async with line_to(address) as line:
            assert f"127.0.0.1:{address.port}" in (await line.until_state("refused", "connection_refused")).sentence

    run(scenario())


def test_a_host_name_nobody_knows_is_a_refusal() -> None:
    async def scenario() -> None:
        async with line_to(Address("no-such-pbx.invalid", 5038, "hub", "x")) as line:
            assert "no-such-pbx.invalid" in (await line.until_state("refused", "name_not_found")).sentence

    run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("banner", "code"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not_ami"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not_ami"),
        (b"\x00\xff\xfe garbage without an end" * 20, "not_ami"),
        (b"Asterisk Call Manager/" + b"9" * 1000, "not_ami"),
        (b"", "no_banner"),
    ],
)
def test_a_server_that_is_no_ami_is_a_refusal(banner: bytes, code: str) -> None:
    async def scenario() -> None:
        async with playing() as player:
            player.faults.banner = banner
            async with line_to(address_of(player)) as line:
                assert (await line.until_state("refused", code)).sentence

    run(scenario())


@pytest.mark.slow
def test_a_pbx_that_never_answers_the_login_is_a_refusal() -> None:
    async def scenario() -> None:
        async with playing() as player:
            player.faults.silent = True
            async with line_to(address_of(player)) as line:
                assert "Challenge" in (await line.until_state("refused", "no_answer")).sentence

    run(scenario())


@pytest.mark.slow
def test_too_few_rights_name_the_right_that_is_missing() -> None:
    async def scenario() -> None:
        async with playing(PbxPlayer(write=())) as player, line_to(address_of(player)) as line:
            assert "write = system,call" in (await line.until_state("refused", "too_few_rights")).sentence
        async with playing(PbxPlayer(read=("call",))) as player, line_to(address_of(player)) as line:
            assert "system" in (await line.until_state("refused", "not_booted")).sentence
        timeouts = replace(HASTY, doubt=0.05)
        timeouts = replace(HASTY, doubt=0.05)
        async with playing(PbxPlayer(write=("reporting",))) as player, line_to(address_of(player), timeouts) as line:
            await line.until_state("connected")
            for _ in range(100):
                await player.send("Event: VarSet\nPrivilege: call,all\nUniqueid: 1.1")
            assert "eventfilter" in (await line.until_state("connected", "filter_denied")).sentence

    run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no call class", "a filter that hides everything"])
def test_a_pbx_whose_call_events_never_arrive_is_found_out(fault: str) -> None:
    async def scenario() -> None:
        read = ("system", "agent", "user", "cdr") if fault == "no call class" else ("system", "call")
        async with playing(PbxPlayer(read=read)) as player:
            player.faults.hide_events = fault != "no call class"
            async with line_to(address_of(player), replace(HASTY, doubt=0.2)) as line:
                await line.until_state("connected")
                await player.send(NEWCHANNEL.format(7, "x"))
                state = await line.until_state("refused", "no_events")
                assert "PJSIP/trunk-00000007" in state.sentence
                assert "eventfilter" in state.sentence

    run(scenario())


@pytest.mark.slow
def test_tls_with_an_own_authority_works_and_every_mismatch_says_what_is_wrong() -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    pem = authority.cert_pem.bytes().decode()

    async def scenario() -> None:
        async with playing(PbxPlayer(tls=server)) as player:
            secure = address_of(player, tls=True, tls_ca=pem)
            async with line_to(secure) as line:
                await line.until_state("connected")
                await player.send(NEWCHANNEL.format(1, "x"))
                await until(lambda: line.events)
            async with line_to(replace(secure, tls_ca=stranger.cert_pem.bytes().decode())) as line:
                assert "authority" in (await line.until_state("refused", "tls_certificate")).sentence
            async with line_to(replace(secure, host="localhost")) as line:
                await line.until_state("refused", "tls_certificate")
            async with line_to(replace(secure, tls_ca="not PEM")) as line:
                await line.until_state("refused", "tls_authority")
            async with line_to(replace(secure, tls=False)) as line:
                assert "TLS" in (await line.until_state("refused", "no_banner")).sentence
        async with playing() as plain, line_to(address_of(plain, tls=True)) as line:
            await line.until_state("refused", "tls_mismatch")

    run(scenario())


@pytest.mark.slow
def test_an_answered_line_that_goes_quiet_is_dropped_and_found_again() -> None:
    async def scenario() -> None:
        hasty = replace(HASTY, quiet=0.2, pong=0.2)
        async with playing() as player, line_to(address_of(player), hasty) as line:
            await line.until_state("connected")
            pings = len([action for action in player.actions if action["Action"] == "Ping"])
            await until(lambda: len([a for a in player.actions if a["Action"] == "Ping"]) > pings + 1)
            assert line.connection.state.name == "connected"  # pongs are enough
            player.faults.silent = True
            await line.until_state("lost", "silent")
            player.faults.silent = False
            await until(lambda: line.connection.state.name == "connected")

    run(scenario())


@pytest.mark.parametrize(
    ("action", "headers", "field"),
    [
        ("Originate", {"CallerID": "x\r\nAction: Command\r\nCommand: core stop now"}, "CallerID"),
        ("Originate", {"Variable": ["a=1", "b=2\n"]}, "Variable"),
        ("Originate", {"Channel": "PJSIP/101\x00"}, "Channel"),
        ("Originate", {"Exten": "1\x85"}, "Exten"),
        ("Originate", {"Exten": "\ud800"}, "Exten"),
        ("Originate", {"Exten": "1" * 1100}, "Exten"),
        ("Originate", {"Application": "System", "Data": "reboot"}, "Application"),
        ("Originate", {"Channel\r\nAction": "Command"}, "Channel\r\nAction"),
        ("Command", {"Command": "core stop now"}, "Action"),
        ("Login", {"Username": "hub\r\nEvents: on"}, "Username"),
    ],
)
def test_an_action_with_a_line_break_or_out_of_the_list_is_refused_by_name(
    action: str, headers: dict[str, str | list[str]], field: str
) -> None:
    with pytest.raises(ActionRefusedError) as caught:
        build(action, headers)
    assert caught.value.field == field


def test_a_user_name_with_a_line_break_never_reaches_the_wire() -> None:
    async def scenario() -> None:
        async with playing() as player, line_to(address_of(player, username="hub\r\nAction: Logoff")) as line:
            assert "Username" in (await line.until_state("refused", "unsendable_login")).sentence
            assert {action["Action"] for action in player.actions} == {"Challenge"}

    run(scenario())


def test_every_reason_fills_in_its_detail_and_says_something() -> None:
    for code, reason in REASONS.items():
        assert len(PbxState("refused", code, "x").sentence) > 40, code
        assert reason.why.endswith("."), code
        assert reason.advice.endswith((".", ")")), code
