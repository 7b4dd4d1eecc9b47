"""Calls that random scripts made on a real Asterisk give the stages that the phones saw.

tests/traces-random holds the shortest recording of each way in which the hub once told something else
(`pbxhub scenario random --out`), and expected.json what the phones saw.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pbxhub.testing.random_calls.recordings import check

TRACES = Path(__file__).parent / "traces-random"
EXPECTED: dict[str, Any] = json.loads((TRACES / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_random_call_gives_the_stages_that_the_phones_saw(name: str) -> None:
    with gzip.open(TRACES / f"{name}.ami.gz", "rt", encoding="utf-8") as lines:
        assert not check(lines, EXPECTED[name])
