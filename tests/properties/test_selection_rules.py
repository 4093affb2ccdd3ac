"""The rules of a site: the first that matches wins, visitors keep what they drew, shares are what they say."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.selection.rules import DAYS, Match, Rule, Schedule, Share, Visit, choose, glob, matched, speaks, url_matches

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
"""A Monday."""
VISIT = Visit("https://shop.example/pricing/big?x=1#top", NOW, "visitor_1", locale="de-AT", device="mobile")
WORDS = st.text(alphabet="ab/*", max_size=12)
WEIGHTS = st.lists(st.integers(0, 5), min_size=2, max_size=5).filter(any)
VISITORS = st.text(min_size=1, max_size=12)


def everyone(_: str) -> bool:
    return True


@given(WORDS, st.text(alphabet="ab/", max_size=20))
def test_a_pattern_matches_what_a_shells_pattern_matches(pattern: str, text: str) -> None:
    assert glob(pattern, text) == fnmatchcase(text, pattern)


def test_a_malicious_pattern_takes_no_longer_than_others() -> None:
    assert not glob("*a" * 250, "a" * 249 + "b" * 2000)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("/pricing*", True),
        ("/pricing", False),
        ("shop.example/*", True),
        ("https://shop.example/pricing/big", True),
        ("http://shop.example/*", False),
        ("*.example/pricing/*", True),
        ("other.example/*", False),
    ],
)
def test_addresses_are_matched_by_path_host_or_whole(pattern: str, fits: bool) -> None:
    assert url_matches(pattern, VISIT.page_url) is fits


@pytest.mark.parametrize(("wanted", "fits"), [("de", True), ("de-AT", True), ("DE-at", True), ("de-DE", False)])
def test_a_language_means_its_dialects(wanted: str, fits: bool) -> None:
    assert speaks(wanted, VISIT.locale) is fits


@pytest.mark.parametrize(
    ("match", "reasons"),
    [
        (Match(), []),
        (Match(url=("/none", "/pricing*"), device=("mobile",)), ["url /pricing*", "device mobile"]),
        (Match(device=("desktop",)), None),
        (Match(audience=("returning",)), None),
        (Match(utm={"source": ("mail",)}), None),
        (Match(schedule=Schedule(days=("mon",))), ["schedule"]),
        (Match(schedule=Schedule(days=("tue",))), None),
    ],
)
def test_a_match_says_why(match: Match, reasons: list[str] | None) -> None:
    assert matched(match, VISIT) == reasons


@given(st.integers(0, 7 * 24 * 60 - 1))
def test_hours_over_midnight_belong_to_the_day_on_which_they_began(minutes: int) -> None:
    now = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=minutes)
    night = Schedule(days=("fri",), since=time(22), until=time(4))
    hour = minutes / 60 - 4 * 24
    assert night.holds(now) is (22 <= hour <= 28)


def test_hours_are_those_of_the_place() -> None:
    office = Schedule(since=time(9), until=time(17), timezone="America/New_York")
    assert [office.holds(NOW + timedelta(hours=later)) for later in (0, 2.5)] == [False, True]
    assert len(DAYS) == 7


@given(WEIGHTS, VISITORS)
def test_a_visitor_draws_the_same_share_every_time(weights: list[int], visitor: str) -> None:
    rule = Rule("r", Match(), tuple(Share(f"cb_{n}", weight) for n, weight in enumerate(weights)))
    visit = Visit("https://a.example/", NOW, visitor)
    first, second = choose([rule], None, visit, everyone), choose([rule], "cb_9", visit, everyone)
    assert first == second
    assert first is not None
    assert weights[int(first.chatbot_id.removeprefix("cb_"))] > 0


def test_shares_are_drawn_by_weight() -> None:
    rule = Rule("r", Match(), (Share("a", 1), Share("b", 3)))
    drawn = Counter(
        choice.chatbot_id
        for n in range(4000)
        if (choice := choose([rule], None, Visit("https://a.example/", NOW, f"v{n}"), everyone))
    )
    assert 0.7 < drawn["b"] / 4000 < 0.8


@given(st.lists(st.booleans(), max_size=6), st.sets(st.integers(0, 6)))
def test_the_first_rule_that_matches_and_has_a_chatbot_wins(fits: list[bool], gone: set[int]) -> None:
    rules = [
        Rule(f"r{n}", Match(device=("mobile" if fit else "desktop",)), (Share(str(n), 1),))
        for n, fit in enumerate(fits)
    ]
    choice = choose(rules, "default", VISIT, lambda bot: bot == "default" or int(bot) not in gone)
    winners = [n for n, fit in enumerate(fits) if fit and n not in gone]
    assert choice is not None
    assert choice.chatbot_id == (str(winners[0]) if winners else "default")
    assert (choice.rule_id is None) is (not winners)
