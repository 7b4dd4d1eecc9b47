"""The hub is stopped while people use its pages: what is being answered is finished, and nothing else breaks."""

import socket
import threading
from collections.abc import Iterable
from typing import Any

import pytest
import requests

from pbxhub.http_server import serving


def _bound() -> tuple[socket.socket, str]:
    listening_on = socket.create_server(("127.0.0.1", 0))
    return listening_on, f"http://127.0.0.1:{listening_on.getsockname()[1]}/"


@pytest.mark.slow
def test_a_page_being_made_when_the_hub_stops_is_still_delivered() -> None:
    began, may_end = threading.Event(), threading.Event()

    def slow(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        began.set()
        may_end.wait(10)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"whole"]

    answers: list[bytes] = []
    listening_on, url = _bound()
    with serving(slow, listening_on, threads=2, name="pages"):
        reader = threading.Thread(target=lambda: answers.append(requests.get(url, timeout=10).content))
        reader.start()
        assert began.wait(10)
        threading.Timer(0.2, may_end.set).start()
    reader.join(10)
    assert answers == [b"whole"]


@pytest.mark.parametrize("_time", range(20))
def test_stopping_among_open_connections_raises_nowhere(_time: int) -> None:
    """An exception in the server's thread fails the run (filterwarnings in pyproject.toml)."""

    def quick(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    listening_on, url = _bound()
    sessions = [requests.Session() for _ in range(5)]
    with serving(quick, listening_on, threads=2, name="pages"):
        for session in sessions:
            assert session.get(url, timeout=10).content == b"ok"
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)
    for session in sessions:
        session.close()
    assert not [one.name for one in threading.enumerate() if one.name == "pages"]
