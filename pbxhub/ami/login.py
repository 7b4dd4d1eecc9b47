"""From a host and a password to a working AMI session. Each way it can fail has a state with a sentence."""

import asyncio
import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from pbxhub.ami.channel_list import VARIABLES, read_channels
from pbxhub.ami.manager_actions import ActionRefusedError, build
from pbxhub.ami.protocol import FILTERED_EVENTS, AmiProtocol, SessionEndedError, headers_of
from pbxhub.calls.ami_events import Status
from pbxhub.calls.charsets import charset_of
from pbxhub.sending.pbx_reach import ANYWHERE, PbxReach
from pbxhub.sending.target_url import Address as IpAddress
from pbxhub.store.clock import utc_now
from pbxhub.store.pbx_state_sentences import PbxState

log = structlog.get_logger(__name__)
CLASSES = "system,call,agent,user,cdr,dtmf"
_IN_USE = "Login Already In Use"  # Asterisk's words with allowmultiplelogin = no, said after a second
_KEYS_BY_NAME = "action(include),name(DTMFEnd),header(Digit),method(regex)"
_KEYS_BY_TEXT = "Event: DTMFEnd.*Digit: [*#]"
_NAMED_FILTERS_SINCE = 22  # Action: Filter has MatchCriteria: name(X); before, a regular expression


@dataclass(frozen=True, slots=True)
class Address:
    """Where a PBX is and how to log in. tls_ca: certificate authority in PEM; "" = those of the system. reach: the
    networks it may be in."""

    host: str
    port: int
    username: str
    secret: str = field(repr=False)
    tls: bool = False
    tls_ca: str = ""
    plain_login: bool = False
    reach: PbxReach = ANYWHERE
    charset: str = charset_of("", "")


@dataclass(frozen=True, slots=True)
class AmiTimeouts:
    """How long to wait, in seconds. answer: for one action. quiet: without a byte until a ping is sent. pong: for any
    byte after the ping. doubt: between checks that events arrive. first_pause, longest_pause: before reconnecting,
    doubled each time; short also after hours, because a PBX that is back has calls at once.
    steady: a connection that lasted this long starts again at first_pause."""

    connect: float = 5.0
    answer: float = 10.0
    quiet: float = 10.0
    pong: float = 10.0
    doubt: float = 20.0
    first_pause: float = 1.0
    longest_pause: float = 20.0
    steady: float = 30.0


async def open_session(address: Address, timeouts: AmiTimeouts, on_event: Callable[[str], bool]) -> AmiProtocol:
    """Connects and logs in; returns when the PBX reports FullyBooted.

    Raises SessionEndedError with the state that says what failed. Unless an operator has allowed the address, every
    failure before Asterisk's greeting is the same state, "no_pbx": different answers for a closed port, a silent host
    and another service would let a project scan the hub's network. The hub's log has the reason.
    """
    protocol = await _greeted(address, timeouts, on_event)
    try:
        await _log_in(protocol, address, timeouts)
        await _boot(protocol, timeouts)
    except BaseException:
        protocol.end(PbxState("lost", "stopped"))
        raise
    return protocol


async def _greeted(address: Address, timeouts: AmiTimeouts, on_event: Callable[[str], bool]) -> AmiProtocol:
    """A connection on which Asterisk has sent its greeting."""
    context = _tls(address.tls_ca) if address.tls else None
    found: list[IpAddress] = []
    try:
        protocol = await _connect(address, context, timeouts, on_event, found)
        try:
            await _greeting(protocol, timeouts)
        except BaseException:
            protocol.end(PbxState("lost", "stopped"))
            raise
    except SessionEndedError as ended:
        if (found and address.reach.is_granted(found)) or address.reach.anywhere:
            raise
        log.info("no PBX at this address", host=address.host, port=address.port, reason=ended.state.sentence)
        raise _refused("no_pbx", _where(address)) from None
    return protocol


