"""Reads the PBX rows as the listener needs them, and writes back what the listener observed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import literal, select, union, update
from sqlalchemy.orm import Session

from pbxhub.ami.cel_file import CelFile, CelSource
from pbxhub.ami.login import Address
from pbxhub.calls.cel_calls import Place
from pbxhub.calls.charsets import charset_of
from pbxhub.calls.incoming_contexts import IncomingContexts
from pbxhub.calls.snapshot import load, outline
from pbxhub.calls.stages import JSON, OPTIONAL_STAGES, CallReport, Direction
from pbxhub.calls.tracker import Tracker
from pbxhub.delivery.call_rows import keep_notes
from pbxhub.sending.address_guard import read_networks
from pbxhub.sending.pbx_reach import PbxReach
from pbxhub.storable import clip
from pbxhub.store.accounts import Number, Pbx, enabled_pbxs, endpoints_of
from pbxhub.store.cel_url import CelUrl, read_cel_url
from pbxhub.store.clock import utc_now
from pbxhub.store.history import Call, LiveCall, StageEvent
from pbxhub.store.listeners import LeaseTokens, may_write, still_held, token_of_salt
from pbxhub.store.pbx_state_sentences import PbxState
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.vault import Vault, VaultError

_LAST_CALLS = 500  # that show which endpoints are trunks


@dataclass(frozen=True, slots=True)
class PbxRow:
    """One PBX as it is set up. Two are equal when no setting has changed for which the listener must begin anew.

    trouble: why no connection can be tried. endpoints and own_numbers: as for Tracker; the listener follows them.
    optional_stages: those that webhooks of its projects wait for; the listener follows them, too.
    token: of the lease under which this process listens to it; on SQLite it tells PBXs apart that had one id after the
    other. None is not checked.
    """

    id: int
    key: str
    address: Address
    incoming_contexts: tuple[str, ...]
    cel_path: str
    cel_url: CelUrl | None = None
    trouble: PbxState | None = None
    token: int | None = None
    cel_cursor: Place = field(default=Place(0), compare=False)
    asterisk_started_on: datetime | None = field(default=None, compare=False)
    endpoints: Mapping[str, str] = field(default_factory=dict, compare=False)
    own_numbers: frozenset[str] = field(default=frozenset(), compare=False)
    optional_stages: frozenset[str] = field(default=frozenset(), compare=False)

    def new_cel_source(self) -> CelSource | None:
        """Where its CEL is read from; None where it is not."""
        if self.cel_url:
            from pbxhub.ami.cel_table import CelTable  # it loads the driver of PostgreSQL

            return CelTable(self.cel_url)
        return CelFile(self.cel_path, self.address.charset) if self.cel_path else None

    def new_tracker(self) -> Tracker:
        contexts, optional = self.incoming_contexts, self.optional_stages
        return Tracker(contexts, endpoints=self.endpoints, own_numbers=self.own_numbers, optional=optional)


@dataclass(frozen=True, slots=True)
class ObservedPbx:
    """What the listener last observed of a PBX. hub_address: the address the hub connects from; "" = unknown."""

    state: PbxState
    since: datetime
    last_event_on: datetime | None
    version: str
    started_on: datetime | None
    events_last_minute: int = 0
    hub_address: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is to be written into the row of a PBX. token: as PbxRow.token."""

    pbx_id: int
    token: int | None
    observed: ObservedPbx


def read_rows(database: Database, vault: Vault, tokens: LeaseTokens | None = None) -> dict[int, PbxRow]:
    """The PBXs to listen to, by id. tokens: the leases of this process; None: it listens to all (SQLite)."""
    with database.read() as session:
        pbxs = [pbx for pbx in enabled_pbxs(session) if tokens is None or pbx.id in tokens]
        endpoints = endpoints_of(session, {pbx.project_id for pbx in pbxs})
        numbers, wanted = _numbers_and_stages(session)
        return {
            pbx.id: replace(
                pbx_row(pbx, vault),
                token=token_of_salt(pbx.salt) if tokens is None else tokens[pbx.id],
                endpoints=endpoints.get(pbx.project_id, {}),
                own_numbers=frozenset(numbers.get(pbx.id, ())),
                optional_stages=frozenset(wanted.get(pbx.id, ())),
            )
            for pbx in pbxs
        }


def _numbers_and_stages(session: Session) -> tuple[Mapping[int, set[str]], Mapping[int, set[str]]]:
    """By PBX: its DIDs, and the optional stages that webhooks wait for: of its own project, and of those that have its
    numbers. In one statement: every listener asks it after each change."""
    wanted = Webhook.stage.in_(OPTIONAL_STAGES), Webhook.enabled, Webhook.deleted_on.is_(None)
    stage = literal("stage").label("kind")
    own = select(Pbx.id, Webhook.stage, stage).join(Webhook, Webhook.project_id == Pbx.project_id).where(*wanted)
    of_numbers = select(Number.pbx_id, Webhook.stage, stage).join(Webhook, Webhook.project_id == Number.project_id)
    dids = select(Number.pbx_id, Number.did, literal("did"))
    numbers, stages = dict[int, set[str]](), dict[int, set[str]]()
    for pbx_id, name, kind in session.execute(union(own, of_numbers.where(*wanted), dids)):
        (numbers if kind == "did" else stages).setdefault(pbx_id, set()).add(name)
    return numbers, stages


