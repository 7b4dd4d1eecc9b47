"""CRMs whose calls are records with fields: HubSpot, Zoho, Salesforce, Pipedrive."""

import json
import re
from collections.abc import Collection
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pbxhub.testing.receivers.receiver import Received, Reply
from tests.support.crm import TOKEN, Crm, as_json, has_bearer, lacks, query

KNOWN = ("9161234567", "15551234")
"""The number that calls in the traces, and the one that is called."""


class Contacts(Crm):
    """A CRM with contacts. known: digits of their numbers. added: new ones."""

    def __init__(self, known: Collection[str] = KNOWN) -> None:
        super().__init__()
        self.known = known
        self.added: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []

    def knows(self, text: str) -> bool:
        return any(digits in text for digits in self.known)


class HubSpot(Contacts):
    def answer(self, request: Received) -> Reply:
        if not has_bearer(request):
            return _hubspot(401, "Authentication credentials not found", "INVALID_AUTHENTICATION")
        path, given = urlsplit(request.path).path, json.loads(request.body)
        if path == "/crm/v3/objects/contacts/search":
            if lacks(given, "query") and lacks(given, "filterGroups"):
                return _hubspot(400, "one of query and filterGroups is needed", "VALIDATION_ERROR")
            found = [{"id": "501", "properties": {"firstname": "Ann"}}] if self.knows(request.body.decode()) else []
            return as_json(200, {"total": len(found), "results": found})
        if path == "/crm/v3/objects/contacts":
            self.added.append(given["properties"])
            return as_json(201, {"id": "501", "properties": given["properties"]})
        if path == "/crm/extensions/calling/2026-03/inbound-call":
            return self._ringing(given)
        if path != "/crm/v3/objects/calls":
            return _hubspot(404, "resource not found", "OBJECT_NOT_FOUND")
        properties = given.get("properties", {})
        if lacks(properties, "hs_timestamp"):
            return _hubspot(400, "Required properties were missing: hs_timestamp", "VALIDATION_ERROR")
        if properties.get("hs_call_direction") not in ("INBOUND", "OUTBOUND"):
            return _hubspot(400, "hs_call_direction was not one of the allowed options", "VALIDATION_ERROR")
        statuses = ("BUSY", "CALLING_CRM_USER", "CANCELED", "COMPLETED", "CONNECTING", "FAILED", "IN_PROGRESS",
                    "MISSED", "NO_ANSWER", "QUEUED", "RINGING")  # fmt: skip
        if properties.get("hs_call_status") not in statuses:
            return _hubspot(400, "hs_call_status was not one of the allowed options", "VALIDATION_ERROR")
        for one in given.get("associations", ()):
            if str(one["to"]["id"]) != "501" or one["types"][0]["associationTypeId"] != 194:
                return _hubspot(400, "CONTACT is not valid", "VALIDATION_ERROR")
        self.calls.append(given)
        return as_json(201, {"id": "9", "properties": properties})

    def _ringing(self, given: dict[str, Any]) -> Reply:
        if missing := lacks(given, "externalCallId", "fromNumber", "toNumber", "userId", "callStartedTimestamp"):
            return _hubspot(400, f"Required properties were missing: {missing}", "VALIDATION_ERROR")
        for name in ("fromNumber", "toNumber"):
            if not re.fullmatch(r"\+[1-9]\d{6,14}", str(given[name].get("e164Number"))):
                return _hubspot(400, f"{name} is not in E.164", "VALIDATION_ERROR")
        if not all(isinstance(given[name], int) for name in ("userId", "callStartedTimestamp")):
            return _hubspot(400, "userId and callStartedTimestamp are numbers", "VALIDATION_ERROR")
        return as_json(200, {"engagementId": 1, "isFinalized": False})


def _hubspot(status: int, message: str, category: str) -> Reply:
    return as_json(status, {"status": "error", "message": message, "category": category, "correlationId": "c"})


class Zoho(Contacts):
    """Looks contacts up by phone: 204 without a body if there is none."""

    def answer(self, request: Received) -> Reply:
        if request.header("authorization") != f"Zoho-oauthtoken {TOKEN}":
            return as_json(401, {"code": "INVALID_TOKEN", "status": "error", "message": "invalid oauth token"})
        path = urlsplit(request.path).path
        if re.fullmatch(r"/crm/v\d+/Contacts/search", path):
            if lacks(query(request), "phone"):
                return as_json(400, {"code": "REQUIRED_PARAM_MISSING", "status": "error"})
            known = self.knows(query(request)["phone"])
            return as_json(200, {"data": [{"id": "410888000000698006"}]}) if known else Reply(204, b"")
        if re.fullmatch(r"/crm/v\d+/Contacts", path):
            contact = json.loads(request.body)["data"][0]
            if lacks(contact, "Last_Name"):
                return _zoho("MANDATORY_NOT_FOUND", "Last_Name")
            self.added.append(contact)
            return as_json(201, {"data": [{"code": "SUCCESS", "status": "success", "details": {"id": "41088"}}]})
        if not re.fullmatch(r"/crm/v\d+/Calls", path):
            return as_json(404, {"code": "INVALID_URL_PATTERN", "status": "error"})
        call = json.loads(request.body)["data"][0]
        needed = ["Subject", "Call_Type", "Call_Start_Time"]
        needed += ["Call_Duration"] if call.get("Call_Type") in ("Inbound", "Outbound") else []
        if missing := lacks(call, *needed):
            return _zoho("MANDATORY_NOT_FOUND", missing[0])
        if call["Call_Type"] not in ("Inbound", "Outbound", "Missed"):
            return _zoho("INVALID_DATA", "Call_Type")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", call["Call_Start_Time"]):
            return _zoho("INVALID_DATA", "Call_Start_Time")
        if not re.fullmatch(r"\d+(:[0-5]\d)?", call.get("Call_Duration", "0:00")):
            return _zoho("INVALID_DATA", "Call_Duration")
        self.calls.append(call)
        return as_json(201, {"data": [{"code": "SUCCESS", "status": "success", "details": {"id": "1"}}]})


