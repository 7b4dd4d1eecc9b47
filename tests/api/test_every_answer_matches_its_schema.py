"""schemathesis asks every operation of the served document, well-formed and not: no 500, every answer as described."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure as CheckFailed
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import Served

CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance, status_code_conformance]
EXAMPLES = 6  # of each operation: some hundred requests in all


def test_no_request_breaks_the_api_and_every_answer_is_as_described(hub: Served) -> None:
    hub.app.extensions["pbxhub.api"].config["API_RATE"] = "100000 per minute"
    headers = {"X-API-KEY": hub.key("read", "write", "call")}
    schema = schemathesis.openapi.from_url(f"{hub.address}/api/v1/openapi.json")
    asked, broken = 0, list[str]()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/events/stream":
            continue
        asked += 1

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
            phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case) -> None:
            case.call_and_validate(base_url=f"{hub.address}/api/v1", headers=headers, checks=CHECKS, timeout=20)

        try:
            ask()
        except (CheckFailed, ExceptionGroup) as error:
            broken.append(f"{operation.label}: {_said(error)}")
    assert asked > 50
    assert not broken, "\n".join(broken)


def _said(error: BaseException) -> str:
    inner = error.exceptions if isinstance(error, ExceptionGroup) else [error]
    return "; ".join(str(one)[:400] for one in inner)
