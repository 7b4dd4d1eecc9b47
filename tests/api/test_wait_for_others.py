"""Checks and test sends wait for somebody else: a few at a time, so that they hold up nobody."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from pbxhub.testing.receivers.misbehaving import Cage, hangs
from pbxhub.testing.waiting import await_until
from tests.support.served import Served


def trial(hub: Served, project_id: int, url: str) -> Callable[[], requests.Response]:
    """A test send of a new webhook of this project."""
    client = hub.client(project_id=project_id)
    made = client.add("/webhooks", {"name": "CRM", "stage": "form.sent", "spec": {"request": {"url": url}}})
    headers = {"X-API-KEY": hub.key("read", "write", "call", "admin", project_id=project_id)}
    address = f"{hub.address}/api/v1/webhooks/{made.id}/test"
    return lambda: requests.post(address, json={}, headers=headers, timeout=60)


@pytest.mark.slow
def test_a_project_waits_for_two_test_sends_at_most_and_another_one_has_room(hub: Served) -> None:
    def visited(times: int) -> None:
        assert receiver.visits == times

    with ThreadPoolExecutor(3) as threads:
        with Cage(hangs) as receiver:
            ours, theirs = (trial(hub, project, receiver.url) for project in (hub.project_id, hub.other_id))
            waiting = [threads.submit(ours) for _ in range(2)]
            await_until(lambda: visited(2), "60s")
            refused = ours()
            waiting.append(threads.submit(theirs))
            await_until(lambda: visited(3), "60s")
        assert [one.result().status_code for one in waiting] == [200, 200, 200]
    assert refused.status_code == 429
    assert "are still running" in refused.json()["detail"]
    assert int(refused.headers["Retry-After"]) > 0
    assert ours().status_code == 200, "the places are free again"
