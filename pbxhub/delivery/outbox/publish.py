"""Writes what the tracker reports, before anything is sent: calls, stages, and a delivery for each matching webhook."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import structlog
from sqlalchemy import Table
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pbxhub.delivery.attributes import attach_attributes
from pbxhub.delivery.call_rows import Reports, distinct_calls, leave_removed, lock_calls, write_calls
from pbxhub.delivery.caller_persons import name_persons
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.enqueue import enqueue
from pbxhub.delivery.outbox.new_stages import NewStage, new_stages
from pbxhub.delivery.outbox.ordered_call_status import attach_custom, follow_ordered
from pbxhub.delivery.outbox.question import link_new
from pbxhub.delivery.outbox.render import once_in_a_chain
from pbxhub.delivery.outbox.restored import fail_if_reported_before
from pbxhub.delivery.outbox.wait_for_answer import StatesOfCalls, last_those_that_wait, make_deliveries
from pbxhub.delivery.stage_values import Lookups, StageValues
from pbxhub.store.bulk import Insert
from pbxhub.store.database_errors import is_away
from pbxhub.store.delivery_rows import FAILED, PENDING, NewDelivery
from pbxhub.store.events import keep
from pbxhub.store.listeners import LeaseTokens, deleted, still_held
from pbxhub.store.session import Base

log = structlog.get_logger(__name__)
_STAGE_EVENT: Table = Base.metadata.tables["stage_event"]
_INSERT_STAGES = Insert(_STAGE_EVENT, [one.name for one in _STAGE_EVENT.c if one.name != "content_removed_on"])


@dataclass(frozen=True, slots=True)
class Published:
    """What publish has written. A repeated publish writes no stages.

    stages: new stage events. deliveries: queued. failed: could not be rendered, and are on the error page.
    new: the stages themselves.
    """

    stages: int
    deliveries: int
    failed: int
    new: Sequence[NewStage] = ()


def publish(
    context: DeliveryContext, reports: Reports, now: datetime, tokens: LeaseTokens = MappingProxyType({})
) -> Published:
    """Writes a group of reports of one or more PBXs in one transaction; give up to a few hundred at once.

    tokens: the leases under which they were heard. Where another listener has taken the PBX since, only what it cannot
    know is written: stages that are missing, of calls that are not over, and values that the call does not have yet.
    Of a PBX that was deleted, nothing is, nor of a call whose content was removed for good.

    A stage is identified by (call, name, key): reporting it again, also by a second listener, changes nothing. An ended
    call stays ended. A call on a DID with a Number belongs to the number's project, any other to the PBX's project.
    Raises SQLAlchemy's DBAPIError when the database is unavailable. Then nothing is written, and the same reports can
    be published again.

    Two listeners on one PBX: 1. both find that the call is not there; 2. both insert it; 3. the second waits for the
    first one's commit and gets an IntegrityError; 4. it begins again, finds the call and its stages, and writes what
    is missing. tests/test_publish_stages.py
    """
    tries_left, hand_over = 3, True
    while True:
        try:
            return _publish(context, reports, now, tokens, hand_over)
        except IntegrityError:
            tries_left -= 1
            if not tries_left:
                raise
        except Exception as error:
            if is_away(error) or not hand_over:
                raise
            log.exception("unexpected error; publishing again without handing deliveries to the worker")
            hand_over = False


def _publish(
    context: DeliveryContext, reports: Reports, now: datetime, tokens: LeaseTokens, hand_over: bool
) -> Published:
    with context.database.write() as session:
        lost = tokens.keys() - still_held(session, tokens)
        if gone := deleted(session, lost):
            log.info("the PBX was deleted; its last reports are not kept", pbxs=sorted(gone))
            reports = {pbx_id: of_pbx for pbx_id, of_pbx in reports.items() if pbx_id not in gone}
        reported = leave_removed(session, lock_calls(session, reports, lost))
        calls = distinct_calls(reported)
        attach_attributes(context, session, reported)
        attach_custom(session, calls)
        stages = new_stages(context, session, reported)
        name_persons(context, session, calls)
        write_calls(session, calls)
        link_new(session, calls)
        follow_ordered(context, session, calls, now)
        return write_stages(context, session, stages, now, hand_over)


def write_stages(
    context: DeliveryContext, session: Session, stages: Sequence[NewStage], now: datetime, hand_over: bool = False
) -> Published:
    """Writes new stages with their events and deliveries, in the transaction that writes their calls. hand_over: see
    enqueue."""
    if not stages:
        return Published(0, 0, 0)
    _INSERT_STAGES.run(session, [stage.row() for stage in stages])
    keep(session, [stage.event() for stage in stages])
    deliveries = _deliveries(context, session, stages, now)
    enqueue(context, session, deliveries, now, hand_over)
    failed = sum(one.state == FAILED for one in deliveries)
    queued = sum(one.state == PENDING for one in deliveries)
    return Published(len(stages), queued, failed, stages)


def _deliveries(
    context: DeliveryContext, session: Session, stages: Sequence[NewStage], now: datetime
) -> list[NewDelivery]:
    projects = context.webhook_cache.fetch(session, {stage.call.project_id for stage in stages})
    lookups, states = Lookups(session), StatesOfCalls(session)
    deliveries: list[NewDelivery] = []
    for new in stages:
        project = projects[new.call.project_id]
        live = project.by_stage.get(new.stage.name)
        if not live:
            continue
        values = StageValues(new.known, project, new.call, new.stage.name, new.id, lookups, context.links, now)
        wanted = [webhook for webhook in live if webhook.matches(values)]
        made: list[NewDelivery] = []
        for hook in last_those_that_wait(wanted):
            ahead = [*deliveries, *made] if hook.waits_after else []
            made += make_deliveries(hook, values, new.call.known_id, new.id, "stage", now, states, ahead)
        fail_if_reported_before(made, new.call.started_on, project.restored_on, now)
        deliveries += made
    return once_in_a_chain(deliveries)
