"""Systems that take any fields, in the form that they read: Make, n8n, Zapier, Apps Script, and one's own programs."""

import hashlib
import json
import re
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from pbxhub.testing.receivers.receiver import Received, Reply
from tests.support.crm import TOKEN, Crm, as_json, form


class Inbox(Crm):
    """rows: what has come in."""

    path = r"/calls"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Any] = []

    def answer(self, request: Received) -> Reply:
        if not re.fullmatch(self.path, urlsplit(request.path).path):
            return Reply(404, b"")
        try:
            self.rows.append(self.read(request))
        except (ValueError, KeyError, ElementTree.ParseError) as error:
            return Reply(400, str(error).encode())
        return self.taken()

    def read(self, request: Received) -> Any:
        raise NotImplementedError

    def taken(self) -> Reply:
        return Reply(200, b"ok")


class Automation(Inbox):
    """A field of a flow is a name with a text or a number: a list in it cannot be mapped by hand."""

    def read(self, request: Received) -> Any:
        given = json.loads(request.body)
        if (request.header("content-type") or "") != "application/json" or not isinstance(given, dict):
            raise ValueError("no object of JSON")
        return given


class Report(Automation):
    path = r"/calls"

    def read(self, request: Received) -> Any:
        given = super().read(request)
        if not given["rang"] or not all(one["start"] and one["end"] and one["status"] for one in given["rang"]):
            raise ValueError("nobody's phone rang, or nobody knows how long")
        return given


class Zapier(Automation):
    path = r"/hooks/catch/\d+/\w+/"

    def taken(self) -> Reply:
        return as_json(200, {"attempt": "1", "id": "1", "request_id": "1", "status": "success"})


class Make(Automation):
    path = r"/\w+"

    def taken(self) -> Reply:
        return Reply(200, b"Accepted")


class N8n(Automation):
    """With header authentication: 403 without the right key."""

    path = r"/webhook/calls"

    def answer(self, request: Received) -> Reply:
        if request.header("x-webhook-key") != TOKEN:
            return Reply(403, b"Authorization data is wrong!")
        return super().answer(request)


class AppsScript(Automation):
    """Runs the script at the POST; its answer is fetched from another address by GET."""

    path = r"/macros/s/[\w-]+/exec"

    def answer(self, request: Received) -> Reply:
        if urlsplit(request.path).path != "/macros/echo":
            return super().answer(request)
        return as_json(200, {"ok": True}) if request.method == "GET" else Reply(405, b"")

    def taken(self) -> Reply:
        return Reply(302, b"", (("Location", "/macros/echo?user_content_key=x"),))


class SignedForm(Inbox):
    def read(self, request: Received) -> Any:
        given = form(request)
        if hashlib.md5(f"{given['phone']}{given['ts']}salt".encode()).hexdigest() != given["sign"]:
            raise ValueError("the signature is wrong")
        return given


class CsvLines(Inbox):
    def read(self, request: Received) -> Any:
        line = request.body.decode()
        if line.count(";") != 4 or not line.endswith("\n"):
            raise ValueError("no line of five fields")
        return line


class Xml(Inbox):
    def read(self, request: Received) -> Any:
        call = ElementTree.fromstring(request.body)
        return call.attrib["id"], {one.tag: one.text for one in call}
