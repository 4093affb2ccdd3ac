"""Pacing by the sample clock."""

import pytest

from pipelines.core.timeline import Pacer

RATE = 24_000


def stream(pacer: Pacer, now: float, total: int, piece: int = 2_400) -> float:
    """Sends `total` samples as fast as the pacer lets it; returns the time when all are out."""
    for _ in range(total // piece):
        while (wait := pacer.wait(piece, now)) > 0:
            now += wait
        pacer.send(piece, now)
        assert pacer.sent - pacer.playhead(now) <= 2 * RATE
    return now


def test_two_seconds_leave_at_once_and_the_rest_in_real_time() -> None:
    pacer = Pacer()
    assert stream(pacer, 100.0, 2 * RATE) == 100.0
    assert stream(pacer, 100.0, 3 * RATE) == pytest.approx(103.0)


def test_the_first_piece_never_waits() -> None:
    assert Pacer().wait(10 * RATE, 5.0) == 0


def test_a_report_moves_the_playhead() -> None:
    pacer = Pacer()
    pacer.send(2 * RATE, 0.0)
    pacer.report(0, 1.0)
    assert pacer.playhead(1.0) == 0
    assert pacer.playhead(1.5) == RATE // 2
    assert pacer.wait(RATE // 10, 1.0) > 0
    pacer.report(RATE, 1.1)
    assert pacer.wait(RATE // 10, 1.1) == 0


def test_waits_are_short_so_that_a_report_meanwhile_counts() -> None:
    pacer = Pacer()
    pacer.send(2 * RATE, 0.0)
    assert pacer.wait(RATE, 0.0) == 0.25


def test_the_playhead_never_passes_what_was_sent() -> None:
    pacer = Pacer()
    pacer.send(RATE, 0.0)
    assert pacer.playhead(60.0) == RATE
    pacer.report(5 * RATE, 60.0)
    assert pacer.playhead(61.0) == RATE


def test_after_running_dry_the_clock_starts_again_with_the_next_piece() -> None:
    pacer = Pacer()
    pacer.send(RATE, 0.0)
    pacer.send(RATE, 10.0)
    assert pacer.playhead(10.5) == RATE + RATE // 2


def test_a_paused_listener_hears_nothing_more() -> None:
    pacer = Pacer()
    pacer.send(2 * RATE, 0.0)
    pacer.report(RATE, 1.0, playing=False)
    assert pacer.playhead(30.0) == RATE
    assert pacer.wait(RATE, 30.0) == 0
    pacer.send(RATE, 30.0)
    assert pacer.wait(RATE // 10, 60.0) > 0
    pacer.report(RATE, 61.0)
    assert pacer.playhead(61.5) == RATE + RATE // 2


def test_a_listener_who_stops_reporting_holds_the_response_back() -> None:
    pacer = Pacer()
    pacer.send(2 * RATE, 0.0)
    pacer.report(100, 0.1)
    pacer.send(2 * RATE, 2.0)
    assert pacer.playhead(60.0) == 100 + 2 * RATE


def test_a_late_report_cannot_unhear() -> None:
    pacer = Pacer()
    pacer.send(2 * RATE, 0.0)
    pacer.report(RATE, 1.0)
    pacer.report(RATE // 2, 1.1)
    assert pacer.playhead(1.1) == RATE


def test_a_piece_longer_than_the_window_leaves_before_the_sound_runs_dry() -> None:
    pacer = Pacer()
    pacer.send(2 * RATE, 0.0)
    assert pacer.wait(10 * RATE, 1.0) == 0
