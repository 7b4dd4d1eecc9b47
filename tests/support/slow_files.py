"""What the fast tests of `make check` leave to `make test`, so that they take less than a minute on two cores, and what
begins first in `make test`, so that it takes less than half an hour.

Fast is what takes less than 0.2 s on a quiet machine (`make fast PYTEST=--durations=50` shows the slowest)
and needs no PostgreSQL, see conftest.py. Slower are tests that start processes, wait for a clock or another thread, try
thousands of values or send hundreds of pages. A slow test is marked `slow` where it stands; a file of which most tests
are slow is listed here. Checks of the code and of its texts stay fast whatever they take: every change may break them.
"""

from itertools import islice
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SLOW_FILES = frozenset(
    {
        "api/test_every_answer_matches_its_schema.py",
        "api/test_read_without_secrets.py",
        "api/test_say_the_same_at_both_doors.py",
        "api/test_search_the_journal.py",
        "api/test_send_odd_input.py",
        "api/test_walk_every_route.py",
        "kit/test_listen_to_a_call.py",
        "kit/test_two_phones_and_no_pbx.py",
        "test_back_up_and_restore.py",
        "test_claim_among_many_webhooks.py",
        "test_delete_dead_code.py",
        "test_follow_big_and_long_calls.py",
        "test_forget_nothing_at_a_restart.py",
        "test_go_on_after_a_restart.py",
        "test_hostile_values_keep_the_structure.py",
        "test_install_the_wheel.py",
        "test_keep_the_order_of_a_call.py",
        "test_keep_the_pages_answering.py",
        "test_let_users_back_in.py",
        "test_listen_to_a_pbx.py",
        "test_live_through_any_fault.py",
        "test_lose_and_find_a_pbx.py",
        "test_migrate_a_database.py",
        "test_move_a_database.py",
        "test_prune_history.py",
        "test_publish_many_pbxs.py",
        "test_release_a_version.py",
        "test_run_the_hub.py",
        "test_serve_pages_from_two_processes.py",
        "test_start_commands_at_once.py",
        "test_start_with_another_key.py",
        "test_survive_a_full_database.py",
        "test_survive_hostile_events.py",
        "test_upgrade_beside_others.py",
        "web/test_check_a_pbx.py",
        "web/test_do_the_same_at_once.py",
        "web/test_filter_deliveries.py",
        "web/test_invite_a_colleague.py",
        "web/test_keep_attackers_out.py",
        "web/test_read_long_lists.py",
        "web/test_send_odd_input.py",
        "web/test_serve_under_a_path.py",
        "web/test_slow_down_guessing.py",
        "web/test_use_a_code_once.py",
        "web/test_walk_every_route.py",
    }
)

LONG_FILES = (
    "asterisk/test_tell_of_a_killed_asterisk.py",
    "asterisk/test_random_calls.py",
    "test_share_pbxs.py",
    "test_hostile_values_keep_the_structure.py",
    "test_wait_for_an_answer.py",
    "test_build_the_image.py",
    "test_install_on_a_server.py",
    "test_upgrade_beside_others.py",
    "test_live_with_wrong_clocks.py",
    "kit/test_follow_the_documentation.py",
    "api/test_every_answer_matches_its_schema.py",
    "test_move_a_database.py",
    "web/test_walk_every_route.py",
)
"""Files with tests of half a minute and more (`make test PYTEST=--durations=10` shows them). They begin first: begun
last, one would keep `make test` waiting while the other processes have nothing left to do."""


def long_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests in the order in which they begin. Each of the workers gets an equal part of the list, and takes from
    another's end when its own part is done: long files are dealt out to the beginnings of the parts."""
    long = {name: [item for item in items if name_of(item.path) == name] for name in LONG_FILES}
    dealt = [tests for tests in long.values() if tests]
    others = iter([item for item in items if name_of(item.path) not in long])
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        part = (len(items) - len(ordered)) // (workers - worker)
        begun = [test for tests in dealt[worker::workers] for test in tests]
        ordered += [*begun, *islice(others, max(0, part - len(begun)))]
    return ordered


def name_of(path: Path) -> str:
    """As the lists name the file."""
    return path.relative_to(TESTS).as_posix()
