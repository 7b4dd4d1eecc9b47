"""PBXs: the one set of rules for pages, API and command line, and what they say of a running one."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from ipaddress import ip_address

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, ProjectAccess
from pbxhub.account.audit_log import note
from pbxhub.account.pbx_files import first_folder
from pbxhub.account.refusals import Refusal
from pbxhub.calls.charsets import CHARSETS
from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS, IncomingContexts
from pbxhub.calls.stages import JSON
from pbxhub.finding import Finding
from pbxhub.sending.address_guard import read_networks
from pbxhub.sending.own_address import own_address
from pbxhub.sending.pbx_reach import PbxReach, read_pbx_host
from pbxhub.store.accounts import Pbx, is_connected
from pbxhub.store.history import open_calls
from pbxhub.translatable import Sentence, say
from pbxhub.webhooks.certificates import certificates_error

_USER_NAME = re.compile(r"[A-Za-z0-9_.@+-]{1,100}", re.ASCII)
_SECTIONS = frozenset({"general", "pbxhub-rights"})  # of manager.conf, with a meaning of their own
_CONTEXT = re.compile(r"[^\s\[\](){},;\"'\\=]{1,80}")
_MOST_CONTEXTS = 50
AUDITED = ("name", "host", "port", "username", "tls", "plain_login", "charset", "enabled")


@dataclass(frozen=True, slots=True)
class PbxInput:
    """What somebody wants of a PBX; None leaves what is there. secret: in the clear."""

    name: str | None = None
    host: str | None = None
    port: int | None = None
    username: str | None = None
    secret: str | None = field(default=None, repr=False)
    tls: bool | None = None
    tls_ca: str | None = None
    plain_login: bool | None = None
    incoming_contexts: tuple[str, ...] | None = None
    enabled: bool | None = None
    charset: str | None = None


def pbxs_of(session: Session, access: Access) -> Sequence[Pbx]:
    """The PBXs of the project, oldest first."""
    return session.scalars(select(Pbx).where(Pbx.project_id == access.project.id).order_by(Pbx.id)).all()


def add_pbx(session: Session, access: ProjectAccess, given: PbxInput) -> Pbx | list[Refusal]:
    """A new PBX of the project, or why not. given: name, host, username and a secret must be there. Operators may put
    it at any address."""
    row = Pbx(
        project=access.project, port=5038, tls=False, tls_ca="", plain_login=False, enabled=True, state="new",
        cel_path="", charset="", incoming_contexts=list(DEFAULT_INCOMING_CONTEXTS), created_on=access.now,
    )  # fmt: skip
    complete = replace(given, name=given.name or "", host=given.host or "", username=given.username or "",
                       secret=given.secret or "")  # fmt: skip
    if refused := _apply(row, complete, access):
        return refused
    row.recordings = first_folder(session, access)
    session.add(row)
    session.flush()
    note(session, access, "PBX added", row.name, {}, shown(row))
    return row


def change_pbx(session: Session, access: Access, row: Pbx, given: PbxInput) -> list[Refusal]:
    """Changes a PBX, or changes nothing and returns why not. Only what differs from the row is checked: what an earlier
    version of the hub accepted stays until somebody changes it."""
    before = shown(row)
    refused = _apply(row, given, access)
    if not refused:
        note(session, access, "PBX changed", row.name, before, shown(row))
    return refused


def add_incoming_context(session: Session, access: Access, pbx: Pbx, context: str) -> list[Refusal]:
    """Adds an incoming context to the PBX, or returns why not. The listener uses it within seconds."""
    if context in IncomingContexts(pbx.incoming_contexts):
        return []
    return change_pbx(session, access, pbx, PbxInput(incoming_contexts=(*pbx.incoming_contexts, context)))


def delete_pbx(session: Session, access: Access, row: Pbx) -> None:
    """Stops listening and forgets the PBX; its calls stay."""
    note(session, access, "PBX deleted", row.name, shown(row))
    session.delete(row)


def check_pbx(access: Access, row: Pbx) -> list[Finding]:
    """Signs in to the PBX as the listener does. Takes up to half a minute; raises BusyError when too many checks are
    running."""
    with access.hub.slow_requests.one(access.project.id):
        return list(access.hub.check_pbx(row, access.operator))


def _apply(row: Pbx, given: PbxInput, access: ProjectAccess) -> list[Refusal]:
    """An operator may move a PBX anywhere. When anybody else moves it, the networks of the project count again."""
    changes = _changes(row, given)
    moved = "host" in changes or "port" in changes
    anywhere = access.operator if moved else row.any_network
    refused = list(_refusals(changes))
    if moved and not refused:
        host = str(changes.get("host", row.host))
        refused = _misplaced(host, PbxReach(read_networks(row.project.pbx_networks), anywhere))
    if refused:
        return refused
    for name, value in changes.items():
        if name == "secret":
            row.secret_sealed = access.hub.vault.seal(str(value))
        else:
            setattr(row, name, _clean(name, value))
    row.any_network = anywhere
    return []


def shown(row: Pbx) -> dict[str, JSON]:
    """What the audit log says of a PBX."""
    return {
        **{name: getattr(row, name) for name in AUDITED},
        "tls_ca": bool(row.tls_ca),
        "incoming_contexts": ", ".join(row.incoming_contexts),
    }


def _changes(row: Pbx, given: PbxInput) -> dict[str, object]:
    wanted = {name: value for name, value in asdict(given).items() if value is not None}
    return {name: value for name, value in wanted.items() if name == "secret" or value != _present(row, name)}


def _clean(name: str, value: object) -> object:
    if name == "host":
        return read_pbx_host(str(value))
    return list(value) if isinstance(value, tuple) else value


def _present(row: Pbx, name: str) -> object:
    return tuple(row.incoming_contexts) if name == "incoming_contexts" else getattr(row, name)


def _refusals(changes: dict[str, object]) -> Iterator[Refusal]:
    for name, value in changes.items():
        if refused := _CHECKS[name](value) if name in _CHECKS else None:
            yield replace(refused, path=name)


def _misplaced(host: str, reach: PbxReach) -> list[Refusal]:
    if reach.allows_host(read_pbx_host(host) or ""):
        return []
    return [Refusal("host", say("A PBX of this project must not be at this address."), _place_instead(reach))]


def _place_instead(reach: PbxReach) -> Sentence:
    if reach.networks:
        return say(
            "Give a public address, or one in %(networks)s; an operator of the hub can grant more networks.",
            networks=", ".join(str(network) for network in reach.networks),
        )
    return say("Give a public address; an operator of the hub can grant other networks.")


def _name(value: object) -> Refusal | None:
    text = str(value)
    if text.strip() and text.isprintable() and len(text) <= 200:
        return None
    return Refusal("", say("The name is empty, too long or has control characters."), say("Give 1 to 200 characters."))


def _host(value: object) -> Refusal | None:
    if read_pbx_host(str(value)):
        return None
    return Refusal(
        "",
        say("This is not a host name or an IP address."),
        say("Give one without http:// and port: pbx.example.com or 203.0.113.7 for example."),
    )


def _port(value: object) -> Refusal | None:
    if isinstance(value, int) and 0 < value < 65536:
        return None
    return Refusal("", say("This is not a port."), say("Give a number from 1 to 65535; AMI usually uses 5038."))


def user_name(value: object) -> Refusal | None:
    """Why this is no AMI user name. It becomes the name of a section of manager.conf: [NAME](pbxhub-rights)."""
    text = str(value)
    if text.lower() in _SECTIONS:
        return Refusal(
            "", say("%(name)s has a special meaning in manager.conf.", name=text), say("Choose another user name.")
        )
    if _USER_NAME.fullmatch(text):
        return None
    return Refusal(
        "",
        say("Asterisk would not read this user name as one word in manager.conf."),
        say("Use Latin letters, digits and _ . @ + - only, 100 at most."),
    )


def _secret(value: object) -> Refusal | None:
    text = str(value)
    if not text:
        return Refusal("", say("The secret is empty."), say("Give the secret of the AMI user."))
    if text.isprintable() and len(text) <= 200:
        return None
    return Refusal("", say("The secret is too long or has control characters."), say("Use up to 200 characters."))


def _authority(value: object) -> Refusal | None:
    error = certificates_error(str(value)) if value else ""
    if not error:
        return None
    return Refusal("", say("The text %(error)s.", error=error), say("Paste the authority that signed the certificate."))


def _contexts(value: object) -> Refusal | None:
    names = [str(name) for name in value] if isinstance(value, tuple) else []
    if any(name and not name.strip("*") for name in names):
        return Refusal(
            "",
            say("A pattern of wildcards only would make every call an incoming one."),
            say("Begin it with the part that the names have in common, such as from-trunk*."),
        )
    if 0 < len(names) <= _MOST_CONTEXTS and all(_CONTEXT.fullmatch(name) for name in names):
        return None
    return Refusal(
        "",
        say("These are not names of dialplan contexts."),
        say("Give 1 to 50 names without spaces, brackets and semicolons: from-trunk or from-trunk* for example."),
    )


def _charset(value: object) -> Refusal | None:
    if value in ("", *CHARSETS):
        return None
    return Refusal(
        "",
        say("The hub does not know this charset."),
        say("Leave it empty for that of the country, or give one of %(known)s.", known=", ".join(CHARSETS)),
    )


_CHECKS: Mapping[str, Callable[[object], Refusal | None]] = {
    "name": _name,
    "host": _host,
    "port": _port,
    "username": user_name,
    "secret": _secret,
    "tls_ca": _authority,
    "incoming_contexts": _contexts,
    "charset": _charset,
}


@dataclass(frozen=True, slots=True)
class Live:
    """calls: in progress. per_second: events over the last minute; None while none can come."""

    calls: int
    per_second: float | None
    permit: str


def live(session: Session, pbx: Pbx, now: datetime) -> Live:
    """What changes while a PBX is listened to."""
    hears = is_connected(pbx, now)
    # Before the listener has tried, the address that this process would use is as good. DNS might block the page.
    address = pbx.hub_address or own_address(pbx.host, pbx.port, ask_dns=False)
    return Live(
        open_calls(session, [pbx.id]).get(pbx.id, 0), pbx.events_last_minute / 60 if hears else None, permit(address)
    )


def permit(address: str) -> str:
    """The value of permit= in manager.conf that lets in this address only; "" for an unknown one."""
    if not address:
        return ""
    return f"{address}/128" if ip_address(address).version == 6 else f"{address}/255.255.255.255"