def pbx_row(pbx: Pbx, vault: Vault) -> PbxRow:
    """One PBX as the listener needs it, with its secret decrypted."""
    trouble, secret, cel_url = None, "", ""
    try:
        secret = vault.open(pbx.secret_sealed)
        cel_url = vault.open(pbx.cel_url_sealed) if pbx.cel_url_sealed else ""
    except VaultError as error:
        trouble = PbxState("refused", "sealed_secret", str(error))
    return PbxRow(
        id=pbx.id,
        key=pbx.key,
        address=Address(
            pbx.host,
            pbx.port,
            pbx.username,
            secret,
            pbx.tls,
            pbx.tls_ca,
            pbx.plain_login,
            reach_of(pbx),
            charset_of(pbx.charset, pbx.project.country),
        ),
        incoming_contexts=tuple(pbx.incoming_contexts),
        cel_path=pbx.cel_path,
        cel_url=read_cel_url(cel_url),
        trouble=trouble,
        cel_cursor=Place(pbx.cel_cursor, pbx.cel_mark),
        asterisk_started_on=pbx.asterisk_started_on,
    )


def reach_of(pbx: Pbx) -> PbxReach:
    """The networks in which this PBX may be."""
    return PbxReach(read_networks(pbx.project.pbx_networks), pbx.any_network)


def read_notes(database: Database, pbx_id: int) -> dict[str, dict[str, JSON]]:
    """The tracker's notes on every call in progress on this PBX: linkedid -> snapshot.

    When the notes on an open call cannot be read (another version of the hub wrote them), an outline is made from the
    history, so that no call stays open for ever.
    """
    with database.read() as session:
        kept = session.execute(select(LiveCall.linkedid, LiveCall.memory).where(LiveCall.pbx_id == pbx_id)).all()
        notes = {linkedid: memory for linkedid, memory in kept if load(memory)}
        calls = session.scalars(select(Call).where(Call.pbx_id == pbx_id, Call.ended_on.is_(None))).all()
        return notes | {call.linkedid: _outline(session, call) for call in calls if call.linkedid not in notes}


def write_notes(database: Database, pbx_id: int, token: int | None, notes: Mapping[str, Mapping[str, JSON]]) -> None:
    """Saves the tracker's notes on calls (Tracker.notes) in one transaction. token: as PbxRow.token."""
    with database.write() as session:
        if may_write(session, pbx_id, token):
            keep_notes(session, pbx_id, notes)


def known_trunks(database: Database, row: PbxRow) -> set[str]:
    """The endpoints through which the last calls of this PBX came in or went out. A call that is incoming only because
    the dialplan says so proves nothing about its endpoint."""
    with database.read() as session:
        project = select(Pbx.project_id).where(Pbx.id == row.id).scalar_subquery()
        last = select(Call.pbx_id, Call.direction, Call.data).where(Call.project_id == project)
        calls = session.execute(last.order_by(Call.started_on.desc()).limit(_LAST_CALLS)).all()
    incoming = IncomingContexts(row.incoming_contexts)
    trunks = {
        str(data.get("trunk", ""))
        for pbx_id, direction, data in calls
        if pbx_id == row.id and (direction == "outgoing" or str(data.get("context", "")) in incoming)
    }
    return trunks - {""}


_DIRECTIONS: Mapping[str, Direction] = {"incoming": "incoming", "outgoing": "outgoing"}


def _outline(session: Session, call: Call) -> dict[str, JSON]:
    fired: dict[str, list[str]] = {}
    rows = session.execute(
        select(StageEvent.stage, StageEvent.key).where(StageEvent.call_id == call.id).order_by(StageEvent.id)
    )
    for stage, key in rows:
        fired.setdefault(stage, []).append(key)
    direction = _DIRECTIONS.get(call.direction, "internal")
    known = CallReport(
        call.linkedid, direction, call.caller, call.caller_name, call.dst, call.extension, call.started_on,
        call.answered_on, None, "", {},
    )  # fmt: skip
    return outline(known, fired)


def write_observed(database: Database, seen: Collection[Observed]) -> None:
    """Writes the current states into the rows of PBXs, in one transaction. An unknown version or start leaves the old
    value."""
    with database.write() as session:
        held = still_held(session, {one.pbx_id: one.token for one in seen if one.token is not None})
        for one in sorted(seen, key=lambda one: one.pbx_id):  # always in this order, so that no two lock each other out
            if one.token is None or one.pbx_id in held:
                session.execute(update(Pbx).where(Pbx.id == one.pbx_id).values(_columns(one.observed)))


def _columns(observed: ObservedPbx) -> dict[str, object]:
    state = {
        "state": observed.state.name,
        "state_code": observed.state.code,
        "state_detail": clip(observed.state.detail, 500),
        "state_since": observed.since,
        "seen_on": utc_now(),
        "events_last_minute": observed.events_last_minute,
    }
    values = {
        "last_event_on": observed.last_event_on,
        "asterisk_version": clip(observed.version, 100),
        "asterisk_started_on": observed.started_on,
        "hub_address": observed.hub_address,
    }
    return state | {name: value for name, value in values.items() if value not in (None, "")}


def write_cursor(database: Database, row: PbxRow, cursor: Place) -> None:
    """Writes the place in CEL before which every stage is in the database."""
    with database.write() as session:
        values = {"cel_cursor": cursor.number, "cel_mark": cursor.mark}
        if may_write(session, row.id, row.token):
            session.execute(update(Pbx).where(Pbx.id == row.id).values(values))
