"""Every command and program of docs/api works as it is written, in its order; every field of a callback is explained
there."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pbxhub.delivery.outbox.callbacks import callback_data
from pbxhub.store.history import StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import STATUSES, OrderedCall
from pbxhub.store.session import open_database
from tests.support.outbox_world import context_of
from tests.support.served import Served

PAGE = (Path(__file__).parents[2] / "docs" / "api" / "README.md").read_text()


@pytest.mark.slow
def test_every_command_of_the_page_works(hub: Served) -> None:
    commands = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert len(commands) >= 10
    moment = datetime.now(UTC)
    with hub.database.write() as session:  # what a webhook has not got
        session.add(StageEvent(id=new_id(), project_id=hub.project_id, stage="incoming.after", key="", ordinal=1,
                               created_on=moment, data={}))  # fmt: skip
    environ = {**os.environ, "HUB": hub.address, "KEY": hub.key("read", "write", "call", "admin")}
    for written in commands:
        command = written.replace("2026-11-28T00:00:00Z", "2000-01-01T00:00:00Z")
        command = command.replace("2026-11-29T00:00:00Z", "9999-12-31T00:00:00Z")
        done = subprocess.run(
            ["bash", "-c", command.rstrip() + " --fail-with-body"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert "errors" not in json.loads(done.stdout)


def test_the_program_of_the_page_orders_a_call_and_reads_its_status(hub: Served) -> None:
    [written] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    program = written.replace("https://pbx.example.com", hub.address).replace("pbx_…", hub.key("read", "call"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "registered\n"), done.stderr


def test_every_field_of_a_callback_and_every_status_is_explained() -> None:
    order = OrderedCall(id=new_id(), mobile_number="1", from_number="2", agent_id="101", status="registered", custom={})
    data = callback_data(context_of(open_database("sqlite:///never-opened.sqlite3")), order, None, datetime.now(UTC))
    table = PAGE.split("| field of `data`", 1)[1].split("\n\n")[0]
    assert set(data) | {"analysis"} == set(
        re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))
    )
    statuses = PAGE.split("| status | meaning |", 1)[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", statuses, re.MULTILINE) == list(STATUSES)
