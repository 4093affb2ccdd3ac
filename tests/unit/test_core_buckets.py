"""Token buckets: never more than the burst and what has flowed in since; whoever waits as told is let through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.buckets import Bucket

rates = st.floats(0.1, 1000)
bursts = st.floats(1, 1000)
pauses = st.lists(st.floats(0, 10), max_size=60)


def test_a_full_bucket_gives_its_burst_at_once_and_then_tells_how_long_to_wait() -> None:
    bucket = Bucket(rate=2, burst=3)
    assert [bucket.take(0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(0.5) == 0


def test_a_refusal_takes_nothing() -> None:
    bucket = Bucket(rate=1, burst=2)
    bucket.take(0, 2)
    assert bucket.take(1, 2) == bucket.take(1, 2) == 1
    assert bucket.take(1, 1) == 0


def test_a_clock_that_goes_back_gains_nothing() -> None:
    bucket = Bucket(rate=1, burst=1)
    assert bucket.take(10) == 0
    assert bucket.take(5) == 1
    assert bucket.take(10.5) == 0.5


@pytest.mark.parametrize("cost", [-1, 2.5, float("nan")])
def test_a_cost_that_can_never_be_paid_is_an_error(cost: float) -> None:
    with pytest.raises(ValueError, match="cost"):
        Bucket(rate=1, burst=2).take(0, cost)


@given(rates, bursts, pauses)
def test_no_more_is_taken_than_the_burst_and_the_inflow(rate: float, burst: float, waits: list[float]) -> None:
    bucket, now, taken = Bucket(rate, burst), 0.0, 0
    for wait in waits:
        now += wait
        taken += bucket.take(now) == 0
        assert taken <= (burst + rate * now) * (1 + 1e-9)


@given(rates, bursts, pauses, st.floats(0, 1))
def test_whoever_waits_as_told_is_let_through(rate: float, burst: float, waits: list[float], share: float) -> None:
    bucket, now = Bucket(rate, burst), 0.0
    for wait in waits:
        now += wait
        told = bucket.take(now, share * burst)
        assert 0 <= told <= burst / rate
        if told:
            now += told * (1 + 1e-6) + 1e-9
            assert bucket.take(now, share * burst) == 0
