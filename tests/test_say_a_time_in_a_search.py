"""A user writes a time into the search, in English or Ukrainian."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pbxhub.account.search_times import read_time

KYIV = ZoneInfo("Europe/Kyiv")
NOW = datetime(2026, 11, 29, 14, 30, tzinfo=KYIV)  # a Sunday


@pytest.mark.parametrize(
    ("text", "rest", "since", "until"),
    [
        ("067 529 89 53 yesterday afternoon", "067 529 89 53", "2026-11-28 12:00", "2026-11-28 18:00"),
        ("101 today", "101", "2026-11-29 00:00", "2026-11-30 00:00"),
        ("today", "", "2026-11-29 00:00", "2026-11-30 00:00"),
        ("Yesterday, Ivan", "Ivan", "2026-11-28 00:00", "2026-11-29 00:00"),
        ("101 the day before yesterday", "101", "2026-11-27 00:00", "2026-11-28 00:00"),
        ("101 yesterday in the morning", "101", "2026-11-28 06:00", "2026-11-28 12:00"),
        ("101 this morning", "101", "2026-11-29 06:00", "2026-11-29 12:00"),
        ("101 evening", "101", "2026-11-28 18:00", "2026-11-29 00:00"),
        ("this week", "", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("101 last week", "101", "2026-11-16 00:00", "2026-11-23 00:00"),
        ("this month", "", "2026-11-01 00:00", "2026-12-01 00:00"),
        ("last month", "", "2026-10-01 00:00", "2026-11-01 00:00"),
        ("28.11", "", "2026-11-28 00:00", "2026-11-29 00:00"),
        ("101 on 30.11", "101", "2025-11-30 00:00", "2025-12-01 00:00"),
        ("29.02 101", "101", "2024-02-29 00:00", "2024-03-01 00:00"),
        ("101 28.11.2024", "101", "2024-11-28 00:00", "2024-11-29 00:00"),
        ("101 2026-11-28 evening", "101", "2026-11-28 18:00", "2026-11-29 00:00"),
        ("101 between 10 and 12", "101", "2026-11-29 10:00", "2026-11-29 12:00"),
        ("101 between 15:30 and 17", "101", "2026-11-28 15:30", "2026-11-28 17:00"),
        ("101 yesterday from 22 to 24", "101", "2026-11-28 22:00", "2026-11-29 00:00"),
        ("yesterday between 22 and 2", "", "2026-11-28 22:00", "2026-11-29 02:00"),
        ("067 529 89 53 вчора після обіду", "067 529 89 53", "2026-11-28 12:00", "2026-11-28 18:00"),
        ("101 Сьогодні", "101", "2026-11-29 00:00", "2026-11-30 00:00"),
        ("учора вранці", "", "2026-11-28 06:00", "2026-11-28 12:00"),
        ("позавчора ввечері", "", "2026-11-27 18:00", "2026-11-28 00:00"),
        ("101 минулого тижня", "101", "2026-11-16 00:00", "2026-11-23 00:00"),
        ("101 на цьому тижні", "101", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("101 у минулому місяці", "101", "2026-10-01 00:00", "2026-11-01 00:00"),
        ("101 вчора між 10 і 12", "101", "2026-11-28 10:00", "2026-11-28 12:00"),
        ("101 вчора з 9:15 до 11", "101", "2026-11-28 09:15", "2026-11-28 11:00"),
    ],
)
def test_words_of_time_become_a_range_in_the_zone_of_the_project(text: str, rest: str, since: str, until: str) -> None:
    found = read_time(text, NOW)
    assert found is not None
    assert (found.rest, f"{found.since:%Y-%m-%d %H:%M}", f"{found.until:%Y-%m-%d %H:%M}") == (rest, since, until)
    assert (found.since.tzinfo, found.missed) == (KYIV, False)


@pytest.mark.parametrize("text", ["missed last week", "Missed calls last week", "пропущені минулого тижня",
                                  "пропущені дзвінки минулого тижня"])  # fmt: skip
def test_missed_calls_are_asked_for_by_a_word(text: str) -> None:
    found = read_time(text, NOW)
    assert found is not None
    assert (found.rest, found.missed) == ("", True)


@pytest.mark.parametrize("text", ["", "101", "missed", "192.0.2.7", "067.529.89.53", "31.02.2026", "99.99", "todays",
                                  "between 10 and 99", "last week morning", "2026-13-01",
                                  "+380 67 529 89 53"])  # fmt: skip
def test_what_says_no_time_stays_a_text(text: str) -> None:
    assert read_time(text, NOW) is None


def test_a_day_on_which_the_clock_changes_has_the_hours_of_its_clock() -> None:
    found = read_time("25.10", NOW)
    assert found is not None
    assert (found.until.astimezone(ZoneInfo("UTC")) - found.since.astimezone(ZoneInfo("UTC"))).seconds == 3600
