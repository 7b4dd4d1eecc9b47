"""What holds for the API holds where it is served to programs: `pbxhub web`, two processes, PostgreSQL."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from served import Served
from test_every_answer_matches_its_schema import test_no_request_breaks_the_api_and_every_answer_is_as_described
from test_walk_every_route import (
    test_a_list_of_a_stranger_holds_nothing_of_ours,
    test_a_stranger_finds_nothing_of_ours_and_changes_nothing,
    test_no_route_answers_without_a_key,
    test_our_own_key_finds_all_of_it,
)

from tests.support import without_limits
from tests.support.pages_server import serving_pages

__all__ = [
    "test_a_list_of_a_stranger_holds_nothing_of_ours",
    "test_a_stranger_finds_nothing_of_ours_and_changes_nothing",
    "test_no_request_breaks_the_api_and_every_answer_is_as_described",
    "test_no_route_answers_without_a_key",
    "test_our_own_key_finds_all_of_it",
]
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]


@pytest.fixture
def hub(hub: Served, database_url: str, tmp_path: Path) -> Iterator[Served]:
    command = (sys.executable, without_limits.__file__)
    with serving_pages("web", database_url, tmp_path, program=command) as web:
        assert len(web.workers) == 2
        yield replace(hub, address=web.url)
    assert "Traceback" not in web.said()
