"""The SIP messages that a softphone sent and received, read from its trace."""

import re
from dataclasses import dataclass

_BLOCK = re.compile(r"\x1b\[36;1m#\n(?:UDP|TCP|TLS) (\S+) -> (\S+)\n(.*?)\x1b\[;m", re.DOTALL)
_COMPACT = {"call-id": "i", "from": "f", "to": "t", "contact": "m", "via": "v"}


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One message on the wire; source and target are ADDRESS:PORT."""

    source: str
    target: str
    text: str

    @property
    def first_line(self) -> str:
        """ "INVITE sip:101@… SIP/2.0" or "SIP/2.0 200 OK"."""
        return self.text.partition("\r\n")[0]

    def header(self, name: str) -> str | None:
        """The value of its first header of that name in any case; None when it has none."""
        wanted = {name.lower(), _COMPACT.get(name.lower(), "")}
        for line in self.text.partition("\r\n\r\n")[0].split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.strip().lower() in wanted:
                return value.strip()
        return None

    def tag(self, name: str) -> str:
        """The tag of its From or To header, empty when there is none."""
        found = re.search(r";tag=([^;>\s]+)", self.header(name) or "")
        return found[1] if found else ""


def read_trace(text: str) -> list[SipMessage]:
    """The messages in the order they passed, from what baresip -s printed."""
    return [SipMessage(*match.groups()) for match in _BLOCK.finditer(text)]
