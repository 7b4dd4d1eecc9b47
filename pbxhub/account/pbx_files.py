"""Files of a PBX on this host, which only operators name: its CEL database and the folder of its recordings.

What two PBXs of different projects name belongs to neither alone: one would read the other's calls. So it is refused.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, HubAccess
from pbxhub.account.audit_log import note_of_hub
from pbxhub.account.refusals import Refusal
from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import COMMON_FOLDER, Pbx, Project
from pbxhub.translatable import say

_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class PbxFiles:
    """cel_path: "" = none. recordings: "" = none, COMMON_FOLDER = the folder of the setting."""

    cel_path: str
    recordings: str


def name_files(session: Session, by: HubAccess, row: Pbx, files: PbxFiles, any_network: bool) -> list[Refusal]:
    """Gives a PBX its files, or changes nothing and returns why not. any_network: it may stay where it is, whatever
    the networks of its project."""
    common = by.hub.settings.recordings
    refused = [*_not_a_path("cel_path", files.cel_path), *_not_a_path("recordings", files.recordings)]
    if refused := refused or _taken(session, row, files, common):
        return refused
    before = _shown(row)
    row.cel_path, row.recordings, row.any_network = files.cel_path, files.recordings, any_network
    note_of_hub(session, by, "PBX files named", f"{row.project.name}: {row.name}", before, _shown(row))
    return []


def first_folder(session: Session, access: Access) -> str:
    """The recordings folder that a new PBX of this project begins with: the common one where it is nobody else's, that
    is when an operator adds the PBX, or when there is no other project on the hub."""
    common = access.hub.settings.recordings
    alone = (session.scalar(select(func.count()).select_from(Project)) or 0) <= 1
    if not (access.operator or alone):
        return ""
    of_others = session.scalars(select(Pbx.recordings).where(Pbx.project_id != access.project.id, Pbx.recordings != ""))
    taken = any(_folder(text, common) == _folder(COMMON_FOLDER, common) for text in of_others)
    return "" if taken else COMMON_FOLDER


def _shown(row: Pbx) -> dict[str, JSON]:
    """What the operators' log says of the files."""
    return {"cel_path": row.cel_path, "recordings": row.recordings, "any_network": row.any_network}


def _not_a_path(field: str, text: str) -> list[Refusal]:
    whole = text in ("", COMMON_FOLDER) if field == "recordings" else not text
    if whole or (text.startswith("/") and text.isprintable() and len(text) <= _LONGEST):
        return []
    return [Refusal(field, say("This is no path on this host."), say("Begin with /, or leave it empty for none."))]


def _taken(session: Session, row: Pbx, files: PbxFiles, common: Path) -> list[Refusal]:
    others = session.scalars(select(Pbx).where(Pbx.project_id != row.project_id)).all()
    refused = []
    for other in others:
        if files.cel_path and other.cel_path and _resolved(files.cel_path) == _resolved(other.cel_path):
            refused.append(_is_of("cel_path", other))
        if (
            files.recordings
            and other.recordings
            and _folder(files.recordings, common) == _folder(other.recordings, common)
        ):
            refused.append(_is_of("recordings", other))
    return refused


def _is_of(field: str, other: Pbx) -> Refusal:
    return Refusal(
        field,
        say("%(pbx)s of the project %(project)s has this already.", pbx=other.name, project=other.project.name),
        say("Let each PBX write into a folder of its own, and name that."),
    )


def _folder(text: str, common: Path) -> Path:
    return _resolved(str(common) if text == COMMON_FOLDER else text)


def _resolved(text: str) -> Path:
    try:
        return Path(text).resolve()
    except (OSError, ValueError, RuntimeError):
        return Path(text)
