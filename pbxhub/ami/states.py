"""How the connection to a PBX stands, as a value with a sentence on what to do. One table says it all.

connecting  entered when the listener takes up a PBX; left when the first try has succeeded or failed.
refused     entered when a try ended before the line was usable: somebody must change something, but the hub
            keeps trying with growing pauses. Left by a try that succeeds (connected) or fails otherwise.
connected   entered when the hub is logged in and has taken stock of the live calls. Left when the line breaks.
lost        entered when a working line broke, or when the hub stopped. Left by a try that succeeds or is refused.
"""

from dataclasses import dataclass
from typing import Literal

StateName = Literal["connecting", "refused", "connected", "lost"]


@dataclass(frozen=True, slots=True)
class PbxState:
    """One state. code is a key of REASONS ("" where nothing is wrong), detail what was seen: an error, a name."""

    name: StateName
    code: str = ""
    detail: str = ""

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, for the page of the PBX; empty when nothing is."""
        return REASONS[self.code].format(detail=self.detail)[:500] if self.code else ""


REASONS: dict[str, str] = {
    # --- refused: no line
    "connection_refused": "Nothing listens at {detail}. Check host and port; in manager.conf [general] needs "
    "enabled = yes and a bindaddr that the hub reaches; then: module reload manager.",
    "name_not_found": "The host name {detail} is not known. Check it, or give the IP address.",
    "unreachable": "The network does not lead to the PBX: {detail}. Check the host, the route and firewalls.",
    "connect_timeout": "No answer from {detail}. Check host and port, and that a firewall lets the hub through.",
    "no_banner": "The server accepted the connection and said nothing. A TLS port (5039) wants TLS switched on here; "
    "otherwise something else listens on this port.",
    "closed_at_once": "The server closed the connection before its greeting. The PBX may be starting, at its limit of "
    "sessions, or want TLS on this port.",
    "not_ami": "This is not an Asterisk Manager Interface: it said {detail}. Check the port; AMI is 5038 as a rule.",
    "tls_certificate": "The certificate of the PBX is not trusted: {detail}. Paste the authority that signed it, and "
    "connect by the very name in the certificate.",
    "tls_mismatch": "This port does not speak TLS: {detail}. Switch TLS off here, or give the port of tlsbindaddr.",
    "tls_authority": "The certificate authority given for this PBX cannot be read: {detail}. Paste it as PEM.",
    # --- refused: no login
    "login_failed": "The PBX refused the login: {detail}. Check user name and secret, and that permit= of this user in "
    "manager.conf lets the hub's address in; then: module reload manager.",
    "unsendable_login": "The user name or secret cannot be sent: {detail}.",
    "sealed_secret": "The stored secret cannot be opened: {detail}. Put the old key back, or enter the secret again.",
    "not_booted": "FullyBooted did not come after the login. Add system to read= of this user in manager.conf "
    "(read = system,call,agent,user,cdr). If Asterisk is just starting, the hub will get in by itself.",
    "too_few_rights": "The user may not run the action {detail}. Give it write = system,call,reporting,originate in "
    "manager.conf; then: module reload manager.",
    "no_answer": "The PBX did not answer the action {detail} in time. It is overloaded or hangs; see its own log.",
    "no_events": "Asterisk has live calls, but none of their events reach the hub ({detail}). Add call to read= of "
    "this user in manager.conf and check its eventfilter lines: Newchannel must pass (see asterisk-conf/).",
    # --- connected, but not as it should be
    "filter_denied": "Works, but the PBX sends far more events than the hub reads, and refused the hub's filter: "
    "{detail}. Put the eventfilter lines of asterisk-conf/manager.conf there, or add system to write= of this user.",
    "cel_unreadable": "Works, but calls that come and go while the line is down cannot be recovered: the CEL file "
    "cannot be read: {detail}. Give the path of cel_sqlite3_custom's master.db, readable for the hub's user.",
    # --- lost
    "closed": "The PBX closed the connection{detail}. The hub connects again by itself.",
    "silent": "The PBX did not answer a ping for {detail} s; the connection was dropped. The hub connects again.",
    "flooded": "Events came faster than they could be read ({detail} waited); the connection was dropped. The hub "
    "connects again and asks Asterisk for the live calls.",
    "garbage": "The PBX sent a message without end ({detail} bytes); the connection was dropped.",
    "memory_full": "The database is away and {detail} stages wait in memory: no more are taken in. Repair the "
    "database; the hub then writes what waits, connects again and asks Asterisk for the live calls.",
    "stopped": "The hub does not listen to this PBX now: it was stopped, or the PBX was switched off here.",
}
