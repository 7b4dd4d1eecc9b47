"""Odoo 19: /json/2/MODEL/METHOD, as addons/rpc/controllers/json2.py and the models of mail and crm answer."""

import json
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from pbxhub.testing.receivers.receiver import Received, Reply
from tests.support.crm import Crm, as_json, has_bearer, lacks
from tests.support.crm_records import KNOWN, Contacts

_METHODS = {
    "search_read": {"domain", "fields", "offset", "limit", "order"},
    "create": {"vals_list"},
    "message_post": {
        "body", "subject", "message_type", "email_from", "author_id", "parent_id", "subtype_xmlid", "subtype_id",
        "partner_ids", "attachments", "attachment_ids", "body_is_html",
    },
}  # fmt: skip
_API_MODEL = {"search_read", "create"}
_FIELDS = {
    "res.partner": {"id", "name", "phone", "phone_sanitized", "phone_mobile_search", "email", "parent_id"},
    "crm.lead": {
        "id", "name", "type", "phone", "phone_mobile_search", "contact_name", "partner_name", "description",
        "user_id", "team_id", "partner_id", "source_id",
    },
}  # fmt: skip
CONTACT, LEAD = 7, 31


class Odoo(Contacts):
    """leads: digits of the numbers that a lead has; every request is a transaction of its own."""

    def __init__(self, known: Collection[str] = KNOWN, leads: Collection[str] = ()) -> None:
        super().__init__(known)
        self.leads = leads

    def answer(self, request: Received) -> Reply:
        if not has_bearer(request):
            return _error(401, "Unauthorized", "Invalid apikey")
        if request.header("x-odoo-database") not in (None, "db"):
            return _error(404, "NotFound", "the database does not exist")
        asked = re.fullmatch(r"/json/2/([\w.]+)/(\w+)", urlsplit(request.path).path)
        if asked is None or request.method != "POST":
            return _error(404, "NotFound", "Did you mean POST /json/2/<model>/<method>?")
        if (request.header("content-type") or "").partition(";")[0] != "application/json":
            return _error(415, "UnsupportedMediaType", "no JSON")
        model, method = asked.groups()
        given = json.loads(request.body)
        if not isinstance(given, dict):
            return _error(400, "BadRequest", "could not parse the body, it must be a json object")
        return self._called(model, method, given)

    def _called(self, model: str, method: str, given: dict[str, Any]) -> Reply:
        ids, _context = given.pop("ids", []), given.pop("context", {})
        if model not in _FIELDS:
            return _error(404, "NotFound", f"the model '{model}' does not exist")
        if method not in _METHODS:
            return _error(404, "NotFound", f"The method '{model}.{method}' does not exist")
        if method in _API_MODEL and ids:
            return _error(422, "UnprocessableEntity", f"cannot call {model}.{method} with ids")
        if unknown := given.keys() - _METHODS[method]:
            return _error(422, "UnprocessableEntity", f"got an unexpected keyword argument {unknown}")
        act = {"search_read": self._search, "create": self._create}.get(method)
        return act(model, given) if act else self._post(model, ids, given)

    def _search(self, model: str, given: dict[str, Any]) -> Reply:
        found = True
        for name, operator, value in given.get("domain", ()):
            if name not in _FIELDS[model] or operator not in ("=", "ilike", "like", "in"):
                return _error(500, "ValueError", f"Invalid condition ({name}, {operator}, {value})")
            if name == "phone_mobile_search" and len(value) < 3:
                return _error(422, "UserError", "Please enter at least 3 characters when searching a Phone number.")
            numbers = self.known if model == "res.partner" else self.leads
            found = found and any(value in digits or digits in value for digits in numbers)
        if unknown := set(given.get("fields", ())) - _FIELDS[model]:
            return _error(500, "ValueError", f"Invalid field {unknown} on '{model}'")
        if not given.get("domain") or given.get("limit") != 1:
            self.wrong.append("reads all records")
        record = {"id": CONTACT, "name": "Ann"} if model == "res.partner" else {"id": LEAD, "name": "Call"}
        return as_json(200, [record] if found else [])

    def _create(self, model: str, given: dict[str, Any]) -> Reply:
        rows = given.get("vals_list")
        if not isinstance(rows, (list, dict)):
            return _error(422, "UnprocessableEntity", "missing a required argument: 'vals_list'")
        for row in [rows] if isinstance(rows, dict) else rows:
            if unknown := row.keys() - _FIELDS[model]:
                return _error(500, "ValueError", f"Invalid field {unknown} in '{model}'")
            if row.get("type", "lead") not in ("lead", "opportunity"):
                return _error(500, "ValueError", f"Wrong value for {model}.type: {row['type']}")
            if not row.get("name"):
                return _error(422, "ValidationError", "Missing required value for the field 'Opportunity' (name)")
            self.added.append(row)
        return as_json(200, [LEAD])

    def _post(self, model: str, ids: Any, given: dict[str, Any]) -> Reply:
        if len(ids) != 1:
            return _error(500, "ValueError", f"Expected singleton: {model}({ids})")
        if ids != [CONTACT if model == "res.partner" else LEAD]:
            return _error(404, "MissingError", f"Record does not exist or has been deleted. {model}({ids})")
        if not isinstance(given.get("body", ""), str):
            return _error(500, "TypeError", "the body is no text")
        if given.get("subtype_xmlid", "mail.mt_note") != "mail.mt_note":
            self.wrong.append("a message, not a note: followers get it by mail")
        self.calls.append(given | {"on": model})
        return as_json(200, [900 + len(self.calls)])


def _error(status: int, name: str, message: str) -> Reply:
    return as_json(status, {"name": name, "message": message, "arguments": [message], "context": {}, "debug": ""})


class OdooRpc(Crm):
    """execute_kw over /jsonrpc: errors come with status 200."""

    def __init__(self) -> None:
        super().__init__()
        self.leads: list[dict[str, Any]] = []

    def answer(self, request: Received) -> Reply:
        given = json.loads(request.body)
        params = given.get("params", {})
        if given.get("jsonrpc") != "2.0" or params.get("service") != "object" or params.get("method") != "execute_kw":
            return self._error(given, "Odoo Server Error: unknown service or method")
        database, user, key, model, method, args, *_more = params["args"]
        if not (isinstance(user, int) and database and key):
            return self._error(given, "Access Denied")
        if (model, method) != ("crm.lead", "create") or lacks(args[0], "name"):
            return self._error(given, f"The method {model}.{method} needs a name")
        if unknown := set(args[0]) - {"name", "phone", "description", "type", "contact_name", "source_id"}:
            return self._error(given, f"Invalid field {unknown} on model 'crm.lead'")
        self.leads.append(args[0])
        return as_json(200, {"jsonrpc": "2.0", "id": given.get("id"), "result": len(self.leads)})

    def _error(self, given: Any, message: str) -> Reply:
        self.wrong.append(message)
        error = {"code": 200, "message": "Odoo Server Error", "data": {"message": message}}
        return as_json(200, {"jsonrpc": "2.0", "id": given.get("id"), "error": error})
