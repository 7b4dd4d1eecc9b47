"""A program finds calls in the journal, counts them and takes them away as files."""

import csv
import io
import json
from typing import Any

import pytest
import requests
from sqlalchemy import update

from pbxhub.client import ProblemError
from pbxhub.store.history import Call
from tests.support.made_calls import CALLS, RUN, make_calls
from tests.support.served import Served, fill, routes
from tests.support.signing_in import member, program

OVER = set(CALLS) - {"live"}
FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set(CALLS)),
    ({"since": "2026-07-10T11:00:00Z", "until": "2026-07-10T15:00:00+02:00"}, {"1.3", "1.4"}),
    ({"direction": "outgoing"}, {"1.4", "1.5"}),
    ({"disposition": "NO ANSWER"}, {"1.2"}),
    ({"disposition": "BUSY"}, {"1.5"}),
    ({"extension": "102"}, {"1.3", "1.5"}),
    ({"extension": "102", "direction": "outgoing"}, {"1.5"}),
    ({"employee_id": "anna"}, {"1.1", "1.2", "1.4", "1.7"}),
    ({"employee_id": "anna", "extension": "102"}, set()),
    ({"did": "+38 (044) 555-66-77"}, {"1.1", "1.2", "1.3", "1.6", "live"}),
    ({"did": "380509998877"}, set()),
    ({"number": "067 111 22 33"}, {"1.2", "1.5"}),
    ({"number": "380509998877"}, {"1.4"}),
    ({"number": "1112233"}, set()),
    ({"least_talk": 20}, {"1.1", "1.4", "1.7"}),
    ({"least_talk": 5, "most_talk": 60}, {"1.1", "1.3", "1.7"}),
    ({"most_talk": 0}, {"1.2", "1.5", "1.6"}),
    ({"result": "missed"}, {"1.2", "1.6"}),
    ({"recorded": "true"}, {"1.1", "1.4"}),
    ({"recorded": "false", "direction": "incoming"}, {"1.2", "1.3", "1.6", "live"}),
]


def as_file(hub: Served, kind: str, given: dict[str, Any], key: str = "") -> requests.Response:
    headers = {"X-API-KEY": key or hub.key("read")}
    return requests.get(f"{hub.address}/api/v1/calls/export.{kind}", params=given, headers=headers, timeout=20)


def test_the_list_and_both_files_have_the_calls_of_a_filter(hub: Served) -> None:
    anna, program = make_calls(hub.database, hub.project_id, hub.pbx_id), hub.client("read")
    for wanted, expected in FILTERS:
        given = {name: anna if value == "anna" else value for name, value in wanted.items()}
        listed = [row["linkedid"] for row in program.all("/calls", limit=2, **given)]
        assert listed == sorted(expected, reverse=True), given
        lines = [json.loads(line) for line in as_file(hub, "jsonl", given).text.splitlines()]
        assert [row["linkedid"] for row in lines] == sorted(expected & OVER, reverse=True), given
        rows = csv.DictReader(io.StringIO(as_file(hub, "csv", given).content.decode("utf-8-sig")))
        assert [row["linkedid"] for row in rows] == sorted(expected & OVER, reverse=True), given
    first = program.get("/calls", number="+380671112233", direction="incoming")["items"][0]
    assert (first["talk"], first["wait"], first["recorded"]) == (0, 20, False)


def test_a_file_has_names_and_times_and_no_formula(hub: Served) -> None:
    make_calls(hub.database, hub.project_id, hub.pbx_id)
    rang = [{"number": "101", "ring": 12, "status": "NO ANSWER"}, {"number": "102", "ring": None, "status": "FAILED"}]
    legs = [{**one, "extension": one["number"], "end": None} for one in rang]
    with hub.database.write() as session:
        session.execute(update(Call).where(Call.linkedid == "1.2").values(data={"legs": legs}))
    answer = as_file(hub, "csv", {"disposition": "NO ANSWER"})
    assert answer.headers["Content-Disposition"] == 'attachment; filename="calls.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert row["caller_name"] == f"'{RUN}"
    shown = {"employee": "Anna", "extension": "101", "wait": "20", "started_on": "2026-07-10T10:00:00+00:00",
             "rang": "101 12 NO ANSWER; 102 FAILED"}  # fmt: skip
    assert {name: row[name] for name in shown} == shown
    line = as_file(hub, "jsonl", {"disposition": "NO ANSWER"}).json()
    assert (line["caller_name"], line["rang"]) == (RUN, rang)
    assert as_file(hub, "jsonl", {}, hub.key("read", project_id=hub.other_id)).text == ""


