"""A program saves a filter for the project, finds it with its link, and deletes it."""

import pytest

from pbxhub.client import ProblemError
from tests.support.served import Served


def test_a_filter_is_saved_found_and_deleted(hub: Served) -> None:
    client = hub.client("write")
    given = {"page": "deliveries", "name": "CRM, failed", "query": {"state": "failed", "webhook": "1"}}
    made = client._ask("POST", "/filters", json=given).data
    assert made["url"].endswith(f"/projects/{hub.project_id}/filters/{made['id']}")
    assert [{name: row[name] for name in given} for row in client._ask("GET", "/filters").data["items"]] == [given]
    with pytest.raises(ProblemError) as caught:
        client._ask("POST", "/filters", json={**given, "query": {"stat": "failed"}})
    assert (caught.value.status, caught.value.errors[0][0]) == (422, "query")
    client._ask("DELETE", f"/filters/{made['id']}")
    assert client._ask("GET", "/filters").data["items"] == []


@pytest.mark.parametrize(("query", "sentence"), [({"": "1"}, "no field"), ({"direction": "zz"}, "“zz” cannot be used")])
def test_a_filter_that_its_list_cannot_read_is_refused(hub: Served, query: dict[str, str], sentence: str) -> None:
    with pytest.raises(ProblemError, match=sentence):
        hub.client().add("/filters", {"page": "calls", "name": "x", "query": query})
