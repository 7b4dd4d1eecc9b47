"""Notifies a project by e-mail and by HTTP: its webhook fails, is paused or works again; its PBX is lost or back."""

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, func, select, text, update
from sqlalchemy.orm import Session

from pbxhub.notices.mail import send_mail
from pbxhub.redaction import redact_text
from pbxhub.sending.address_guard import NetworkGrant, read_grant
from pbxhub.sending.exchange import Answer, Outgoing
from pbxhub.sending.sender import Sender
from pbxhub.settings import MailServer
from pbxhub.store.accounts import Project
from pbxhub.store.notices import PBX_BACK, PBX_LOST, Notice, NoticeTarget
from pbxhub.store.session import Database
from pbxhub.webhooks.request import Request

BATCH = 50
FAIR_SHARE = 5  # notices of one project per batch, so that a target that hangs delays no other project
RETRY = timedelta(minutes=5)
MOST_TRIES = 12  # an hour; after that the notice stays on the page with the reason why it was not delivered
MAILS_AT_ONCE = 4
MAILING = 120.0  # seconds after which a batch starts no further mail; below RETRY, when another process may retry
_TYPES = {PBX_LOST: "pbx.lost", PBX_BACK: "pbx.back"}  # every other kind is about a webhook
_IS_DUE = text("due_on IS NOT NULL")  # as text, so that the database uses the partial index


@dataclass(frozen=True, slots=True)
class _Due:
    """A notice and the targets that have not received it yet."""

    id: UUID
    project_id: int
    webhook_id: int | None
    pbx_id: int | None
    kind: str
    text: str
    created_on: datetime
    tries: int
    addresses: tuple[str, ...]
    networks: NetworkGrant


def send_due(database: Database, sender: Sender, mail: MailServer | None, now: datetime) -> int:
    """Sends the due notices at the same time, each to every target that has not received it yet.
    Returns how many have reached all their targets.

    A failed target is tried again after RETRY. A target may get a notice twice, but never misses one within MOST_TRIES.
    """
    with database.write() as session:
        due = _take(session, now)
    if not due:
        return 0
    errors = _send_all(sender, mail, due)
    with database.write() as session:
        for notice in due:
            _note(session, notice, errors[notice.id], now)
    return sum(not failed for failed in errors.values())


def some_due_notices(now: datetime) -> ColumnElement[bool]:
    """Whether send_due has work."""
    return exists().where(_IS_DUE, Notice.due_on <= now)


def _due_ids(now: datetime) -> Select[tuple[UUID]]:
    """At most FAIR_SHARE notices of each project, oldest first."""
    place = func.row_number().over(partition_by=Notice.project_id, order_by=Notice.due_on).label("place")
    due = select(Notice.id, Notice.due_on, place).where(_IS_DUE, Notice.due_on <= now).subquery()
    return select(due.c.id).where(due.c.place <= FAIR_SHARE).order_by(due.c.due_on).limit(BATCH)


def _take(session: Session, now: datetime) -> list[_Due]:
    """Due notices with their targets. No other process takes them until RETRY is over."""
    rows = session.scalars(
        select(Notice)
        .where(Notice.id.in_(_due_ids(now)), Notice.due_on <= now)
        .order_by(Notice.due_on)
        .with_for_update(skip_locked=True)
    ).all()
    taken = []
    for row in rows:
        row.due_on = now + RETRY
        targets = session.scalars(select(NoticeTarget.address).where(NoticeTarget.project_id == row.project_id))
        networks = session.scalar(select(Project.webhook_networks).where(Project.id == row.project_id))
        open_ones = tuple(address for address in targets if row.missed is None or address in row.missed)
        taken.append(
            _Due(
                row.id,
                row.project_id,
                row.webhook_id,
                row.pbx_id,
                row.kind,
                row.text,
                row.created_on,
                row.tries,
                open_ones,
                read_grant(networks),
            )
        )
    return taken


def _note(session: Session, notice: _Due, errors: Mapping[str, str], now: datetime) -> None:
    tries = notice.tries + 1
    again = now + RETRY if errors and tries < MOST_TRIES else None
    session.execute(
        update(Notice)
        .where(Notice.id == notice.id)
        .values(due_on=again, tries=tries, missed=list(errors), error="; ".join(errors.values())[:500]),
        execution_options={"synchronize_session": False},
    )


def _send_all(sender: Sender, mail: MailServer | None, due: Sequence[_Due]) -> dict[UUID, dict[str, str]]:
    """For each notice: the addresses that failed, each with the reason."""
    until = time.monotonic() + MAILING
    with ThreadPoolExecutor(MAILS_AT_ONCE, "mails") as mailing:
        sent = [
            (notice.id, address, _post(sender, notice, address) if _is_url(address)
             else mailing.submit(_mail, mail, notice, address, until))
            for notice in due
            for address in notice.addresses
        ]  # fmt: skip
        errors: dict[UUID, dict[str, str]] = {notice.id: {} for notice in due}
        for notice_id, address, ending in sent:
            if problem := ending.result():
                errors[notice_id][address] = problem
    return errors


def _is_url(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _post(sender: Sender, notice: _Due, address: str) -> Future[str]:
    body = {
        "type": _TYPES.get(notice.kind, f"webhook.{notice.kind}"), "message": notice.text,
        "webhook_id": notice.webhook_id, "pbx_id": notice.pbx_id,
        "project_id": notice.project_id, "created_on": notice.created_on.isoformat(),
    }  # fmt: skip
    headers = (("Content-Type", "application/json"), ("webhook-id", str(notice.id)))
    request = Request("POST", address, headers, json.dumps(body, ensure_ascii=False).encode())
    ending: Future[str] = Future()

    def done(answer: Answer) -> None:
        ending.set_result("" if answer.outcome == "ok" else redact_text(f"notice to {address}: {answer.message}"))

    sender.begin(Outgoing(request, pool=f"notice:{notice.project_id}", networks=notice.networks), done)
    return ending


def _mail(mail: MailServer | None, notice: _Due, address: str, until: float) -> str:
    if mail is None:
        return f"no mail to {address}: no mail server is set (PBXHUB_SMTP)"
    if time.monotonic() > until:
        return f"no mail to {address}: the mail server is too slow"
    message = EmailMessage()
    try:
        message["From"], message["To"] = mail.sender, address
    except ValueError as error:
        return f"no mail to {address}: {error}"
    message["Subject"] = " ".join(notice.text.partition("\n\n")[0].split())[:150]
    message["Message-ID"] = f"<{notice.id}@pbxhub>"
    message.set_content(notice.text)
    problem = send_mail(mail, message)
    return f"no mail to {address}: {problem}" if problem else ""
