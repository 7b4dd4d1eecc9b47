"""`pbxhub web` answers from two processes: they share the listening socket, and nothing else."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from pbxhub.store.session import Database
from tests.support.pages_server import Pages, open_files, projects_with_keys, serving_pages, sockets
from tests.support.waiting import wait_until

ASKED = 700
NAMES = ("Flowers", "Pizza", "Taxi")
pytestmark = pytest.mark.timeout(120)


def test_two_processes_share_no_connection_and_every_answer_belongs_to_the_asker(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    keys = projects_with_keys(database, *NAMES)
    with serving_pages("web", database_url, tmp_path) as web:
        assert len(web.workers) == 2
        nothing_is_shared(web)
        every_answer_is_right(web, keys)
        nothing_is_shared(web)
    assert "Traceback" not in web.said()


def test_a_process_that_dies_is_replaced_by_one_that_shares_nothing_either(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    keys = projects_with_keys(database, *NAMES)
    with serving_pages("web", database_url, tmp_path) as web:
        every_answer_is_right(web, keys, 50)
        first, second = web.workers
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(web.workers) == 2 and first not in web.workers, "another has taken its place")
        assert second in web.workers
        every_answer_is_right(web, keys, 50)
        nothing_is_shared(web)


def test_the_processes_end_with_their_parent(database_url: str, tmp_path: Path) -> None:
    with serving_pages("web", database_url, tmp_path, ends_well=False) as web:
        workers = web.workers
        os.kill(web.program.pid, signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in workers), "both have ended")


def nothing_is_shared(web: Pages) -> None:
    """What the parent has open, every child has been given: so it has its socket alone, and no second thread."""
    parent, (first, second) = web.program.pid, web.workers
    assert len(list(Path(f"/proc/{parent}/task").iterdir())) == 1
    assert len(sockets(parent)) == 1
    assert not [each for each in open_files(parent) if "sqlite" in each]
    assert sockets(first) & sockets(second) == sockets(parent)


def every_answer_is_right(web: Pages, keys: dict[str, str], times: int = ASKED) -> None:
    def ask(number: int) -> tuple[str, int, list[str]]:
        name = NAMES[number % len(NAMES)]
        answer = requests.get(f"{web.url}/api/v1/projects", headers={"X-API-KEY": keys[name]}, timeout=60)
        items = answer.json()["items"] if answer.ok else []
        return name, answer.status_code, [item["name"] for item in items]

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(times)))
    wrong = [answer for answer in answers if answer[1:] != (200, [answer[0]])]
    assert not wrong, f"{wrong}\n{web.said()}"
