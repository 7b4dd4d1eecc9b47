"""The outbox: every change of a delivery's state is made here and nowhere else.

publish writes what is to be sent, claim hands it to a worker, record writes how it went; resend, cancel, check, pause
and resume are what people do to it.
"""

from pbxhub.delivery.outbox.attempt_result import AttemptResult, Finished
from pbxhub.delivery.outbox.cancel import cancel_pending, check, uncheck
from pbxhub.delivery.outbox.claim import claim
from pbxhub.delivery.outbox.claim_new import claim_new
from pbxhub.delivery.outbox.claimed import Batch, Claimed
from pbxhub.delivery.outbox.missing import MOST_MISSING, Missing, count_missing, first_known
from pbxhub.delivery.outbox.ordered_call_status import add_later, ask_cancel, open_orders, register
from pbxhub.delivery.outbox.pausing import pause, resume
from pbxhub.delivery.outbox.publish import Published, publish
from pbxhub.delivery.outbox.publish_other import add_to_call, publish_later, publish_other
from pbxhub.delivery.outbox.queue_pause_status import register_pause, waiting_pauses
from pbxhub.delivery.outbox.record import record
from pbxhub.delivery.outbox.remove_content import (
    CALL_HAS_CONTENT,
    CALL_STAYS,
    HAS_CONTENT,
    STAYS,
    callbacks_without_call,
    empty_answers,
    orders_without_call,
    remove_of_calls,
    remove_of_deliveries,
    remove_of_orders,
)
from pbxhub.delivery.outbox.resend import (
    CannotResendError,
    order_missing,
    order_resend,
    resend_one,
    step_one,
    step_resends,
    stop_resend,
)
from pbxhub.delivery.outbox.resthooks import call_resthook, subscribe, unsubscribe
from pbxhub.delivery.outbox.selection import Selection, changed_since, count_by_webhook, list_conditions
from pbxhub.delivery.outbox.send_missing import send_missing
from pbxhub.delivery.outbox.stoppable import unsent_of

__all__ = [
    "CALL_HAS_CONTENT", "CALL_STAYS", "HAS_CONTENT", "MOST_MISSING", "STAYS", "AttemptResult", "Batch",
    "CannotResendError", "Claimed", "Finished", "Missing", "Published", "Selection",
    "add_later", "add_to_call", "ask_cancel", "call_resthook", "callbacks_without_call", "cancel_pending",
    "changed_since", "check", "claim", "claim_new", "count_by_webhook", "count_missing", "empty_answers",
    "first_known", "list_conditions", "open_orders", "order_missing", "order_resend", "orders_without_call", "pause",
    "publish", "publish_later", "publish_other", "record", "register", "register_pause", "remove_of_calls",
    "remove_of_deliveries", "remove_of_orders", "resend_one", "resume", "send_missing", "step_one", "step_resends",
    "stop_resend", "subscribe", "uncheck", "unsent_of", "unsubscribe", "waiting_pauses",
]  # fmt: skip
