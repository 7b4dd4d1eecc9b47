"""A process of the hub that notes what it has acknowledged; with a planted bug, if one is asked for.

python bench/hosts/noting_hub.py <file for its notes> <bug or ""> <command of the hub>

Acknowledged is a stage when the transaction that writes it is committed. The notes are outside of its host.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

FORGOTTEN = 40
"""The bug "forgets" acknowledges one report in so many without having written it. "renames" gives each attempt a
webhook-id of its own."""


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
        if not report.stages or count % FORGOTTEN:
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


def main(path: str, bug: str, command: str) -> None:
    from pbxhub.cli import main as pbxhub

    if command == "listen":
        note_into(path, bug == "forgets")
    if bug == "renames":
        rename_attempts()
    sys.argv = ["pbxhub", command]
    pbxhub()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    main(*sys.argv[1:])