async def _connect(
    address: Address,
    context: ssl.SSLContext | None,
    timeouts: AmiTimeouts,
    on_event: Callable[[str], bool],
    found: list[IpAddress],
) -> AmiProtocol:
    """Connects within timeouts.connect. Appends the addresses of the host to found."""
    try:
        async with asyncio.timeout(timeouts.connect):
            found += await _look_up(address)
            if not address.reach.allows(found):
                raise _refused("not_allowed", _where(address))
            return await _try_each(address, found, context, on_event)
    except TimeoutError:
        raise _refused("tls_mismatch" if address.tls else "connect_timeout", _where(address)) from None
    except ssl.SSLCertVerificationError as error:
        raise _refused("tls_certificate", error.verify_message) from None
    except ssl.SSLError as error:
        raise _refused("tls_mismatch", error.reason or str(error)) from None
    except socket.gaierror:
        raise _refused("name_not_found", address.host) from None
    except ConnectionRefusedError:
        raise _refused("connection_refused", _where(address)) from None
    except OSError as error:
        raise _refused("tls_mismatch" if address.tls else "unreachable", str(error.strerror or error)) from None
    except UnicodeError:  # a host name that IDNA refuses
        raise _refused("name_not_found", address.host) from None


async def _look_up(address: Address) -> list[IpAddress]:
    """Every address of the host. The hub connects to these only, because the name may resolve differently later."""
    answers = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in answers))


async def _try_each(
    address: Address, found: list[IpAddress], context: ssl.SSLContext | None, on_event: Callable[[str], bool]
) -> AmiProtocol:
    """A connection to the first address that accepts one. Raises the last address's OSError."""
    loop, name = asyncio.get_running_loop(), address.host if context else None
    for last, ip in enumerate(found, start=1 - len(found)):
        try:
            _, protocol = await loop.create_connection(
                lambda: AmiProtocol(on_event, address.charset), str(ip), address.port, ssl=context, server_hostname=name
            )
        except OSError:
            if last == 0:
                raise
        else:
            return protocol
    raise socket.gaierror(socket.EAI_NONAME, "no address")


def _where(address: Address) -> str:
    return f"{address.host}:{address.port}"


def _tls(authority: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=authority or None)
    except (ssl.SSLError, ValueError) as error:
        raise _refused("tls_authority", str(error)) from None


async def _greeting(protocol: AmiProtocol, timeouts: AmiTimeouts) -> None:
    if not await protocol.wait_for(protocol.greeting, timeouts.connect):
        raise _refused("no_banner")


async def _log_in(protocol: AmiProtocol, address: Address, timeouts: AmiTimeouts) -> None:
    who = {"Username": address.username, "Events": CLASSES}
    try:
        if address.plain_login:
            action = build("Login", {**who, "Secret": address.secret})
        else:
            challenge = await protocol.ask(build("Challenge", {"AuthType": "MD5"}), timeouts.answer)
            key = hashlib.md5(  # noqa: S324 (AMI knows no other)
                (challenge.headers.get("Challenge", "") + address.secret).encode()
            ).hexdigest()
            action = build("Login", {**who, "AuthType": "MD5", "Key": key})
    except ActionRefusedError as error:
        raise _refused("unsendable_login", str(error)) from None
    try:
        answer = await protocol.ask(action, timeouts.answer)
    except SessionEndedError as ended:
        if ended.state.code == "closed":  # some versions close the connection after a wrong password before they answer
            raise _refused("login_failed", "it closed the connection") from None
        raise
    if not answer.success:
        raise _refused("login_in_use" if answer.message == _IN_USE else "login_failed", answer.message)


async def _boot(protocol: AmiProtocol, timeouts: AmiTimeouts) -> None:
    if not await protocol.wait_for(protocol.fully_booted, timeouts.answer):
        raise _refused("not_booted")


