"""A process of the hub that notes what it has acknowledged; with a planted bug, if one is asked for.

python bench/hosts/noting_hub.py <file for its notes> <bug or ""> <command of the hub>

Acknowledged is a stage when the transaction that writes it is committed. The notes are outside of its host.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

FORGETS = "acknowledges one report in 40 without having written it"
RENAMES = "gives each attempt a webhook-id of its own"
LEAVES_ALONE = "takes over nothing from lost listeners"
IN_MEMORY = "has a database that acknowledges what is only in its memory"  # see bed.py
_FORGOTTEN = 40


def note_into(path: str, forgets: bool) -> None:
    import pbxhub.services as services

    real, count = services.publish, 0  # type: ignore[attr-defined]
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(moments: list[str]) -> None:
        if moments:
            os.write(file, "".join(f"{moment}\n" for moment in moments).encode())

    def forgotten(report: Any) -> Any:
        nonlocal count
        count += bool(report.stages)
        if not report.stages or count % _FORGOTTEN:
            return report
        note([f"{report.linkedid} {stage.name}" for stage in report.stages])
        return report._replace(stages=())

    def publish(context: Any, reports: Mapping[int, Any], now: Any, tokens: Any) -> Any:
        if forgets:
            reports = {pbx: [forgotten(report) for report in group] for pbx, group in reports.items()}
        published = real(context, reports, now, tokens)
        note([f"{stage.call.linkedid} {stage.stage.name}" for stage in published.new])
        return published

    services.publish = publish  # type: ignore[attr-defined]


def rename_attempts() -> None:
    import pbxhub.delivery.prepare as prepare

    real = prepare.identify  # type: ignore[attr-defined]

    def identify(message_id: str, attempt: int, *rest: Any) -> Any:
        return real(f"{message_id}-{attempt}", attempt, *rest)

    prepare.identify = identify  # type: ignore[attr-defined]


def leave_alone() -> None:
    import pbxhub.ami.pbx_shares as pbx_shares

    pbx_shares._is_free = lambda lease, may_inherit: lease.released


def main(path: str, bug: str, command: str) -> None:
    from pbxhub.cli import main as pbxhub

    if command == "listen":
        note_into(path, bug == FORGETS)
    if bug == RENAMES:
        rename_attempts()
    if bug == LEAVES_ALONE:
        leave_alone()
    sys.argv = ["pbxhub", command]
    pbxhub()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    main(*sys.argv[1:])
