"""schemathesis asks every operation of the served document, well-formed and not: no 500, every answer as described."""

from collections import Counter
from contextlib import suppress

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test
from limits import parse
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure as CheckFailed
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pbxhub.api import authentication
from tests.support.served import Served
from tests.support.two_processes import here_and_in_two_processes
from tests.support.waiting import PATIENCE

CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance, status_code_conformance]
UNENDING = ["/events/stream", "/pbxs/{pbx_id}/check"]  # the second asks hosts that schemathesis has made up
CHAINS = 40  # twice up to ten requests each
EXAMPLES = 6  # of each operation: some hundred requests in all


@pytest.fixture(autouse=True)
def _as_often_as_it_likes(hub: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with keys that it has made up: answered 429, nothing else would be tried any more."""
    hub.app.extensions["pbxhub.api"].config["API_RATE"] = "100000 per minute"
    monkeypatch.setattr(authentication, "GUESSES", parse("100000 per minute"))


@here_and_in_two_processes("hub")
def test_no_request_breaks_the_api_and_every_answer_is_as_described(hub: Served) -> None:
    headers = {"X-API-KEY": hub.key("read", "write", "call", "admin", "admin")}
    schema = schemathesis.openapi.from_url(f"{hub.address}/api/v1/openapi.json")
    asked, broken = 0, list[str]()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in UNENDING:
            continue
        asked += 1

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
            phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case) -> None:
            case.call_and_validate(base_url=f"{hub.address}/api/v1", headers=headers, checks=CHECKS, timeout=PATIENCE)

        try:
            ask()
        except (CheckFailed, ExceptionGroup) as error:
            broken.append(f"{operation.label}: {_said(error)}")
    assert asked > 50
    assert not broken, "\n".join(broken)


def _said(error: BaseException) -> str:
    inner = error.exceptions if isinstance(error, ExceptionGroup) else [error]
    return "; ".join(f"{type(one).__name__}: {one}"[:400] for one in inner)


def test_chains_of_requests_break_nothing(hub: Served) -> None:
    """What one answer says goes into the next request, as programs do it: made, read, changed, deleted, read again."""
    address, headers = f"{hub.address}/api/v1", {"X-API-KEY": hub.key("read", "write", "call", "admin", "admin")}
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json").exclude(path=UNENDING)
    schema.analysis.inject_links()
    made, broken = Counter[tuple[str, int]](), list[str]()

    class Programs(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case):
            seen = {}
            if case.method in ("PATCH", "PUT"):  # a change is of what was read
                read = requests.get(address + case.formatted_path, headers=headers, timeout=PATIENCE)
                seen = {"If-Match": read.headers.get("ETag", '"none"')}
            return {"base_url": address, "headers": {**headers, **seen}, "timeout": PATIENCE}

        def validate_response(self, response, case, additional_checks=(), **_) -> None:
            made[case.method, response.status_code] += 1
            try:
                case.validate_response(response, checks=CHECKS)
            except (CheckFailed, ExceptionGroup) as error:  # raised, it would be tried again, on other rows
                broken.append(f"{case.operation.label}: {_said(error)}")

    for number in range(CHAINS):
        # hypothesis compares the chains of one run: what the rows of the one before answer differently is no fault
        with suppress(FlakyStrategyDefinition):
            run_state_machine_as_test(
                seed(number)(Programs),
                settings=settings(
                    max_examples=2, stateful_step_count=10, deadline=None, database=None,
                    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
                ),
            )  # fmt: skip
    assert not broken, "\n".join(broken)
    assert made["POST", 201] > 0, made
    assert made["DELETE", 204] > 0, made
