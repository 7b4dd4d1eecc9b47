"""Tells the people of a project what happened to a webhook: by e-mail and by HTTP."""

import json
import smtplib
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outgoing import Outgoing
from pbxhub.delivery.sender import Sender
from pbxhub.settings import MailServer
from pbxhub.store.notices import Notice, NoticeTarget
from pbxhub.store.session import Database
from pbxhub.webhooks.request import Request

BATCH = 50
RETRY = timedelta(minutes=5)
MOST_TRIES = 12  # an hour; then the notice stays on the page, with the reason why nobody got it


@dataclass(frozen=True, slots=True)
class _Due:
    id: UUID
    project_id: int
    webhook_id: int | None
    kind: str
    text: str
    created_on: datetime
    tries: int
    addresses: tuple[str, ...]


def tell(database: Database, sender: Sender, mail: MailServer | None, now: datetime) -> int:
    """Sends the notices that are due, each to every target of its project. Returns how many reached everybody.

    A notice that fails is tried again RETRY later. It may reach somebody twice, but is not lost.
    """
    with database.write() as session:
        due = _take(session, now)
    told = 0
    for notice in due:
        errors = [error for address in notice.addresses if (error := _send(sender, mail, notice, address))]
        with database.write() as session:
            _note(session, notice, "; ".join(errors), now)
        told += not errors
    return told


def _take(session: Session, now: datetime) -> list[_Due]:
    """Due notices with their targets; another process will not take them before RETRY is over."""
    rows = session.scalars(
        select(Notice)
        .where(text("due_on IS NOT NULL"), Notice.due_on <= now)
        .order_by(Notice.due_on)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    taken = []
    for row in rows:
        row.due_on = now + RETRY
        targets = session.scalars(select(NoticeTarget.address).where(NoticeTarget.project_id == row.project_id))
        taken.append(
            _Due(
                row.id, row.project_id, row.webhook_id, row.kind, row.text, row.created_on, row.tries, tuple(targets)
            )
        )  # fmt: skip
    return taken


def _note(session: Session, notice: _Due, error: str, now: datetime) -> None:
    tries = notice.tries + 1
    again = now + RETRY if error and tries < MOST_TRIES else None
    session.execute(
        update(Notice).where(Notice.id == notice.id).values(due_on=again, tries=tries, error=error[:500]),
        execution_options={"synchronize_session": False},
    )


def _send(sender: Sender, mail: MailServer | None, notice: _Due, address: str) -> str:
    """ "" when it went out, otherwise the sentence why not."""
    if address.startswith(("http://", "https://")):
        return _post(sender, notice, address)
    if mail is None:
        return f"no mail to {address}: no mail server is set"
    return _mail(mail, notice, address)


def _post(sender: Sender, notice: _Due, address: str) -> str:
    body = {
        "type": f"webhook.{notice.kind}", "message": notice.text, "webhook_id": notice.webhook_id,
        "project_id": notice.project_id, "created_on": notice.created_on.isoformat(),
    }  # fmt: skip
    headers = (("Content-Type", "application/json"), ("webhook-id", str(notice.id)))
    request = Request("POST", address, headers, json.dumps(body, ensure_ascii=False).encode())
    answer = sender.send(Outgoing(request, pool=f"notice:{notice.project_id}"))
    return "" if answer.outcome == "ok" else f"notice to {address}: {answer.message}"


def _mail(mail: MailServer, notice: _Due, address: str) -> str:
    message = EmailMessage()
    message["From"], message["To"] = mail.sender, address
    message["Subject"] = " ".join(notice.text.split())[:150]
    message["Message-ID"] = f"<{notice.id}@pbxhub>"
    message.set_content(notice.text)
    try:
        with smtplib.SMTP(mail.host, mail.port, timeout=mail.timeout) as server:
            if mail.starttls:
                server.starttls()
            if mail.username:
                server.login(mail.username, mail.password)
            server.send_message(message)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return f"no mail to {address}: {error}"
    return ""
