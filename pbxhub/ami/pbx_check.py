"""The checks of one PBX that `pbxhub check` and the button "Check" of the page PBX run."""

import asyncio
from contextlib import suppress
from datetime import datetime

from pbxhub.ami.cel_file import CelSource, CelUnreadableError
from pbxhub.ami.login import Address, AmiTimeouts, list_channels, open_session, read_version, set_filter
from pbxhub.ami.manager_actions import build
from pbxhub.ami.pbx_rows import PbxRow
from pbxhub.ami.protocol import SessionEndedError
from pbxhub.finding import Finding
from pbxhub.store.clock import utc_now
from pbxhub.store.pbx_state_sentences import PbxState
from pbxhub.translatable import say

CLOCK_TOLERANCE = 2.0  # seconds


async def check_pbx(address: Address, timeouts: AmiTimeouts) -> list[Finding]:
    """Logs in as the listener does, sets the filter, lists the channels, compares the clocks, and logs off."""
    begun = asyncio.get_running_loop().time()
    try:
        protocol = await open_session(address, timeouts, lambda block: True)
    except SessionEndedError as ended:
        if ended.state.code == "no_pbx":  # the duration would reveal whether a port is closed or a host silent
            await asyncio.sleep(begun + 2 * timeouts.connect - asyncio.get_running_loop().time())
        return [Finding(False, ended.state.sentence)]
    try:
        version = await read_version(protocol, timeouts)
        refused = await set_filter(protocol, version, timeouts)
        channels = await list_channels(protocol, timeouts)
        pong = await protocol.ask(build("Ping"), timeouts.answer)
    except SessionEndedError as ended:
        return [Finding(True, say("Logged in.")), Finding(False, ended.state.sentence)]
    finally:
        protocol.end(PbxState("lost", "stopped"))
    return [
        Finding(
            True,
            say(
                "Logged in to Asterisk %(version)s; %(count)s channels are live.",
                version=version or say("of unknown version"),
                count=len(channels),
            ),
        ),
        _filter(refused),
        _compare_clocks(pong.headers.get("Timestamp", ""), utc_now()),
    ]


def _filter(refused: str) -> Finding:
    if refused:  # the rights in asterisk-conf/manager.conf do not allow it; the file sets the filter itself
        return Finding(
            True,
            say(
                "The PBX refused the hub's event filter (%(refused)s). This is no problem if manager.conf has the "
                "eventfilter lines of asterisk-conf/manager.conf for this user; otherwise add system to its write=.",
                refused=refused,
            ),
        )
    return Finding(True, say("The event filter is set: only events about calls will arrive."))


def _compare_clocks(stamp: str, now: datetime) -> Finding:
    try:
        ahead = float(stamp) - now.timestamp()
    except ValueError:
        return Finding(
            False, say("The PBX's events have no time. Set timestampevents = yes in [general] of manager.conf.")
        )
    if abs(ahead) <= CLOCK_TOLERANCE:
        agree = say("The clocks of the PBX and the hub differ by %(seconds)s s at most.", seconds=f"{abs(ahead):.1f}")
        return Finding(True, agree)
    seconds = f"{abs(ahead):.0f}"
    if ahead > 0:
        first = say("The PBX's clock is %(seconds)s s ahead of the hub's:", seconds=seconds)
    else:
        first = say("The PBX's clock is %(seconds)s s behind the hub's:", seconds=seconds)
    return Finding(False, say("%(difference)s stages have the PBX's time. Run NTP on both.", difference=first))


def check_row(row: PbxRow, operator: bool) -> list[Finding]:
    """check_pbx for a PBX as it is set up, without an event loop. Takes about half a minute at most.

    operator: whether an operator asks. Only operators set the path of the CEL file, so only they see its state.
    """
    if row.trouble:
        return [Finding(False, row.trouble.sentence)]
    cel = _check_cel(row.new_cel_source()) if operator else []
    with suppress(TimeoutError):
        return [*asyncio.run(asyncio.wait_for(check_pbx(row.address, AmiTimeouts()), 30)), *cel]
    return [Finding(False, say("The PBX did not answer within 30 s. It is overloaded or hangs; see Asterisk's log."))]


def _check_cel(source: CelSource | None) -> list[Finding]:
    if source is None:
        return []
    try:
        newest = source.last_place()
        number = newest.number if newest else 0
    except CelUnreadableError as error:
        return [Finding(False, say("CEL cannot be read: %(error)s.", error=error))]
    finally:
        source.close()
    return [Finding(True, say("CEL can be read; its newest row is %(number)s.", number=number))]
