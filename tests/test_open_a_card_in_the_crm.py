"""The ready-made integrations, driven by recorded calls through the real line into the CRM: one call, one card.

The exact requests of each call are in tests/golden/crm.
"""

from pathlib import Path

import pytest

from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Received
from tests.support.crm import Crm
from tests.support.crm.bitrix24 import Bitrix24, Card
from tests.support.crm.drive import drive, shown

GOLDEN = Path(__file__).parent / "golden" / "crm"


def check(crm: Crm, name: str, requests: list[Received]) -> None:
    assert crm.wrong == []
    assert [one for one in crm.answered if one[2] >= 400] == []
    assert shown(requests) == (GOLDEN / f"{name}.txt").read_text()


def bitrix(database: Database, call: str) -> Card:
    crm = Bitrix24()
    check(crm, f"bitrix24-telephony-{call}", drive(database, "bitrix24-telephony", crm, call))
    (card,) = crm.cards
    assert card.shown == set()
    return card


@pytest.mark.parametrize(
    ("call", "user", "status"),
    [
        ("answered_caller_hangup", "11", "200"), ("no_answer", "11", "304"), ("ivr_hangup", "1", "304"),
        ("ring_group", "12", "200"), ("blind_refer", "12", "200"), ("attended_refer", "12", "200"),
        ("recorded", "11", "200"), ("out_answered", "11", "200"), ("out_noanswer", "11", "304"),
        ("out_busy", "11", "486"),
    ],
)  # fmt: skip
def test_bitrix24_has_one_card_of_each_call(database: Database, call: str, user: str, status: str) -> None:
    card = bitrix(database, call)
    assert (card.finished["USER_ID"], card.finished["STATUS_CODE"]) == (user, status)
    assert bool(card.recording) == (call == "recorded")


def test_two_calls_of_one_number_at_once_get_a_card_each(database: Database) -> None:
    crm = Bitrix24()
    drive(database, "bitrix24-telephony", crm, "two_interleaved")
    assert crm.wrong == []
    assert len({card.external for card in crm.cards}) == len(crm.cards) == 2
    assert all(card.finished for card in crm.cards)
