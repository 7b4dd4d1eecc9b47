"""Tables of the account: projects, users, members, API keys, PBXs (with when one counts as lost), numbers, employees,
saved filters."""

import secrets
from collections.abc import Collection
from datetime import datetime
from typing import cast

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, UniqueConstraint, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Mapped, Session, column_property, mapped_column, relationship

from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
from pbxhub.calls.stages import JSON
from pbxhub.store.columns import Id, JsonColumn, UtcDateTime, one_of
from pbxhub.store.listeners import ListenerProcess, PbxLease
from pbxhub.store.parts import SILENT
from pbxhub.store.pbx_state_sentences import PbxState, StateName
from pbxhub.store.session import Base

COMMON_FOLDER = "PBXHUB_RECORDINGS"


class Project(Base):
    """The tenant. Every row under it carries project_id."""

    __tablename__ = "project"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC")
    country: Mapped[str] = mapped_column(String(2), default="")  # ISO 3166, for numbers without a country code
    # lines of webhooks/working_time.py
    working_hours: Mapped[list[str]] = mapped_column(JsonColumn, default=list)
    holidays: Mapped[list[str]] = mapped_column(JsonColumn, default=list)
    persons_by: Mapped[str | None] = mapped_column(String(2))  # the country by which Call.person is written everywhere
    webhooks_revision: Mapped[int] = mapped_column(
        BigInteger, default=1
    )  # grows when any webhook changes: caches ask it
    pbx_networks: Mapped[list[str]] = mapped_column(JsonColumn, default=list)  # granted by an operator, for its PBXs
    # which of PBXHUB_ALLOWED_NETWORKS its webhooks may reach; None: all of them
    webhook_networks: Mapped[list[str] | None] = mapped_column(JsonColumn)
    recording_link_days: Mapped[int] = mapped_column(Integer, default=0)  # delivery/links.LinkRule
    recording_link_series: Mapped[int] = mapped_column(Integer, default=0)
    # when the hub was restored from a backup: deliveries of earlier calls may have been sent already
    restored_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)


class User(Base):
    """A user who signs in. The columns from password to recovery_codes belong to the sign-in library (web/users.py)."""

    __tablename__ = "user_account"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)  # normalised: account/email_addresses.py
    email_confirmed_on: Mapped[datetime | None] = mapped_column(UtcDateTime)  # None: account/invitations.py
    name: Mapped[str] = mapped_column(String(200), default="")
    password: Mapped[str] = mapped_column(String(255))  # argon2 hash
    active: Mapped[bool] = mapped_column(default=True)
    operator: Mapped[bool] = mapped_column(default=False)  # runs the hub itself: account/access.OPERATOR_RIGHTS
    fs_uniquifier: Mapped[str] = mapped_column(String(64), unique=True)  # a new value ends every session
    tf_primary_method: Mapped[str | None] = mapped_column(String(40))  # "authenticator" with two-factor on
    tf_totp_secret: Mapped[str | None] = mapped_column(String(255))  # encrypted by the sign-in library
    tf_last_step: Mapped[int | None] = mapped_column(BigInteger)  # of the newest one-time code used (RFC 6238, T)
    recovery_codes: Mapped[list[str]] = mapped_column(JsonColumn, default=list)  # encrypted in the same way
    language: Mapped[str] = mapped_column(String(5), default="")  # empty: the browser's language
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)


class Membership(Base):
    """A user's role in a project: viewer, editor or owner."""

    __tablename__ = "membership"
    __table_args__ = (UniqueConstraint("project_id", "user_id"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(10))
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)


