"""A program pauses a member of a queue, written as it is there, and is told the truth about what became of it."""

from typing import Any

import pytest

from pbxhub.delivery.outbox.queue_pause_status import settle_pause, take_pauses
from pbxhub.store.ids import new_id
from pbxhub.store.queue_pauses import WAITING, QueuePause
from pbxhub.store.session import Database
from tests.support.outbox_world import NOON, World, at
from tests.support.served import Served
from tests.support.signing_in import program


def pause(hub: Served, **wanted: Any) -> Any:
    return program(hub, "call").post("/api/v1/queue-pauses", json={"member": "PJSIP/101", **wanted})


MEMBERS = (
    "PJSIP/101", "Local/101@from-queue/nj", "SIP/trunk/0501234567", "DAHDI/g1/555", "PJSIP/101/sip:101@192.0.2.4",
    "Agent/1001", "Local/*72@x/n",
)  # fmt: skip
NONE = (
    "PJSIP/1,x", "PJSIP/1&SIP/2", "PJSIP/${X}", "PJSIP/$[1]", "PJSIP/1;x", "PJSIP/1\r\nAction: Logoff", "101",
    "PJSIP/1|x", 'PJSIP/"1"', "PJSIP/(1)", "/PJSIP/1", "PJSIP/1 2",
)  # fmt: skip


def test_every_member_that_a_queue_may_have_can_be_paused(hub: Served) -> None:
    for member in MEMBERS:
        answer = pause(hub, member=member)
        assert (answer.status_code, answer.get_json().get("member")) == (201, member)


def test_what_asterisk_could_read_as_more_than_a_member_is_refused(hub: Served) -> None:
    for member in NONE:
        answer = pause(hub, member=member)
        assert (answer.status_code, answer.get_json()["errors"][0]["path"]) == (422, "member"), member


def test_a_reason_is_refused_by_the_character_that_is_wrong(hub: Served) -> None:
    for reason in ("50% lunch", '"lunch"', "a|b", "a\\b", "a, b", "(lunch)", "{x}", "<x>"):
        (error,) = pause(hub, reason=reason).get_json()["errors"]
        wrong = next(letter for letter in reason if letter in '%"|\\,({<')
        assert f"The reason has {wrong!r}, which may have a meaning in the dialplan." in error["message"]
        assert wrong in error["message"].partition("Write it without")[2] or wrong in "({<"


@pytest.mark.parametrize(("queue", "where"), [("", "any queue"), ("support", "this queue")])
def test_a_member_that_is_not_there_is_missed_where_it_was_looked_for(
    database: Database, queue: str, where: str
) -> None:
    world, order_id = World(database), new_id()
    with database.write() as session:
        session.add(QueuePause(
            id=order_id, project_id=world.project_id, pbx_id=world.pbx_id, member="PJSIP/101", queue=queue, paused=True,
            reason="", status=WAITING, message="", created_on=NOON,
        ))  # fmt: skip
        take_pauses(session, world.pbx_id, at(1))
        settle_pause(session, order_id, False, "Interface not found", at(2))
        told = session.get_one(QueuePause, order_id)
        assert (told.status, told.message) == ("not_found", f"The PBX has no such member in {where}.")
