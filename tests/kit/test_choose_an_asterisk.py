"""Whoever asks for an Asterisk that the kit cannot install reads why, and which there are."""

import pytest
from click.testing import CliRunner

from pbxhub.cli import main


@pytest.mark.parametrize("command", [["random"], ["run", "."]])
@pytest.mark.parametrize("version", ["18", "20"])
def test_a_version_without_a_debian_package_is_refused_with_the_reason(command: list[str], version: str) -> None:
    done = CliRunner().invoke(main, ["scenario", *command, "--asterisk", version])
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert f"Asterisk {version} cannot be had: the kit installs Debian's packages" in said
    assert "Use --asterisk 22 or --asterisk 16." in said
