"""Opens the recording that a request sends: a file in the PBX's folder on this host, or one that the PBX serves.

A recording may come later than the end of its call: the PBX mixes or compresses it. So one that is missing, or that
was written to a moment ago, is waited for during WAIT after the end of the call or the making of the request; while
the call lasts, without a limit. After that it counts as gone.
"""

import os
import re
import wave
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.delivery.recording_files import RecordingFolder, folder_of
from pbxhub.sending.address_guard import NetworkGrant
from pbxhub.sending.exchange import Answer, Outgoing
from pbxhub.sending.outcomes import FILE_GONE, FILE_NOT_READY, FILE_REFUSED, FILE_TOO_LARGE, FILE_UNREADABLE, describe
from pbxhub.store.history import Call
from pbxhub.webhooks.attached import SOUNDS, file_name_of, size_text
from pbxhub.webhooks.rendered_request import Request

WAIT = timedelta(minutes=10)
FETCH_SECONDS = 60.0
_QUIET = 2.0  # seconds without a write: the file is complete
_TEXT = re.compile(r"text/|application/(.+\+)?(json|xml)\b", re.IGNORECASE)
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # there is one among the first bytes of every sound


@dataclass(frozen=True, slots=True)
class OpenRecording:
    """size: bytes. Whoever takes it closes the file."""

    file: IO[bytes]
    size: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A recording to open. folder: where to look for it; None when the PBX serves it, or has no folder.
    may_come: it may not be complete yet. most: bytes it may have."""

    name: str
    project_id: int
    folder: RecordingFolder | None
    may_come: bool
    networks: NetworkGrant
    most: int

    @property
    def is_served(self) -> bool:
        """The PBX has reported an address, not a file."""
        return self.name.startswith(("http://", "https://"))


Opened = OpenRecording | Answer
"""The recording, or why the request is not sent."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A request for a recording that the PBX serves. Send outgoing, then call end with the answer."""

    want: Wanted
    outgoing: Outgoing
    file: IO[bytes]

    def end(self, answer: Answer) -> Opened:
        """Never raises: the disk may be full."""
        try:
            self.file.flush()
            size = self.file.tell()
            problem = _problem(self.want, answer, self.file, size)
        except OSError as error:
            problem = _not_kept(f"({error.strerror or error})")
        if problem:
            _close(self.file)
            return problem
        return OpenRecording(self.file, size)


def wanted(
    session: Session, project_id: int, call_id: UUID | None, name: str, made_on: datetime, now: datetime,
    networks: NetworkGrant, most: int, common: Path | None,
) -> Wanted:  # fmt: skip
    """The recording of a call. made_on: when the request was made. common: Settings.recordings."""
    call = session.execute(select(Call.pbx_id, Call.ended_on).where(Call.id == call_id)).one_or_none()
    folder = folder_of(session, call.pbx_id, common) if call else None
    over = max(call.ended_on, made_on) if call and call.ended_on else made_on
    may_come = bool(call and call.ended_on is None) or now - over < WAIT
    return Wanted(name, project_id, folder, may_come, networks, most)


def look_for(want: Wanted, now: datetime) -> Opened | Fetch:
    """Opens a file; for an address, what has to be sent to get one."""
    if Path(file_name_of(want.name)).suffix.lower() not in SOUNDS:
        return _failed(FILE_GONE, f"{file_name_of(want.name)[:100]} is not a recording.")
    return _fetch(want) if want.is_served else _open_file(want, now)


def silence() -> OpenRecording:
    """One second of silence: what a test sends for a sample call."""
    file = TemporaryFile(prefix="pbxhub-")  # noqa: SIM115 (whoever takes the recording closes it)
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    file.flush()
    return OpenRecording(file, file.tell())


def _open_file(want: Wanted, now: datetime) -> Opened:
    path = want.folder.find(want.name) if want.folder else None
    if path is None:
        return _missing(want)
    try:
        file = path.open("rb")
        found = path.stat()
    except OSError as error:
        return _failed(FILE_UNREADABLE, f"({error.strerror})")
    if want.may_come and now.timestamp() - found.st_mtime < _QUIET:
        file.close()
        return _failed(FILE_NOT_READY, "")
    if not found.st_size:
        file.close()
        return _missing(want, " is empty")
    if found.st_size > want.most:
        file.close()
        return _too_large(want, found.st_size)
    return OpenRecording(file, found.st_size)


def _missing(want: Wanted, why: str = "") -> Answer:
    return _failed(FILE_NOT_READY if want.may_come else FILE_GONE, f"({file_name_of(want.name)[:200]}{why})")


def _too_large(want: Wanted, size: int) -> Answer:
    return _failed(FILE_TOO_LARGE, f"It has {size_text(size)}; at most {size_text(want.most)} are sent.")


def _fetch(want: Wanted) -> Fetch | Answer:
    """What the PBX serves comes into a file without a name, through the sender and its address guard."""
    try:
        file = TemporaryFile(prefix="pbxhub-")  # noqa: SIM115 (whoever takes the recording closes it)
    except OSError as error:
        return _not_kept(f"({error.strerror or error})")
    outgoing = request_of(want.name, want.project_id, want.networks, want.most, file)
    return Fetch(want, outgoing, file)


def _not_kept(why: str) -> Answer:
    return _failed(FILE_UNREADABLE, f"{why} What the PBX serves is kept in {gettempdir()} until it is sent.")


def _close(file: IO[bytes]) -> None:
    """Closing writes what is left, which a full disk does not take either; the file is closed all the same."""
    with suppress(OSError):
        file.close()


def request_of(url: str, project_id: int, networks: NetworkGrant, most: int, into: IO[bytes]) -> Outgoing:
    """The request for a recording that the PBX serves. No two projects share a connection to a PBX."""
    pool = f"recordings:{project_id}"
    request = Request("GET", url, (), b"")
    return Outgoing(request, pool, FETCH_SECONDS, networks=networks, most_body=most, into=into)


def is_page(answer: Answer, file: IO[bytes]) -> bool:
    """Whether the PBX has answered with a page, such as that of its login, in place of a sound. A web server may call a
    sound text/plain, too, when it does not know the end of its name."""
    kind = next((value for name, value in answer.headers if name.lower() == "content-type"), "")
    file.flush()
    return bool(_TEXT.match(kind)) and not _NO_TEXT.search(os.pread(file.fileno(), 1000, 0))


def _problem(want: Wanted, answer: Answer, file: IO[bytes], size: int) -> Answer | None:
    if answer.status_code in (404, 410):
        return _missing(want)
    if answer.outcome == FILE_UNREADABLE:
        return _not_kept(answer.note)
    if answer.truncated and size >= want.most:
        return _failed(FILE_TOO_LARGE, f"It has more than {size_text(want.most)}.")
    if answer.outcome != "ok" or answer.truncated:
        return _failed(FILE_REFUSED, answer.message)
    if not size:
        return _missing(want, " is empty")
    if is_page(answer, file):
        return _failed(FILE_REFUSED, "The PBX answered with a page, not with a sound.")
    return None


def _failed(code: str, particulars: str) -> Answer:
    return Answer(code, f"{describe(code).sentence} {particulars}".strip())
