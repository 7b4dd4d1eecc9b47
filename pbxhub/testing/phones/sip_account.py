"""The SIP account of an agent: its arguments are checked before a phone is started."""

import re
import socket
from dataclasses import dataclass, field

from pbxhub.testing.phones.baresip import PhoneFailedError

_DOMAIN = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Account:
    """Raises ValueError that names the argument which baresip's line for an account cannot hold."""

    username: str
    domain: str
    password: str = field(repr=False)
    display_name: str
    transport: str
    auto_answer: bool

    def __post_init__(self) -> None:
        if not self.username or _holds(self.username, r'[\s;"<>@]'):
            raise ValueError(f"username={self.username!r}: give the part of the SIP address before the @")
        if not _DOMAIN.fullmatch(self.domain):
            raise ValueError(
                f'domain={self.domain!r}: give a host or an address, "pbx.example.com" or "192.0.2.1:5061"'
            )
        if _holds(self.password, r'[\s;"<>]'):
            raise ValueError('password: baresip takes none with a blank or one of ; " < >; give the account another')
        if _holds(self.display_name, r'["\\\r\n]'):
            raise ValueError(f"display_name={self.display_name!r} may not have quotes, backslashes or line breaks")
        if self.transport not in ("udp", "tcp"):
            raise ValueError(f'transport={self.transport!r} is not known: give "udp" or "tcp"')

    @property
    def uri_parameters(self) -> str:
        """What follows every SIP address that is called over the transport."""
        return ";transport=tcp" if self.transport == "tcp" else ""

    @property
    def line(self) -> str:
        """As baresip's command uanew takes it."""
        name = f'"{self.display_name}" ' if self.display_name else ""
        login = f";auth_user={self.username};auth_pass={self.password};regint=60" if self.password else ";regint=0"
        mode = "auto" if self.auto_answer else "manual"
        uri = f"sip:{self.username}@{self.domain}{self.uri_parameters}"
        return f"{name}<{uri}>{login};answermode={mode};audio_codecs=PCMU/8000/1"


def address_towards(domain: str) -> str:
    """The local address that packets to the PBX leave from. Raises PhoneFailedError."""
    host = domain.partition(":")[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 5060))
        except socket.gaierror as error:
            raise PhoneFailedError(f"domain={domain!r}: the host {host} is not known ({error.strerror})") from None
        except OSError as error:
            raise PhoneFailedError(f"domain={domain!r}: no way leads to {host} ({error.strerror})") from None
        address: str = probe.getsockname()[0]
    return address


def _holds(text: str, characters: str) -> bool:
    return re.search(characters, text) is not None
