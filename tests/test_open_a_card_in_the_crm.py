"""The ready-made integrations, driven by recorded calls through the real line into the CRM: one call, one card.

The exact requests of each call are in tests/golden/crm.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from pbxhub.store.clock import utc_now
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Received
from pbxhub.webhooks.gallery import find, gallery
from pbxhub.webhooks.rendered_request import Request
from pbxhub.webhooks.request import compile_request
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from tests.support.crm import TOKEN, Crm
from tests.support.crm_analytics import GoogleAnalytics, Meta, UniversalAnalytics
from tests.support.crm_bitrix24 import Bitrix24, Bitrix24Leads, Bitrix24Tasks, Card
from tests.support.crm_desk import GoogleSheets, Slack, Telegram, Zammad
from tests.support.crm_drive import SOUND, drive, shown
from tests.support.crm_inboxes import AppsScript, CsvLines, Make, N8n, Report, SignedForm, Xml, Zapier
from tests.support.crm_kommo import Kommo
from tests.support.crm_odoo import Odoo, OdooRpc
from tests.support.crm_records import KNOWN, Contacts, HubSpot, Pipedrive, Salesforce, Zoho

GOLDEN = Path(__file__).parent / "golden" / "crm"


def expected(item: str, call: str) -> str:
    """The requests of a call; none where there is no file."""
    path = GOLDEN / f"{item}-{call}.txt"
    return path.read_text() if path.exists() else ""


def check(crm: Crm, name: str, requests: list[Received]) -> None:
    assert crm.wrong == []
    assert [one for one in crm.answered if one[2] >= 400] == crm.nobody
    item, _, call = name.rpartition("-")
    assert shown(requests) == expected(item, call)


def bitrix(database: Database, call: str) -> Card:
    crm = Bitrix24()
    check(crm, f"bitrix24-telephony-{call}", drive(database, "bitrix24-telephony", crm, call))
    (card,) = crm.cards
    assert card.shown == set()
    return card


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "user", "status"),
    [
        ("answered_caller_hangup", "11", "200"), ("no_answer", "11", "304"), ("ivr_hangup", "1", "304"),
        ("queue_abandon", "11", "304"), ("queue_second_answers", "12", "200"),
        ("ring_group", "12", "200"), ("blind_refer", "12", "200"), ("attended_refer", "12", "200"),
        ("recorded", "11", "200"), ("out_answered", "11", "200"), ("out_noanswer", "11", "304"),
        ("out_busy", "11", "486"),
    ],
)  # fmt: skip
def test_bitrix24_has_one_card_of_each_call(database: Database, call: str, user: str, status: str) -> None:
    card = bitrix(database, call)
    assert (card.finished["USER_ID"], card.finished["STATUS_CODE"]) == (user, status)
    assert card.recording == (SOUND if call == "recorded" else b"")


def test_two_calls_of_one_number_at_once_get_a_card_each(database: Database) -> None:
    crm = Bitrix24()
    drive(database, "bitrix24-telephony", crm, "two_interleaved")
    assert crm.wrong == []
    assert len({card.external for card in crm.cards}) == len(crm.cards) == 2
    assert all(card.finished for card in crm.cards)


def test_a_call_that_was_begun_in_bitrix24_has_the_card_of_its_click(database: Database) -> None:
    crm = Bitrix24()
    crm.cards.append(Card("externalCall.click", "11", "of the click", {"11"}))
    requests = drive(database, "bitrix24-telephony", crm, "out_answered", {"BITRIX_CALL_ID": "externalCall.click"})
    check(crm, "bitrix24-telephony-out_clicked", requests)
    (card,) = crm.cards
    assert (card.finished["USER_ID"], card.finished["STATUS_CODE"]) == ("11", "200")


def test_a_call_that_a_program_ordered_with_a_call_id_of_its_own_has_a_card(database: Database) -> None:
    crm = Bitrix24()
    drive(database, "bitrix24-telephony", crm, "out_answered", {"CALL_ID": "erp-17"})
    assert crm.wrong == []
    (card,) = crm.cards
    assert card.finished["STATUS_CODE"] == "200"


@pytest.mark.parametrize(
    ("file", "ending"),
    [
        ("/var/spool/asterisk/monitor/1.wav", ".wav"), ("/var/spool/asterisk/monitor/1.MP3", ".mp3"),
        ("https://pbx.example/1.mp3", ".mp3"), ("https://pbx.example/rec?id=1778754610.42", ".wav"),
        ("https://pbx.example/recording", ".wav"),
    ],
)  # fmt: skip
def test_bitrix24_gets_every_recording_under_a_name_that_it_takes(file: str, ending: str) -> None:
    item = find("bitrix24-telephony")
    assert item is not None
    (name,) = [one.value for one in item.webhooks[-1].spec.request.parameters if one.name == "FILENAME"]
    request = compile_request(WebhookSpec(RequestSpec(url="https://b24.example", format="raw", text=name))).render(
        {"call_id": "17.8", "recording_file": file}
    )
    assert isinstance(request, Request)
    assert request.body == f"17.8{ending}".encode()


def test_kommo_refuses_a_call_and_no_lead_is_added_for_its_known_number(database: Database) -> None:
    crm = Kommo()
    crm.refuses_calls = True
    drive(database, "amocrm", crm, "answered_caller_hangup", failed=("check_failed",))
    assert (crm.calls, crm.added) == ([], [])


SYSTEMS: dict[str, type[Crm]] = {
    "amocrm": Kommo, "bitrix24-lead": Bitrix24Leads, "bitrix24-task": Bitrix24Tasks, "csv-line": CsvLines,
    "google-analytics-4": GoogleAnalytics, "google-analytics-universal": UniversalAnalytics,
    "google-sheets-api": GoogleSheets, "google-sheets-script": AppsScript, "hubspot-call": HubSpot,
    "hubspot-inbound": HubSpot, "make": Make, "meta-conversions": Meta, "n8n": N8n, "odoo": Odoo,
    "odoo-18": OdooRpc, "pipedrive": Pipedrive, "queue-summary": Report, "salesforce": Salesforce,
    "signed-form": SignedForm, "slack": Slack, "telegram": Telegram, "xml": Xml, "zammad": Zammad, "zapier": Zapier,
    "zoho-crm": Zoho,
}  # fmt: skip
DRIVEN_ELSEWHERE = {
    "bitrix24-telephony": "above: its card is looked at, too",
    "queue-pause": "test_pause_queue_members.py: a chain that another event begins, on a real Asterisk",
    "telegram-recording": "test_send_recordings.py: it sends the file itself",
}
CALLS = (
    "answered_caller_hangup", "no_answer", "ivr_hangup", "queue_abandon", "blind_refer", "recorded", "out_answered",
    "out_noanswer", "hidden_answered_caller_hangup", "hidden_no_answer",
)  # fmt: skip
"""Answered, missed, abandoned in the menu and in the queue, transferred, recorded; outgoing: answered and not; answered
and missed calls of somebody who hides the number, which no contact has: nothing is refused, and nothing fails."""

GROUPS = ("ring_group", "queue_second_answers")


def test_every_template_has_a_system_that_it_is_driven_through() -> None:
    """A new one needs a stand-in in SYSTEMS and the requests of its calls in tests/golden/crm, or a reason."""
    assert SYSTEMS.keys() | DRIVEN_ELSEWHERE.keys() == {item.id for item in gallery()}
    assert [item for item in SYSTEMS if not any(expected(item, call) for call in CALLS)] == []
    read = {f"{item}-{call}" for item in SYSTEMS for call in (*CALLS, *GROUPS, "new_caller")}
    assert {path.stem for path in GOLDEN.glob("*.txt") if "bitrix24-telephony-" not in path.stem} <= read


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # on both: the cards of Bitrix24 above
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("item", SYSTEMS)
def test_every_system_gets_exactly_these_requests(database: Database, item: str, call: str) -> None:
    crm = SYSTEMS[item]()
    check(crm, f"{item}-{call}", drive(database, item, crm, call))
    if isinstance(crm, Contacts) and item != "hubspot-inbound":
        assert (len(crm.calls), crm.added) == (0 if call.startswith("hidden") else 1, [])


@pytest.mark.slow
@pytest.mark.parametrize("item", [item for item in SYSTEMS if expected(item, "new_caller")])
def test_a_new_caller_becomes_one_contact_or_lead(database: Database, item: str) -> None:
    kind = SYSTEMS[item]
    assert issubclass(kind, Contacts)
    crm = kind(known=())
    check(crm, f"{item}-new_caller", drive(database, item, crm, "no_answer"))
    assert len(crm.added) == 1
    assert len(crm.calls) == (0 if kind in (Kommo, Odoo) else 1)  # there the lead is the call


@pytest.mark.slow
@pytest.mark.parametrize("call", GROUPS)
def test_one_event_says_whose_phones_rang_and_who_took_the_call(database: Database, call: str) -> None:
    report = Report()
    check(report, f"queue-summary-{call}", drive(database, "queue-summary", report, call))
    (row,) = report.rows
    rang = {one["extension"]: one["status"] for one in row["rang"]}
    assert (rang["101"], rang["102"], rang.get("103", "BUSY")) == ("NO ANSWER", "ANSWERED", "BUSY")
    assert (row["answered"], row["extension"], row["employee"]) == (True, "102", "E102")


@pytest.mark.slow
@pytest.mark.parametrize(("call", "said"), [("no_answer", "Incoming"), ("out_answered", "Outgoing")])
def test_odoo_has_a_call_on_the_lead_of_a_number_without_contact(database: Database, call: str, said: str) -> None:
    crm = Odoo(known=(), leads=KNOWN)
    drive(database, "odoo", crm, call)
    assert (crm.wrong, crm.added) == ([], [])
    assert [(one["on"], one["body"].split()[0]) for one in crm.calls] == [("crm.lead", said)]


@pytest.mark.slow
def test_odoo_gets_no_lead_of_somebody_who_was_called(database: Database) -> None:
    crm = Odoo(known=())
    drive(database, "odoo", crm, "out_noanswer")
    assert (crm.wrong, crm.added, crm.calls) == ([], [], [])


def test_a_crm_that_is_not_asked_as_it_wants_refuses() -> None:
    """The mocks are no doormats: each of these mistakes has been made by somebody's integration."""
    refused: list[tuple[Crm, str, str, Any]] = [
        (Bitrix24(), f"/rest/telephony.externalcall.finish?auth={TOKEN}", "CALL_ID=none&USER_ID=1", 400),
        (Bitrix24(), "/rest/telephony.externalcall.register?auth=old", "USER_ID=1", 401),
        (Bitrix24(), f"/rest/telephony.externalcall.register?auth={TOKEN}", "PHONE_NUMBER=1&TYPE=2", 400),
        (Kommo(), "/api/v4/calls", '{"phone": "9161234567"}', 400),
        (Kommo(known=()), "/api/v4/leads/unsorted/sip", '[{"source_name": "x"}]', 400),
        (HubSpot(), "/crm/v3/objects/calls", '{"properties": {"hs_call_direction": "INBOUND"}}', 400),
        (Salesforce(), "/services/data/v60.0/sobjects/Task", '{"Duration": 1}', 400),
        (Pipedrive(), "/api/v1/callLogs", '{"outcome": "missed"}', 400),
        (Zammad(), "/api/v1/cti/abcdef", '{"event": "newCall"}', 422),
        (GoogleSheets(), "/v4/spreadsheets/1/values/A1:append?valueInputOption=RAW", '{"values": ["x"]}', 400),
        (Telegram(), "/bot1:A/sendMessage", '{"chat_id": "1", "text": "a & <x>", "parse_mode": "HTML"}', 400),
        (Slack(), "/services/T0/B0/X", "payload", 400),
        (Odoo(), "/json/2/res.partner/search_read", '{"domain": [["mobile", "=", "1"]], "limit": 1}', 500),
        (Odoo(), "/json/2/res.partner/search_read", '{"domain": [["phone_mobile_search", "ilike", "12"]]}', 422),
        (Odoo(), "/json/2/crm.lead/create", '{"vals": {"name": "x"}}', 422),
        (Odoo(), "/json/2/crm.lead/create", '{"ids": [1], "vals_list": [{"name": "x"}]}', 422),
        (Odoo(), "/json/2/crm.lead/create", '{"vals_list": [{"name": "x", "mobile": "1"}]}', 500),
        (Odoo(), "/json/2/crm.lead/message_post", '{"ids": [], "body": "x"}', 500),
        (Odoo(), "/json/2/res.partner/message_post", '{"ids": ["7"], "body": "x"}', 404),
        (Odoo(), "/json/2/crm.lead/_write", "{}", 404),
    ]
    bearer = (("Authorization", f"Bearer {TOKEN}"), ("Content-Type", "application/json"))
    for crm, path, body, status in refused:
        assert crm(Received("POST", path, bearer, body.encode(), 1, utc_now())).status == status, path