def _zoho(code: str, name: str) -> Reply:
    return as_json(400, {"data": [{"code": code, "details": {"api_name": name}, "status": "error"}]})


class Salesforce(Contacts):
    _FIELDS = frozenset({"Subject", "Status", "Priority", "TaskSubtype", "CallType", "CallDurationInSeconds",
                         "CallDisposition", "CallObject", "Description", "ActivityDate", "WhoId", "WhatId",
                         "OwnerId"})  # fmt: skip

    def answer(self, request: Received) -> Reply:
        if not has_bearer(request):
            return as_json(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
        path = urlsplit(request.path).path
        if re.fullmatch(r"/services/data/v\d+\.0/parameterizedSearch", path):
            if len(query(request).get("q", "")) < 2:
                return as_json(400, [{"message": "search term must be longer", "errorCode": "MALFORMED_SEARCH"}])
            found = (
                [{"attributes": {"type": "Contact"}, "Id": "003A0000001"}] if self.knows(query(request)["q"]) else []
            )
            return as_json(200, {"searchRecords": found})
        if re.fullmatch(r"/services/data/v\d+\.0/sobjects/Lead", path):
            lead = json.loads(request.body)
            if missing := lacks(lead, "LastName", "Company"):
                message = f"Required fields are missing: {missing}"
                return as_json(400, [{"message": message, "errorCode": "REQUIRED_FIELD_MISSING", "fields": missing}])
            self.added.append(lead)
            return as_json(201, {"id": "00QA0000001", "success": True, "errors": []})
        if not re.fullmatch(r"/services/data/v\d+\.0/sobjects/Task", path):
            return as_json(404, [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}])
        given = json.loads(request.body)
        if unknown := set(given) - self._FIELDS:
            return as_json(400, [{"message": f"No such column '{unknown}' on Task", "errorCode": "INVALID_FIELD"}])
        if given.get("CallType", "Inbound") not in ("Inbound", "Outbound", "Internal"):
            return as_json(400, [{"message": "CallType: bad value", "errorCode": "INVALID_OR_NULL_FOR_PICKLIST"}])
        if not isinstance(given.get("CallDurationInSeconds", 0), int):
            return as_json(400, [{"message": "Cannot deserialize int", "errorCode": "JSON_PARSER_ERROR"}])
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", given.get("ActivityDate", "2026-01-01")):
            return as_json(400, [{"message": "Cannot deserialize date", "errorCode": "JSON_PARSER_ERROR"}])
        self.calls.append(given)
        return as_json(201, {"id": "00TA0000001", "success": True, "errors": []})


class Pipedrive(Contacts):
    """The list of persons is empty, not an error, if nobody has the number."""

    def answer(self, request: Received) -> Reply:
        if not has_bearer(request):
            return as_json(401, {"success": False, "error": "unauthorized access", "errorCode": 401})
        path = urlsplit(request.path).path
        if path == "/api/v2/persons/search":
            if len(query(request).get("term", "")) < 2:
                return as_json(400, {"success": False, "error": "term must be at least 2 characters long"})
            items = [{"item": {"id": 44, "name": "Ann"}}] if self.knows(query(request)["term"]) else []
            return as_json(200, {"success": True, "data": {"items": items}})
        if path == "/api/v2/persons":
            person = json.loads(request.body)
            if lacks(person, "name") or not all(isinstance(one["primary"], bool) for one in person.get("phones", ())):
                return as_json(400, {"success": False, "error": "name is required"})
            self.added.append(person)
            return as_json(201, {"success": True, "data": {"id": 45}})
        if path != "/api/v1/callLogs":
            return as_json(404, {"success": False, "error": "not found"})
        given = json.loads(request.body)
        if missing := lacks(given, "outcome", "to_phone_number", "start_time", "end_time"):
            return as_json(400, {"success": False, "error": f"{missing} is required"})
        outcomes = ("connected", "no_answer", "left_message", "left_voicemail", "wrong_number", "busy")
        if given["outcome"] not in outcomes:
            return as_json(400, {"success": False, "error": "outcome is not allowed"})
        for name in ("start_time", "end_time"):
            if datetime.fromisoformat(given[name]).utcoffset() is None:
                return as_json(400, {"success": False, "error": f"{name} must be in UTC"})
        if not isinstance(given.get("person_id", 44), int):
            return as_json(400, {"success": False, "error": "person_id must be a number"})
        self.calls.append(given)
        return as_json(200, {"success": True, "data": {"id": "c1"}})