class ApiKey(Base):
    """A program's key. Only its SHA-256 is stored; the key itself is shown once."""

    __tablename__ = "api_key"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    scopes: Mapped[list[str]] = mapped_column(JsonColumn)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    used_on: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Pbx(Base):
    """An Asterisk the hub listens to. Calls go to project_id unless a Number routes the DID elsewhere."""

    __tablename__ = "pbx"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    host: Mapped[str] = mapped_column(String(255))
    port: Mapped[int] = mapped_column(Integer, default=5038)
    any_network: Mapped[bool] = mapped_column(default=False)  # an operator put it at host and port; else see PbxReach
    username: Mapped[str] = mapped_column(String(100))
    secret_sealed: Mapped[str] = mapped_column(String(1000))
    tls: Mapped[bool] = mapped_column(default=False)
    tls_ca: Mapped[str] = mapped_column(String, default="")  # certificate authority (PEM); empty = system
    plain_login: Mapped[bool] = mapped_column(default=False)  # MD5 challenge unless asked otherwise
    incoming_contexts: Mapped[list[str]] = mapped_column(JsonColumn, default=lambda: list(DEFAULT_INCOMING_CONTEXTS))
    charset: Mapped[str] = mapped_column(String(20), default="")  # of names that are not UTF-8: calls/charsets.py
    salt: Mapped[str] = mapped_column(String(20), default=lambda: secrets.token_hex(4))  # see key
    cel_path: Mapped[str] = mapped_column(String(1000), default="")  # sqlite file of cel_sqlite3_custom on this host
    cel_url_sealed: Mapped[str] = mapped_column(String(3000), default="")  # its CEL as a table, in place of the file
    # folder of its recordings on this host; "" = none, COMMON_FOLDER = that of the setting. Only operators name paths
    recordings: Mapped[str] = mapped_column(String(1000), default="")
    cel_cursor: Mapped[int] = mapped_column(BigInteger, default=0)  # calls without a later row are finished
    cel_mark: Mapped[str] = mapped_column(String(400), default="")  # that row's content: the file may be another now
    enabled: Mapped[bool] = mapped_column(default=True)
    # what the listener last saw, for the pages: new before that, then the names and codes of pbx_state_sentences.py
    state: Mapped[str] = mapped_column(String(20), default="new")
    state_code: Mapped[str] = mapped_column(String(40), default="")
    state_detail: Mapped[str] = mapped_column(String(500), default="")
    state_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seen_on: Mapped[datetime | None] = mapped_column(UtcDateTime)  # written every 15 s while the listener runs
    last_event_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    events_last_minute: Mapped[int] = mapped_column(Integer, default=0)  # at seen_on
    told_lost_on: Mapped[datetime | None] = mapped_column(UtcDateTime)  # lost since; see delivery/pbx_notices.py
    hub_address: Mapped[str] = mapped_column(String(60), default="")  # the hub connects from; empty = unknown
    asterisk_version: Mapped[str] = mapped_column(String(100), default="")
    asterisk_started_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    project: Mapped[Project] = relationship(lazy="joined", innerjoin=True)
    # of the listener that has it, where several share the PBXs
    listener_host: Mapped[str | None] = column_property(
        select(ListenerProcess.host)
        .join(PbxLease, PbxLease.listener_id == ListenerProcess.id)
        .where(PbxLease.pbx_id == id)
        .correlate_except(ListenerProcess, PbxLease)
        .scalar_subquery()
    )

    @property
    def key(self) -> str:
        """What it is called outside of the database: in file names and FastAGI addresses. SQLite gives the id of a
        deleted PBX to the next one, of whatever project; the salt differs. PBXs of 0.1.0 have none."""
        return f"{self.id}-{self.salt}" if self.salt else str(self.id)

    @property
    def standing(self) -> PbxState:
        """State, code and detail as one value with its sentences."""
        return PbxState(cast(StateName, self.state), self.state_code, self.state_detail)

    @property
    def state_reason(self) -> str:
        """What is wrong and what to do; "" when nothing is."""
        return self.standing.sentence


class Number(Base):
    """A DID of a PBX: its label, and the project its calls belong to."""

    __tablename__ = "number"
    __table_args__ = (UniqueConstraint("pbx_id", "did"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), index=True)
    pbx_id: Mapped[int] = mapped_column(ForeignKey("pbx.id", ondelete="CASCADE"))
    did: Mapped[str] = mapped_column(String(80))
    label: Mapped[str] = mapped_column(String(200), default="")


