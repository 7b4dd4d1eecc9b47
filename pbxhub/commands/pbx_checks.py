"""The part of `pbxhub check` that asks the PBXs, as the listener would."""

from collections.abc import Iterator
from datetime import UTC, datetime

from pbxhub.account.strange_contexts import strange_contexts
from pbxhub.ami.pbx_check import check_row
from pbxhub.ami.pbx_rows import read_rows
from pbxhub.command_settings import set_up_logs
from pbxhub.finding import Finding
from pbxhub.settings import Settings
from pbxhub.store.accounts import Pbx
from pbxhub.store.session import Database
from pbxhub.vault import Vault


def check_pbxs(settings: Settings, database: Database) -> Iterator[tuple[str, Finding]]:
    """Asks each PBX that is not switched off. The settings have a key that fits the database."""
    set_up_logs(settings)
    rows = read_rows(database, Vault(settings.secret_key))
    with database.read() as session:
        names = {pbx.id: pbx.name for pbx in session.query(Pbx)}
    for row in rows.values():
        for finding in (*check_row(row, operator=True), *_contexts(database, row.id)):
            yield f"PBX {names[row.id]}", finding


def _contexts(database: Database, pbx_id: int) -> list[Finding]:
    """Where calls from outside may come in without the hub knowing."""
    with database.read() as session:
        found = strange_contexts(session, session.get_one(Pbx, pbx_id), datetime.now(UTC))
    return [
        Finding(
            False,
            f"{each.calls} call(s) today came in the context {each.context}, which is not an incoming one. If it is a "
            "trunk's, make it one on the page of the PBX; if it is a phone's, put its endpoint on the employee's card.",
        )
        for each in found
    ]
