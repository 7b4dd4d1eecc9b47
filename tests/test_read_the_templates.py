"""Templates, CSS and JavaScript are for people to read. `make lint` checks their layout; what it leaves is here."""

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
