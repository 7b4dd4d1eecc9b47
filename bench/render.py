"""Cost of rendering a webhook and of asking 1,000 webhooks whether they want a stage. One core, medians.

python bench/render.py: prints the figures beside json.dumps of the same data in the same run, and the goals.
"""

import hashlib
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pbxhub.webhooks.matching import compile_filters
from pbxhub.webhooks.rendered_request import Request
from pbxhub.webhooks.request import compile_request
from pbxhub.webhooks.spec import Filter, Parameter, RequestSpec, WebhookSpec

ZONE = ZoneInfo("Europe/Berlin")
CALL = {
    "call_id": "1778754610.42",
    "calldate": datetime(2026, 5, 14, 10, 30, 10, tzinfo=UTC),
    "caller": "+79161234567",
    "caller_name": 'Анна "Аня" Petrova',
    "dst": "74951234567",
    "extension": "101",
    "employee_name": "Ivan Sidorov",
    "department": "Sales",
    "disposition": "ANSWERED",
    "direction": "incoming",
    "billsec": 49,
    "duration": 57,
    "waittime": 8,
    "is_answered": True,
    "utm_source": "google",
}


def field(name: str, value: str, kind: str = "text") -> Parameter:
    return Parameter(name, kind, value)  # type: ignore[arg-type]


def branch(name: str, *children: Parameter, kind: str = "object") -> Parameter:
    return Parameter(name, kind, children=children)  # type: ignore[arg-type]


FIFTEEN = (
    field("id", "<<call_id>>"),
    field("started", "<<calldate>>"),
    branch(
        "client",
        field("phone", "<<caller>>"),
        field("phone_hash", "<<caller|digits>>", "sha256"),
        field("name", "<<caller_name>>"),
        branch("utm", field("source", "<<utm_source>>"), field("medium", "<<utm_medium>>")),
    ),
    branch("employee", field("extension", "<<extension>>"), field("name", "<<employee_name>> (<<department>>)")),
    branch(
        "call",
        field("to", "<<dst>>"),
        field("status", "<<disposition>>"),
        field("talk", "<<billsec>>", "number"),
        field("answered", "<<is_answered>>", "boolean"),
        branch("times", field("", "<<waittime>>"), field("", "<<duration>>"), kind="array"),
    ),
)


def median_us(work: Callable[[], object], rounds: int = 3000) -> float:
    """Median of single runs, in microseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def by_hand() -> bytes:
    """The same body by json.dumps, without templates."""
    started = CALL["calldate"].astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S")  # type: ignore[attr-defined]
    digest = hashlib.sha256(b"79161234567").hexdigest()
    client = {"phone": CALL["caller"], "phone_hash": digest, "name": CALL["caller_name"]}
    call = {"to": CALL["dst"], "status": CALL["disposition"], "talk": CALL["billsec"], "answered": CALL["is_answered"]}
    body = {
        "id": CALL["call_id"],
        "started": started,
        "client": {**client, "utm": {"source": CALL["utm_source"], "medium": None}},
        "employee": {"extension": CALL["extension"], "name": f"{CALL['employee_name']} ({CALL['department']})"},
        "call": {**call, "times": [CALL["waittime"], CALL["duration"]]},
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def main() -> None:
    compiled = compile_request(WebhookSpec(RequestSpec(url="https://crm.example.com/calls", parameters=FIFTEEN)))
    request = compiled.render(CALL, ZONE)
    assert isinstance(request, Request)
    assert request.body == by_hand(), "the two bodies must be the same bytes"
    data = json.loads(request.body)
    render, dumps, hand = (
        median_us(lambda: compiled.render(CALL, ZONE)),
        median_us(lambda: json.dumps(data, ensure_ascii=False)),
        median_us(by_hand),
    )
    kinds = ("ANSWERED", "NO ANSWER", "BUSY")
    matchers = [
        compile_filters(
            WebhookSpec(
                filters=(
                    Filter("disposition", "equals", kinds[number % 3]),
                    Filter("billsec", "greater", str(number % 90)),
                    Filter("department", "in", values=("Sales", "Support")),
                )
            )
        )
        for number in range(1000)
    ]
    matching = median_us(lambda: [matcher.matches(CALL) for matcher in matchers], 300)
    print(f"render, 15 parameters with a sha256: {render:6.1f} µs (goal 40)   request of {len(request.body)} bytes")
    print(f"json.dumps of the same data:         {dumps:6.1f} µs   ratio {render / dumps:.1f}")
    print(f"the same body by hand:               {hand:6.1f} µs   ratio {render / hand:.1f}")
    print(f"1,000 webhooks asked by filters:     {matching:6.1f} µs (goal 1000)")


if __name__ == "__main__":
    main()