GA4_EVENT = {"name": "phone_call", "params": {"engagement_time_msec": 1}}
GA4_BODY: dict[str, Any] = {"client_id": "1.2", "events": [GA4_EVENT]}


def ga4_event(name: str = "phone_call", **params: Any) -> dict[str, Any]:
    return {"events": [{"name": name, "params": params}]}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"client_id": None}, "VALUE_REQUIRED"),
        ({"client_id": 1.2}, "VALUE_REQUIRED"),
        ({"clientId": "1.2"}, "VALUE_INVALID"),
        ({"timestamp_micros": "1795328593000000"}, "VALUE_INVALID"),
        ({"events": []}, "VALUE_REQUIRED"),
        ({"events": [GA4_EVENT] * 26}, "EXCEEDED_MAX_ENTITIES"),
        (ga4_event("_bad"), "NAME_INVALID"),
        (ga4_event("phone call"), "NAME_INVALID"),
        (ga4_event("x" * 41), "NAME_INVALID"),
        (ga4_event("session_start"), "NAME_RESERVED"),
        (ga4_event("google_call"), "NAME_RESERVED"),
        (ga4_event(**{f"p{n}": 1 for n in range(26)}), "EXCEEDED_MAX_ENTITIES"),
        (ga4_event(**{"1st": 1}), "NAME_INVALID"),
        (ga4_event(ga_x=1), "NAME_RESERVED"),
        (ga4_event(source="x" * 101), "VALUE_OUT_OF_BOUNDS"),
        (ga4_event(source={"a": 1}), "VALUE_INVALID"),
        (ga4_event(session_id="GS1.1.177"), "VALUE_INVALID"),
        (ga4_event(engagement_time_msec="1"), "VALUE_INVALID"),
        ({"user_properties": {"user_id": {"value": "1"}}}, "NAME_RESERVED"),
        ({"user_properties": {"x" * 25: {"value": "1"}}}, "NAME_INVALID"),
        ({"user_properties": {"tier": {"value": "x" * 37}}}, "VALUE_OUT_OF_BOUNDS"),
        ({"user_properties": {"tier": "gold"}}, "VALUE_REQUIRED"),
    ],
)
def test_google_collects_everything_and_its_validation_server_says_what_is_wrong(
    changes: dict[str, Any], code: str | None
) -> None:
    body = json.dumps({**GA4_BODY, **changes}).encode()
    analytics = GoogleAnalytics()
    address = f"mp/collect?measurement_id=G-ABC123DEF4&api_secret={TOKEN}"
    said = analytics(Received("POST", f"/debug/{address}", (), body, 1, utc_now()))
    assert [one["validationCode"] for one in json.loads(said.body)["validationMessages"]] == ([code] if code else [])
    assert analytics(Received("POST", f"/{address}", (), body, 1, utc_now())).status == 204
    assert (len(analytics.events), len(analytics.wrong)) == ((0, 1) if code else (1, 0))