class Employee(Base):
    """The card of an extension."""

    __tablename__ = "employee"
    __table_args__ = (UniqueConstraint("project_id", "extension"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    extension: Mapped[str] = mapped_column(String(80))
    endpoints: Mapped[list[str]] = mapped_column(JsonColumn, default=list)  # of its phones, without the technology
    name: Mapped[str] = mapped_column(String(200), default="")
    email: Mapped[str] = mapped_column(String(255), default="")
    department: Mapped[str] = mapped_column(String(200), default="")
    crm_id: Mapped[str] = mapped_column(String(200), default="")


class AuditEntry(Base):
    """One entry of an audit log. changes: field -> [before, after], never a secret. Without a project: operators'
    log."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_project", "project_id", "id"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="SET NULL"), index=True)
    who: Mapped[str] = mapped_column(String(255))  # e-mail, kept after the user was deleted
    action: Mapped[str] = mapped_column(String(60))  # "webhook edited", "member removed" …
    subject: Mapped[str] = mapped_column(String(200))
    changes: Mapped[dict[str, list[JSON]]] = mapped_column(JsonColumn, default=dict)
    address: Mapped[str] = mapped_column(String(60), default="")
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)


class SavedFilter(Base):
    """What a list was narrowed by. user_id: of the one whose it is; None: everybody's in the project."""

    __tablename__ = "saved_filter"
    __table_args__ = (Index("ix_saved_filter_project", "project_id", "page", "name"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    page: Mapped[str] = mapped_column(String(20))  # account/saved_filters.py FIELDS
    name: Mapped[str] = mapped_column(String(80))
    fields: Mapped[dict[str, str]] = mapped_column(JsonColumn)  # as the address of the page has them
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)

    @property
    def shared(self) -> bool:
        """Whether it is everybody's in the project."""
        return self.user_id is None


def lock_project(session: Session, project_id: int) -> None:
    """Locks the project until the end of the transaction, for code that first reads and then writes based on what it
    read. NO KEY UPDATE lets others write rows that refer to the project (stages, deliveries). SQLite has one writer at
    a time anyway."""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update(key_share=True))


def enabled_pbxs(session: Session) -> list[Pbx]:
    """The PBXs the listener connects to, oldest first."""
    return list(session.scalars(select(Pbx).where(Pbx.enabled).order_by(Pbx.id)))


def endpoints_of(session: Session, project_ids: Collection[int]) -> dict[int, dict[str, str]]:
    """By project: name of an endpoint -> extension of the employee whose card has it."""
    cards = select(Employee.project_id, Employee.extension, Employee.endpoints)
    cards = cards.where(one_of(Employee.project_id, project_ids), sql_cast(Employee.endpoints, String) != "[]")
    found: dict[int, dict[str, str]] = {}
    for project_id, extension, names in session.execute(cards):
        found.setdefault(project_id, {}).update(dict.fromkeys(names, extension))
    return found


def numbers_of(session: Session, pbx_ids: Collection[int]) -> dict[int, list[str]]:
    """By PBX: its DIDs."""
    found: dict[int, list[str]] = {}
    for pbx_id, did in session.execute(select(Number.pbx_id, Number.did).where(one_of(Number.pbx_id, pbx_ids))):
        found.setdefault(pbx_id, []).append(did)
    return found


def unheard(pbx: Pbx, now: datetime) -> bool:
    """Whether a process should listen to this PBX, but has not written so for a minute."""
    return pbx.enabled and pbx.state_code != "stopped" and now - (pbx.seen_on or pbx.created_on) > SILENT


def is_connected(pbx: Pbx, now: datetime) -> bool:
    """Whether the hub hears the calls of this PBX at this moment."""
    return pbx.state == "connected" and not unheard(pbx, now)


def lost_since(pbx: Pbx, now: datetime) -> datetime | None:
    """Since when the hub has not heard this PBX, as far as its row tells; None while it hears it."""
    if is_connected(pbx, now):
        return None
    return (pbx.seen_on if unheard(pbx, now) else pbx.state_since) or pbx.created_on
