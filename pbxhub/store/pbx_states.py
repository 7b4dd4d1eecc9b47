"""How the connection to a PBX stands, as a value with a sentence on what to do. One table says it all.

connecting  entered when the listener takes up a PBX; left when the first try has succeeded or failed.
refused     entered when a try ended before the line was usable: somebody must change something, but the hub
            keeps trying with growing pauses. Left by a try that succeeds (connected) or fails otherwise.
connected   entered when the hub is logged in and has taken stock of the live calls. Left when the line breaks.
lost        entered when a working line broke, or when the hub stopped. Left by a try that succeeds or is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pbxhub.translatable import say

StateName = Literal["connecting", "refused", "connected", "lost"]


@dataclass(frozen=True, slots=True)
class Reason:
    """why: what was seen, with its %(detail)s. advice: what to do, or what the hub does by itself."""

    why: str
    advice: str


@dataclass(frozen=True, slots=True)
class PbxState:
    """One state. code is a key of REASONS ("" where nothing is wrong), detail what was seen: an error, a name."""

    name: StateName
    code: str = ""
    detail: str = ""

    @property
    def why(self) -> str:
        """What is wrong, a Sentence; empty when nothing is."""
        return say(REASONS[self.code].why, detail=self.detail) if self.code in REASONS else ""

    @property
    def advice(self) -> str:
        """What to do about it, likewise."""
        return say(REASONS[self.code].advice) if self.code in REASONS else ""

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, in one line; empty when nothing is."""
        return say("%(why)s %(advice)s", why=self.why, advice=self.advice) if self.code in REASONS else ""


REASONS: Mapping[str, Reason] = {
    # --- refused: no line
    "connection_refused": Reason(
        "Nothing listens at %(detail)s.",
        "Check host and port; in manager.conf [general] needs enabled = yes and a bindaddr that the hub reaches; "
        "then: module reload manager.",
    ),
    "name_not_found": Reason(
        "The host name %(detail)s is not known.",
        "Check it, or give the IP address.",
    ),
    "unreachable": Reason(
        "The network does not lead to the PBX: %(detail)s.",
        "Check the host, the route and firewalls.",
    ),
    "connect_timeout": Reason(
        "No answer from %(detail)s.",
        "Check host and port, and that a firewall lets the hub through.",
    ),
    "no_banner": Reason(
        "The server accepted the connection and said nothing.",
        "A TLS port (5039) wants TLS switched on here; otherwise something else listens on this port.",
    ),
    "closed_at_once": Reason(
        "The server closed the connection before its greeting.",
        "The PBX may be starting, at its limit of sessions, or want TLS on this port.",
    ),
    "not_ami": Reason(
        "This is not an Asterisk Manager Interface: it said %(detail)s.",
        "Check the port; AMI is 5038 as a rule.",
    ),
    "no_pbx": Reason(
        "No PBX answers at %(detail)s.",
        "Check host, port and TLS; in manager.conf [general] needs enabled = yes and a bindaddr that the hub reaches; "
        "a firewall must let the hub through. A PBX that is not at a public address has to be in a network that the "
        "operator of this hub has granted to the project; the operator finds the exact reason in the hub's log.",
    ),
    "not_allowed": Reason(
        "The project may have no PBX at %(detail)s.",
        "An operator grants the project a network on the page Operator.",
    ),
    "tls_certificate": Reason(
        "The certificate of the PBX is not trusted: %(detail)s.",
        "Paste the authority that signed it, and connect by the very name in the certificate.",
    ),
    "tls_mismatch": Reason(
        "This port does not speak TLS: %(detail)s.",
        "Switch TLS off here, or give the port of tlsbindaddr.",
    ),
    "tls_authority": Reason(
        "The certificate authority given for this PBX cannot be read: %(detail)s.",
        "Paste it as PEM.",
    ),
    # --- refused: no login
    "login_failed": Reason(
        "The PBX refused the login: %(detail)s.",
        "Check user name and secret, and that permit= of this user in manager.conf lets the hub's address in; then: "
        "module reload manager.",
    ),
    "unsendable_login": Reason(
        "The user name or secret cannot be sent: %(detail)s.",
        "Choose others, of Latin letters and digits.",
    ),
    "sealed_secret": Reason(
        "The stored secret cannot be opened: %(detail)s.",
        "Put the old key back, or enter the secret again.",
    ),
    "not_booted": Reason(
        "FullyBooted did not come after the login.",
        "Add system to read= of this user in manager.conf (read = system,call,agent,user,cdr). If Asterisk is just "
        "starting, the hub will get in by itself.",
    ),
    "too_few_rights": Reason(
        "The user may not run the action %(detail)s.",
        "Give it write = system,call,reporting,originate in manager.conf; then: module reload manager.",
    ),
    "no_answer": Reason(
        "The PBX did not answer the action %(detail)s in time.",
        "It is overloaded or hangs; see its own log.",
    ),
    "no_events": Reason(
        "Asterisk has live calls, but none of their events reach the hub (%(detail)s).",
        "Add call to read= of this user in manager.conf and check its eventfilter lines: Newchannel must pass (see "
        "asterisk-conf/).",
    ),
    # --- connected, but not as it should be
    "filter_denied": Reason(
        "Works, but the PBX sends far more events than the hub reads, and refused the hub's filter: %(detail)s.",
        "Put the eventfilter lines of asterisk-conf/manager.conf there, or add system to write= of this user.",
    ),
    "cel_unreadable": Reason(
        "Works, but calls that come and go while the line is down cannot be recovered: CEL cannot be read.",
        "An operator finds the reason on the page Operator, and names the file or the table there: master.db of "
        "cel_sqlite3_custom, readable for the hub's user, or the PostgreSQL table into which the PBX writes.",
    ),
    # --- lost
    "closed": Reason(
        "The PBX closed the connection%(detail)s.",
        "The hub connects again by itself.",
    ),
    "silent": Reason(
        "The PBX did not answer a ping for %(detail)s s; the connection was dropped.",
        "The hub connects again.",
    ),
    "flooded": Reason(
        "Events came faster than they could be read (%(detail)s waited); the connection was dropped.",
        "The hub connects again and asks Asterisk for the live calls.",
    ),
    "garbage": Reason(
        "The PBX sent a message without end (%(detail)s bytes); the connection was dropped.",
        "The hub connects again. Check that nothing but Asterisk answers on this port.",
    ),
    "memory_full": Reason(
        "The database is away and %(detail)s stages wait in memory: no more are taken in.",
        "Repair the database; the hub then writes what waits, connects again and asks Asterisk for the live calls.",
    ),
    "stopped": Reason(
        "The hub does not listen to this PBX now: it was stopped, or the PBX was switched off here.",
        "Start the hub, or switch the PBX on.",
    ),
}
