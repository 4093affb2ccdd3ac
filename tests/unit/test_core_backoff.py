"""How long to wait before trying again."""

import pytest

from server.core.backoff import backoff


def test_the_wait_doubles_up_to_its_most() -> None:
    waits = [backoff(n, first=1, most=10, chance=1) for n in (1, 2, 3, 4, 5, 6, 5000)]
    assert waits == [1, 2, 4, 8, 10, 10, 10]


def test_chance_spreads_the_upper_half() -> None:
    assert [backoff(3, first=1, most=10, chance=chance) for chance in (0, 0.5, 1)] == [2, 3, 4]


@pytest.mark.parametrize(
    ("attempt", "first", "most", "chance"), [(0, 1, 2, 0), (1, 0, 2, 0), (1, 3, 2, 0), (1, 1, 2, 2)]
)
def test_what_makes_no_sense_is_refused(attempt: int, first: float, most: float, chance: float) -> None:
    with pytest.raises(ValueError, match="attempts count from 1"):
        backoff(attempt, first=first, most=most, chance=chance)
