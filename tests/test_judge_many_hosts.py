"""What `make hosts` takes for lost, doubled and late: each row is a run of four hosts, told by hand."""

import pytest

from bench.hosts.judge import Arrival, judge, recovery

PLAYED = {"1 before": 100.0, "1 after": 103.0, "2 before": 104.0}
ALL = [Arrival("1 before", "a", 100.1), Arrival("1 after", "b", 103.1), Arrival("2 before", "c", 104.1)]


@pytest.mark.parametrize(
    ("acknowledged", "arrivals", "promised", "wrong"),
    [
        (PLAYED, ALL, PLAYED, {}),
        (PLAYED, [*ALL, Arrival("1 after", "b", 130.0)], (), {}),  # sent again, and the receiver can tell
        (PLAYED, ALL[:2], (), {"lost": ["2 before"]}),
        (["1 before"], ALL[:1], (), {}),  # nobody had said that the others were written
        (["1 before"], ALL[:1], ["1 after"], {"lost": ["1 after"]}),
        (PLAYED, [*ALL, Arrival("1 after", "d", 130.0)], (), {"doubled": ["1 after"]}),
        (PLAYED, [*ALL, Arrival("3 before", "d", 130.0)], (), {"strangers": ["3 before"]}),
    ],
)
def test_lost_is_what_was_acknowledged_or_promised_and_doubled_what_has_two_ids(
    acknowledged: list[str], arrivals: list[Arrival], promised: list[str], wrong: dict[str, list[str]]
) -> None:
    verdict = judge(PLAYED, acknowledged, arrivals, promised)
    assert {name: found for name in ("lost", "doubled", "strangers") if (found := getattr(verdict, name))} == wrong
    assert verdict.is_sound is not bool(wrong)
    assert all(moment in str(verdict) for found in wrong.values() for moment in found)


def test_what_comes_again_with_its_id_is_counted_as_repeated() -> None:
    assert judge(PLAYED, PLAYED, [*ALL, *ALL[1:]]).repeated == 2


@pytest.mark.parametrize(
    ("fault", "arrivals", "seconds"),
    [
        (102.0, ALL, 0.0),
        (102.0, [ALL[0], Arrival("1 after", "b", 110.0), Arrival("2 before", "c", 109.0)], 8.0),
        (102.0, [*ALL, Arrival("1 after", "b", 130.0)], 0.0),  # the first one was in time
        (102.0, [Arrival("1 before", "a", 112.0)], 10.0),  # was under way when the fault came
        (102.0, [Arrival("1 before", "a", 103.9)], 0.0),
    ],
)
def test_recovery_ends_with_the_last_request_that_came_late(
    fault: float, arrivals: list[Arrival], seconds: float
) -> None:
    assert recovery(PLAYED, arrivals, fault) == pytest.approx(seconds)
