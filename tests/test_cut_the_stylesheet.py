"""A reader of the pages loads of Tabler's stylesheet what the pages use, and nothing else."""

import gzip

from tests.support.cut_tabler import CUT, cut


def test_the_stylesheet_is_what_the_pages_use() -> None:
    assert CUT.read_text() == cut(), "run python -m tests.support.cut_tabler"


def test_it_is_small_and_whole() -> None:
    css = CUT.read_text()
    assert css.count("{") == css.count("}")
    for rule in (".btn-primary{", ".form-control{", ".card{", ".visually-hidden", "@media"):
        assert rule in css, rule
    assert len(gzip.compress(css.encode(), 9)) < 40_000