async def read_version(protocol: AmiProtocol, timeouts: AmiTimeouts) -> str:
    """The version of Asterisk, such as "22.10.1"; "" when the AMI user may not ask."""
    answer = await protocol.ask(build("CoreSettings"), timeouts.answer)
    return answer.headers.get("AsteriskVersion", "")[:100] if answer.success else ""


async def read_boot(protocol: AmiProtocol, timeouts: AmiTimeouts) -> str:
    """Identifies one run of Asterisk: its start by its own clock; "" when the AMI user may not ask."""
    headers = (await protocol.ask(build("CoreStatus"), timeouts.answer)).headers
    return f"{headers.get('CoreStartupDate', '')} {headers.get('CoreStartupTime', '')}".strip()


async def clock_ahead(protocol: AmiProtocol, timeouts: AmiTimeouts) -> timedelta:
    """By how much Asterisk's clock, whose times events and CEL have, is ahead of the hub's; 0 when it does not tell."""
    stamp = (await protocol.ask(build("Ping"), timeouts.answer)).headers.get("Timestamp", "")
    now = utc_now()
    try:
        return datetime.fromtimestamp(float(stamp), UTC) - now
    except (ValueError, OverflowError, OSError):
        return timedelta()


def uptime(protocol: AmiProtocol) -> int | None:
    """Asterisk's uptime in seconds when it reported FullyBooted; None when the event has none."""
    text = headers_of(protocol.fully_booted.result()).get("Uptime", "")
    return int(text) if text.isdecimal() and len(text) < 10 else None


async def set_filter(protocol: AmiProtocol, version: str, timeouts: AmiTimeouts) -> str:
    """Asks the PBX to send only the events that the hub reads. Returns "" or why the PBX refused."""
    asked = [protocol.ask(build("Filter", headers), timeouts.answer) for headers in filters(version)]
    refused = [answer for answer in await asyncio.gather(*asked) if not answer.success]
    return refused[0].message or "no reason given" if refused else ""


def filters(version: str) -> list[dict[str, str]]:
    """The headers of each Action: Filter. From Asterisk 22 one filter per event name; before 22 a regular expression
    over the whole event, in which $ matches only at the end of the event, not at the end of a line. Of the keys only
    * and # pass, of which feature codes consist: callers enter PINs by the others."""
    major, names = version.partition(".")[0], sorted(FILTERED_EVENTS - {"DTMFEnd"})
    if major.isdecimal() and int(major) >= _NAMED_FILTERS_SINCE:
        return [{"Operation": "Add", "MatchCriteria": f"action(include),name({name})"} for name in names] + [
            {"Operation": "Add", "MatchCriteria": _KEYS_BY_NAME, "Filter": "[*#]"}
        ]
    return [{"Operation": "Add", "Filter": f"Event: ({'|'.join(names)})[^A-Za-z]|{_KEYS_BY_TEXT}"}]


async def ask_for_parked(protocol: AmiProtocol, timeouts: AmiTimeouts) -> None:
    """Asks for the parked calls, of which the list of channels shows nothing. Each arrives as the event ParkedCall, as
    if it had been parked now. None does where the AMI user has no write = call."""
    await protocol.ask(build("ParkedCalls"), timeouts.answer)


async def list_channels(protocol: AmiProtocol, timeouts: AmiTimeouts) -> tuple[Status, ...]:
    """The channels that exist now. Raises SessionEndedError when the AMI user may not list them.

    CoreShowChannels needs write = system or reporting; without it Status alone is used.
    """
    status = await protocol.ask(build("Status", {"Variables": VARIABLES}), timeouts.answer)
    if not status.success:
        raise _refused("too_few_rights", f"Status ({status.message})")
    shown = await protocol.ask(build("CoreShowChannels"), timeouts.answer)
    return read_channels(status.blocks, shown.blocks, utc_now())


def _refused(code: str, detail: str = "") -> SessionEndedError:
    return SessionEndedError(PbxState("refused", code, detail))
