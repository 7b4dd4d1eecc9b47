"""What a scenario sees of a hub's history: calls, stages and deliveries as values, free of the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pbxhub.calls.stages import JSON
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent


@dataclass(frozen=True, slots=True)
class SeenStage:
    """One stage of a call. values: what the hub knows of the call at that moment, by the names of docs/parameters."""

    name: str
    ordinal: int
    created_on: datetime
    values: Mapping[str, JSON] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SeenCall:
    """One call of the history, open while ended_on is None."""

    linkedid: str
    direction: str
    caller: str
    dst: str
    extension: str
    disposition: str
    started_on: datetime
    ended_on: datetime | None
    values: Mapping[str, JSON] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SeenDelivery:
    """One delivery: state is pending, delivered, failed or cancelled; outcome and status_code of the last attempt."""

    webhook: str
    stage: str
    linkedid: str
    state: str
    outcome: str
    status_code: int | None
    attempts: int
    method: str
    url: str
    body: str = field(repr=False)


def seen_call(row: Call) -> SeenCall:
    return SeenCall(
        row.linkedid, row.direction, row.caller, row.dst, row.extension, row.disposition, row.started_on, row.ended_on,
        row.data,
    )  # fmt: skip


def seen_delivery(row: Delivery, webhook: str, stage: str | None, linkedid: str | None) -> SeenDelivery:
    return SeenDelivery(
        webhook, stage or "", linkedid or "", row.state, row.outcome, row.status_code, row.attempts, row.method,
        row.url, row.body.decode(errors="replace"),
    )  # fmt: skip


def seen_stage(row: StageEvent) -> SeenStage:
    return SeenStage(row.stage, row.ordinal, row.created_on, row.data)
