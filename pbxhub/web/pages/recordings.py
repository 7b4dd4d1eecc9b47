"""Recordings, by a signed link: no sign-in, so that a CRM can play them. And the link to a call's card."""

import re
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import UUID

from flask import Blueprint, Response, abort, redirect, request, send_file, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.delivery.links import link_rule
from pbxhub.delivery.open_recordings import is_page, request_of
from pbxhub.delivery.recording_files import RecordingFolder, folder_of
from pbxhub.sending.address_guard import NetworkGrant, read_grant
from pbxhub.store.accounts import Membership, Project
from pbxhub.store.history import Call, StageEvent
from pbxhub.web.page_access import signed_in
from pbxhub.webhooks.attached import SOUNDS
from pbxhub.wsgi.current import hub, now, reading

pages = Blueprint("recordings", __name__)

_EXPIRES = re.compile(r"[0-9]{0,12}")
_MOST_STAGES = 200
_FETCH_MOST = 200_000_000  # bytes; an hour of 16 bit at 8 kHz has 58 million


@pages.get("/recordings/<uuid:call_id>")
def play(call_id: UUID) -> ResponseReturnValue:
    """The sound of a call, for whoever has the link; 404 when it is wrong, expired or without a file."""
    expires, signature = request.args.get("expires", ""), request.args.get("signature", "")
    if not _EXPIRES.fullmatch(expires) or not signature.isascii():
        abort(404)
    with reading() as session:
        call = session.get(Call, call_id) or abort(404)
        project = session.get_one(Project, call.project_id)
        if not expires and _has_ended(call, project.recording_link_days):
            abort(404)
        name = _signed_name(session, call, project.recording_link_series, expires, signature) or abort(404)
        networks = read_grant(project.webhook_networks)
        if name.startswith(("http://", "https://")):
            folder = None
        else:
            folder = folder_of(session, call.pbx_id, hub().settings.recordings) or abort(404)
    return _from_folder(folder, name) if folder else _fetched(name, project.id, networks)


@pages.get("/calls/<uuid:call_id>")
def card(call_id: UUID) -> ResponseReturnValue:
    """The URL in <<call_card>>: redirects a member to the call in its project."""
    user = signed_in()
    with reading() as session:
        project_id = session.scalar(
            select(Call.project_id)
            .join(Membership, Membership.project_id == Call.project_id)
            .where(Call.id == call_id, Membership.user_id == user.id)
        )
    if project_id is None:
        abort(404)
    return redirect(url_for("calls.card", project_id=project_id, call_id=call_id))


def recording_link(call: Call, project: Project) -> str:
    """The signed address of a call's recording, as a path of this site."""
    name = str(call.data.get("recording_file") or "")
    link = hub().links.recording(call.id, call.pbx_id, name, link_rule(project), now())
    settings = hub().settings
    return settings.public_path + link.removeprefix(settings.public_url)


def _has_ended(call: Call, days: int) -> bool:
    """Of a link without a limit: whether the project has set one since, counted from the end of the call."""
    return bool(days and call.ended_on and now() - call.ended_on > timedelta(days=days))


def _signed_name(session: Session, call: Call, series: int, expires: str, signature: str) -> str | None:
    """The recording that the link was made for: the call's, or one that the PBX reported at an earlier stage. A link of
    version 0.1.0 names none, and means the call's. None when the hub did not make it."""
    made, last = hub().links.recordings, str(call.data.get("recording_file") or "")
    if made.is_of(call.id, call.pbx_id, last, series, expires, signature, now()):
        return last
    if made.is_older(call.id, series, expires, signature, now()):
        return last
    for data in session.scalars(select(StageEvent.data).where(StageEvent.call_id == call.id).limit(_MOST_STAGES)):
        name = str(data.get("recording_file") or "")
        if name != last and made.is_of(call.id, call.pbx_id, name, series, expires, signature, now()):
            return name
    return None


def _from_folder(folder: RecordingFolder, name: str) -> Response:
    """A file of the PBX on this host."""
    path = folder.find(name)
    if path is None or path.suffix.lower() not in SOUNDS:
        abort(404)
    return send_file(path, mimetype=SOUNDS[path.suffix.lower()], conditional=True)


def _fetched(url: str, project_id: int, networks: NetworkGrant) -> Response:
    """A recording that the PBX offers over HTTP, through the sender and its address guard."""
    suffix = Path(url.partition("?")[0]).suffix.lower()
    if suffix not in SOUNDS:
        abort(404)
    sender = hub().sender
    sender.guard = hub().guard()
    with NamedTemporaryFile(prefix="pbxhub-") as file:
        wanted = request_of(url, project_id, networks, _FETCH_MOST, file.file)
        answer = sender.send(wanted)
        if answer.outcome != "ok" or answer.truncated or is_page(answer, file.file) or not file.tell():
            abort(404)
        etag = sha256(url.encode()).hexdigest()  # a player asks for parts: they must be known for parts of one
        # what is opened here stays open until it has been sent, though its name goes at once
        return send_file(file.name, mimetype=SOUNDS[suffix], conditional=True, etag=etag)
