"""The states of the connection to a PBX, each with a sentence on what to do, in one table.

connecting  entered when the listener starts with a PBX; left when the first try has succeeded or failed.
refused     entered when a try failed before the connection was usable: a setting must be changed, but the hub
            keeps trying with growing pauses. Left by a try that succeeds (connected) or fails in another way.
connected   entered when the hub is logged in and has listed the live channels. Left when the connection breaks.
lost        entered when a working connection broke, or when the hub stopped. Left by a try that succeeds or is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pbxhub.translatable import say, with_advice

StateName = Literal["connecting", "refused", "connected", "lost"]


@dataclass(frozen=True, slots=True)
class Reason:
    """why: what happened, with its %(detail)s. advice: what to do, or what the hub does automatically."""

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
        """What is wrong, as a Sentence; "" when nothing is."""
        return say(REASONS[self.code].why, detail=self.detail) if self.code in REASONS else ""

    @property
    def advice(self) -> str:
        """What to do about it, as a Sentence; "" when nothing is wrong."""
        return say(REASONS[self.code].advice) if self.code in REASONS else ""

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, in one line; "" when nothing is."""
        return with_advice(self.why, self.advice) if self.code in REASONS else ""


REASONS: Mapping[str, Reason] = {
    # --- refused: no connection
    "connection_refused": Reason(
        "Nothing accepts connections at %(detail)s.",
        "Check host and port. In manager.conf, [general] needs enabled = yes and a bindaddr that the hub can reach; "
        "then run: module reload manager.",
    ),
    "name_not_found": Reason(
        "The host name %(detail)s is not known.",
        "Check it, or give the IP address.",
    ),
    "unreachable": Reason(
        "There is no network route to the PBX: %(detail)s.",
        "Check the host, the route and firewalls.",
    ),
    "connect_timeout": Reason(
        "No answer from %(detail)s.",
        "Check host and port, and that no firewall blocks the hub.",
    ),
    "no_banner": Reason(
        "The server accepted the connection but sent nothing.",
        "If this is a TLS port (5039), switch TLS on here; otherwise another service listens on this port.",
    ),
    "closed_at_once": Reason(
        "The server closed the connection before its greeting.",
        "The PBX may be starting, may have reached its limit of sessions, or requires TLS on this port.",
    ),
    "not_ami": Reason(
        "This is not an Asterisk Manager Interface: it sent %(detail)s.",
        "Check the port; AMI usually uses 5038.",
    ),
    "no_pbx": Reason(
        "No PBX answers at %(detail)s.",
        "Check host, port and TLS. In manager.conf, [general] needs enabled = yes and a bindaddr that the hub can "
        "reach, and a firewall must allow the hub. A PBX without a public address must be in a network that the "
        "operator of this hub has granted to the project; the operator finds the exact reason in the hub's log.",
    ),
    "not_allowed": Reason(
        "The project must not have a PBX at %(detail)s.",
        "An operator grants the project a network on the page Operator.",
    ),
    "tls_certificate": Reason(
        "The certificate of the PBX is not trusted: %(detail)s.",
        "Paste the certificate authority that signed it, and use the exact host name in the certificate.",
    ),
    "tls_mismatch": Reason(
        "This port does not use TLS: %(detail)s.",
        "Switch TLS off here, or enter the port of tlsbindaddr.",
    ),
    "tls_authority": Reason(
        "The certificate authority given for this PBX cannot be read: %(detail)s.",
        "Paste it in PEM form.",
    ),
    # --- refused: no login
    "login_failed": Reason(
        "The PBX refused the login: %(detail)s.",
        "Check the user name and secret, and that permit= of this user in manager.conf includes the hub's address; "
        "then run: module reload manager.",
    ),
    "login_in_use": Reason(
        "The PBX lets this AMI user log in only once, and it is logged in already.",
        "Give the hub an AMI user of its own, with allowmultiplelogin = yes in manager.conf; then run: module reload "
        "manager.",
    ),
    "unsendable_login": Reason(
        "The user name or secret cannot be sent: %(detail)s.",
        "Choose others, of Latin letters and digits.",
    ),
    "sealed_secret": Reason(
        "The stored secret cannot be decrypted: %(detail)s.",
        "Restore the old key, or enter the secret again.",
    ),
    "not_booted": Reason(
        "FullyBooted did not arrive after the login.",
        "Add system to read= of this user in manager.conf (read = system,call,agent,user,cdr,dtmf). If Asterisk is "
        "just starting, the hub will log in automatically.",
    ),
    "too_few_rights": Reason(
        "The user may not run the action %(detail)s.",
        "Give it write = system,call,reporting,originate in manager.conf; then: module reload manager.",
    ),
    "no_answer": Reason(
        "The PBX did not answer the action %(detail)s in time.",
        "It is overloaded or hangs; see Asterisk's log.",
    ),
    "no_events": Reason(
        "Asterisk has live calls, but none of their events reach the hub (%(detail)s).",
        "Add call to read= of this user in manager.conf and check its eventfilter lines: Newchannel must pass (see "
        "asterisk-conf/).",
    ),
    # --- connected, with a problem
    "filter_denied": Reason(
        "Connected, but the PBX sends far more events than the hub uses, and refused the hub's filter: %(detail)s.",
        "Copy the eventfilter lines of asterisk-conf/manager.conf to the PBX, or add system to write= of this user.",
    ),
    "cel_unreadable": Reason(
        "Works, but calls that come and go while the line is down cannot be recovered: CEL cannot be read.",
        "An operator finds the reason on the page Operator, and names the file or the table there: master.db of "
        "cel_sqlite3_custom, readable for the hub's user, or the PostgreSQL table into which the PBX writes.",
    ),
    # --- lost
    "closed": Reason(
        "The PBX closed the connection%(detail)s.",
        "The hub reconnects automatically.",
    ),
    "silent": Reason(
        "The PBX did not answer a ping for %(detail)s s; the connection was closed.",
        "The hub connects again.",
    ),
    "flooded": Reason(
        "Events arrived faster than the hub could process them (%(detail)s were queued); the connection was closed.",
        "The hub reconnects and asks Asterisk for the live calls.",
    ),
    "garbage": Reason(
        "The PBX sent a message that never ended (%(detail)s bytes); the connection was closed.",
        "The hub reconnects. Check that Asterisk is the only service on this port.",
    ),
    "memory_full": Reason(
        "The database is unavailable and %(detail)s stages are held in memory: the hub accepts no more.",
        "Repair the database. The hub then writes these stages, reconnects and asks Asterisk for the live calls.",
    ),
    "stopped": Reason(
        "The hub does not listen to this PBX now: it was stopped, or the PBX was switched off here.",
        "Start the hub, or switch the PBX on.",
    ),
}
