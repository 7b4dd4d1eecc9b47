"""The files of a PBX on this host, which only operators set: its CEL database and the folder of its recordings.

PBXs of different projects must not have the same file or folder, because one project could read the other's calls.
"""

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import HubAccess, ProjectAccess
from pbxhub.account.audit_log import note_of_hub
from pbxhub.account.refusals import Refusal
from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import COMMON_FOLDER, Pbx, Project
from pbxhub.store.cel_url import read_cel_url
from pbxhub.translatable import say
from pbxhub.vault import Vault, VaultError

_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class PbxFiles:
    """cel_path: "" = none. recordings: "" = none, COMMON_FOLDER = the folder of the setting. cel_url: of a table in
    place of the file, in the clear; "" = none, None leaves what is there."""

    cel_path: str
    recordings: str
    cel_url: str | None = field(default=None, repr=False)


def name_files(session: Session, by: HubAccess, row: Pbx, files: PbxFiles, any_network: bool) -> list[Refusal]:
    """Gives a PBX its files, or changes nothing and returns why not. any_network: it may stay where it is, whatever
    the networks of its project."""
    common = by.hub.settings.recordings
    vault = by.hub.vault
    refused = [*_not_a_path("cel_path", files.cel_path), *_not_a_path("recordings", files.recordings)]
    refused += _wrong_table(row, files)
    if refused := refused or _taken(session, row, files, common) or _taken_table(session, row, files, vault):
        return refused
    before = _shown(row, vault)
    if files.cel_url is not None:
        row.cel_url_sealed = vault.seal(files.cel_url) if files.cel_url else ""
    row.cel_path, row.recordings, row.any_network = files.cel_path, files.recordings, any_network
    note_of_hub(session, by, "PBX files named", f"{row.project.name}: {row.name}", before, _shown(row, vault))
    return []


def first_folder(session: Session, access: ProjectAccess) -> str:
    """The recordings folder that a new PBX of this project begins with: the common one where it is nobody else's, that
    is when an operator adds the PBX, or when there is no other project on the hub."""
    common = access.hub.settings.recordings
    alone = (session.scalar(select(func.count()).select_from(Project)) or 0) <= 1
    if not (access.operator or alone):
        return ""
    of_others = session.scalars(select(Pbx.recordings).where(Pbx.project_id != access.project.id, Pbx.recordings != ""))
    taken = any(_folder(text, common) == _folder(COMMON_FOLDER, common) for text in of_others)
    return "" if taken else COMMON_FOLDER


def _shown(row: Pbx, vault: Vault) -> dict[str, JSON]:
    """What the operators' log says of the files."""
    return {
        "cel_path": row.cel_path, "cel_table": cel_table_of(row, vault), "recordings": row.recordings,
        "any_network": row.any_network,
    }  # fmt: skip


def cel_table_of(row: Pbx, vault: Vault) -> str:
    """Its CEL table as people may read it, without the password; "" for none."""
    if not row.cel_url_sealed:
        return ""
    try:
        known = read_cel_url(vault.open(row.cel_url_sealed))
    except VaultError:
        return "?"
    return known.name if known else "?"


def _wrong_table(row: Pbx, files: PbxFiles) -> list[Refusal]:
    if files.cel_url and read_cel_url(files.cel_url) is None:
        return [
            Refusal(
                "cel_url",
                say("This is not the address of a PostgreSQL table."),
                say("Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE?table=cel; sslmode may be added."),
            )
        ]
    has_table = row.cel_url_sealed if files.cel_url is None else files.cel_url
    if has_table and files.cel_path:
        both = say("CEL is read from a file or from a table, not from both.")
        return [Refusal("cel_path", both, say("Empty one of the two."))]
    return []


def _taken_table(session: Session, row: Pbx, files: PbxFiles, vault: Vault) -> list[Refusal]:
    wanted = read_cel_url(files.cel_url) if files.cel_url else None
    others = select(Pbx).where(Pbx.project_id != row.project_id, Pbx.cel_url_sealed != "")
    return [
        _is_of("cel_url", other)
        for other in (session.scalars(others) if wanted else ())
        if wanted and cel_table_of(other, vault) == wanted.name
    ]


def _not_a_path(field: str, text: str) -> list[Refusal]:
    whole = text in ("", COMMON_FOLDER) if field == "recordings" else not text
    if whole or (text.startswith("/") and text.isprintable() and len(text) <= _LONGEST):
        return []
    return [Refusal(field, say("This is not a path on this host."), say("Begin with /, or leave it empty for none."))]


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
        say(
            "The PBX %(pbx)s of the project %(project)s uses this already.", pbx=other.name, project=other.project.name
        ),
        say("Let each PBX write into a folder or a table of its own, and name that."),
    )


def _folder(text: str, common: Path) -> Path:
    return _resolved(str(common) if text == COMMON_FOLDER else text)


def _resolved(text: str) -> Path:
    try:
        return Path(text).resolve()
    except (OSError, ValueError, RuntimeError):
        return Path(text)
