"""Templates, CSS and JavaScript are for people to read. `make lint` checks their layout; what it leaves is here."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 200


def test_no_line_is_longer_than_a_screen_is_wide() -> None:
    files = [*ROOT.glob("templates/**/*.html"), *ROOT.glob("static/**/*.css"), *ROOT.glob("static/**/*.js")]
    own = [file for file in files if "vendor" not in file.parts]
    assert len(own) > 80
    long = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in own
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if len(line) > LONGEST
    ]
    assert long == []


def test_no_address_leaves_the_path_that_the_hub_is_served_under() -> None:
    """request.path is without PBXHUB_PUBLIC_URL's path: on a page it stands after request.script_root only."""
    bare = re.compile(r"(?<!request\.script_root ~ )request\.(full_)?path\b")
    own = sorted(ROOT.glob("templates/**/*.html"))
    assert [str(file.relative_to(ROOT)) for file in own if bare.search(file.read_text())] == []