def test_a_report_counts_by_employee_and_by_number(hub: Served) -> None:
    make_calls(hub.database, hub.project_id, hub.pbx_id)
    with hub.database.write() as session:
        session.execute(update(Call).where(Call.linkedid == "1.1").values(disposition="VOICEMAIL"))  # and talked
        session.execute(update(Call).where(Call.linkedid == "1.3").values(wait=None))
    program = hub.client("read")
    by_employee = program.get("/calls/report", by="employee").data
    assert [tuple(row.values()) for row in by_employee["items"]] == [
        # key, name, calls, answered, missed, talk, average talk, average wait
        ("101", "Anna", 4, 3, 1, 680, 227, 12),
        ("102", "", 2, 1, 0, 5, 5, None),
    ]
    assert tuple(by_employee["total"].values()) == ("", "", 6, 4, 1, 685, 171, 12)
    by_number = program.get("/calls/report", by="number").data
    assert [tuple(row.values()) for row in by_number["items"]] == [
        ("380445556677", "Site", 4, 2, 2, 65, 32, 18),  # of both spellings
    ]
    morning = {"since": "2026-07-10T09:00:00Z", "until": "2026-07-10T10:00:00Z"}
    assert program.get("/calls/report", by="employee", **morning)["total"]["calls"] == 1
    assert program.get("/calls/report", by="employee", direction="outgoing")["total"]["calls"] == 2
    assert hub.stranger.get("/calls/report", by="employee").data["items"] == []


def test_slow_downloads_leave_threads_to_the_pages(hub: Served) -> None:
    make_calls(hub.database, hub.project_id, hub.pbx_id)
    reader, viewer, project = program(hub, "read"), member(hub, "viewer"), f"/projects/{hub.project_id}"
    addresses = [(reader, "/api/v1/calls/export.jsonl"), (reader, "/api/v1/calls/export.csv"),
                 (viewer, f"{project}/export/calls.csv"), (viewer, f"{project}/export/deliveries.csv")]  # fmt: skip
    for first, second in zip(addresses, reversed(addresses), strict=True):
        slow = [client.get(address) for client, address in (first, second)]
        assert [answer.status_code for answer in slow] == [200, 200]
        for client, address in addresses:
            refused = client.get(address)
            assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
            assert "Other exports are still being downloaded" in refused.text
        other = as_file(hub, "csv", {}, hub.key("read", project_id=hub.other_id))
        assert (other.status_code, viewer.get(f"{project}/calls").status_code) == (200, 200)
        slow[0].close()
        assert "1.1" in reader.get("/api/v1/calls/export.csv").text  # gives its place back when it is read
        assert reader.head("/api/v1/calls/export.csv").status_code == 200
        slow[1].close()


def test_what_a_query_cannot_say_is_refused(hub: Served) -> None:
    for path, given, said in (
        ("/calls", {"talk": 5}, "the names here are after, did, direction, disposition, employee_id, extension, "
         "least_talk, limit, most_talk, number, recorded, result, since, until"),
        ("/calls/report", {"by": "employee", "number": "1"}, "the names here are by, direction, since, until"),
        ("/calls/report", {"by": "number", "direction": "outgoing"}, "only incoming calls are counted by number"),
        ("/calls", {"employee_id": 999}, "is no employee of this project"),
        ("/calls", {"after": "0190a"}, "use `next` of the previous page"),
        ("/calls", {"since": "yesterday"}, "Not a valid datetime"),
        ("/calls", {"since": "2026-07-10T09:00:00"}, "Not a valid aware datetime"),
        ("/calls", {"recorded": "perhaps"}, "Not a valid boolean"),
        ("/calls", {"least_talk": -1}, "Must be greater than or equal to 0"),
    ):  # fmt: skip
        with pytest.raises(ProblemError, match=said) as caught:
            hub.client("read").get(path, **given)  # type: ignore[arg-type]
        assert caught.value.status == 422


def test_no_operation_takes_a_name_that_it_does_not_have(hub: Served, ids: dict[str, object]) -> None:
    hub.app.extensions["pbxhub.api"].config["API_RATE"] = "10000 per minute"
    headers = {"X-API-KEY": hub.key("read", "write", "call", "admin")}
    for method, rule in routes(hub):
        address = f"{hub.address}/api/v1{fill(rule, ids)}"
        answer = requests.request(method, address, params={"lmit": "1"}, headers=headers, json={}, timeout=20)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "lmit"), (method, rule)
