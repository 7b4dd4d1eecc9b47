"""Whoever asks for an Asterisk that the kit cannot install reads which there are."""

import pytest
from click.testing import CliRunner

from pbxhub.cli import main


@pytest.mark.parametrize("command", [["random"], ["run", "."]])
def test_a_version_that_nobody_packages_is_refused_with_those_that_there_are(command: list[str]) -> None:
    done = CliRunner().invoke(main, ["scenario", *command, "--asterisk", "21"])
    assert done.exit_code == 2
    assert "'21' is not one of '22', '20', '18', '16'" in done.output
