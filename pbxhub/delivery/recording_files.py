"""Recordings: the folder of each PBX on this host.

A recording belongs to the PBX that reported it: only that PBX's folder is searched. Paths that leave the folder, by ..,
a link or an absolute path, are treated as missing, as is everything in another PBX's folder inside it.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.store.accounts import COMMON_FOLDER, Pbx


@dataclass(frozen=True, slots=True)
class RecordingFolder:
    """Where the recordings of one PBX lie. others: folders of other PBXs inside it."""

    path: Path
    others: tuple[Path, ...] = ()

    def find(self, name: str) -> Path | None:
        """The file of this name, relative or absolute as the PBX reported it; None when there is none here."""
        try:
            path = (self.path / name).resolve()
            here = path.is_relative_to(self.path) and not any(path.is_relative_to(other) for other in self.others)
            return path if here and path.is_file() else None
        except (OSError, ValueError):  # a name no file can have
            return None


def folder_of(session: Session, pbx_id: int | None, common: Path | None) -> RecordingFolder | None:
    """The folder of a PBX; None when it has none, or is gone. common: Settings.recordings."""
    folders: dict[int, Path] = {}
    for each, text in session.execute(select(Pbx.id, Pbx.recordings).where(Pbx.recordings != "")):
        if path := common if text == COMMON_FOLDER else Path(text):
            folders[each] = path.resolve()
    own = folders.get(pbx_id or 0)
    if own is None:
        return None
    inside = {other for other in folders.values() if other != own and other.is_relative_to(own)}
    return RecordingFolder(own, tuple(inside))
