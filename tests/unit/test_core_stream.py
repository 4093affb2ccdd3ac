"""The outgoing stream: numbered, replayable, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.stream import Out, Overrun, ResumeGap, Stream


def sent(stream: Stream) -> list[Out]:
    """Everything that may be sent now."""
    return list(iter(stream.take, None))


def test_a_client_that_does_not_acknowledge_gets_no_more_than_the_window() -> None:
    stream = Stream(window=100, limit=1000)
    for _ in range(10):
        stream.push("txt", "{}", 40)
    assert [out.seq for out in sent(stream)] == [1, 2]
    stream.ack(1)
    assert [out.seq for out in sent(stream)] == [3]


def test_an_event_larger_than_the_window_goes_alone() -> None:
    stream = Stream(window=100, limit=1000)
    stream.push("txt", "{}", 500)
    stream.push("txt", "{}", 10)
    assert [out.seq for out in sent(stream)] == [1]


def test_beyond_the_budget_nothing_is_kept() -> None:
    stream = Stream(window=100, limit=1000)
    stream.push("txt", "{}", 900)
    with pytest.raises(Overrun):
        stream.push("txt", "{}", 200)
    assert (stream.last, stream.waiting_bytes) == (1, 900)


def test_media_take_no_number_and_are_forgotten_when_they_have_been_heard() -> None:
    stream = Stream()
    stream.push("seg", "{}", 10)
    stream.push_media("audio", b"x", 100, 1, 50)
    stream.push_media("audio", b"y", 100, 1, 100)
    stream.push("resp.end", "{}", 10)
    assert [(out.name, out.seq) for out in sent(stream)] == [("seg", 1), ("audio", 1), ("audio", 1), ("resp.end", 2)]
    stream.ack(2)
    assert stream.waiting_bytes == 200
    stream.heard(1, 60)
    assert stream.waiting_bytes == 100
    stream.heard(2, 0)
    assert stream.waiting_bytes == 0


def test_media_do_not_use_up_the_window_of_the_events() -> None:
    stream = Stream(window=100, limit=10_000)
    stream.push("seg", "{}", 10)
    for n in range(50):
        stream.push_media("audio", b"x", 100, 1, n)
    stream.push("cut", "{}", 10)
    assert [out.name for out in sent(stream)][-1] == "cut"


def test_what_was_not_heard_is_sent_again_after_a_cut() -> None:
    stream = Stream()
    stream.push("seg", "{}", 10)
    for n in (1, 2, 3):
        stream.push_media("audio", b"x", 10, 1, n * 100)
    sent(stream)
    stream.push_media("audio", b"x", 10, 1, 400)
    stream.resume(1, rid=1, played=150)
    assert [(out.name, out.end) for out in sent(stream)] == [("audio", 200), ("audio", 300), ("audio", 400)]


def test_a_reset_forgets_everything_but_the_number() -> None:
    stream = Stream()
    stream.push("txt", "{}", 10)
    stream.reset()
    assert (stream.last, stream.waiting_bytes, sent(stream)) == (1, 0, [])
    assert stream.push("txt", "{}", 10) == 2


def test_an_acknowledgement_of_what_was_never_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="ahead"):
        Stream().ack(1)


def test_what_was_forgotten_cannot_be_resumed() -> None:
    stream = Stream()
    for _ in range(3):
        stream.push("txt", "{}", 1)
    sent(stream)
    stream.ack(2)
    with pytest.raises(ResumeGap):
        stream.resume(1)


@given(st.lists(st.tuples(st.sampled_from(["push", "send", "ack", "cut"]), st.integers(0, 40)), max_size=120))
def test_through_any_cuts_each_event_is_seen_once_and_in_order(script: list[tuple[str, int]]) -> None:
    stream = Stream(window=60, limit=10_000)
    seen: list[int] = []

    def receive() -> None:
        for out in sent(stream):
            if out.seq == (seen[-1] if seen else 0) + 1:
                seen.append(out.seq)

    for what, n in script:
        if what == "push":
            stream.push("txt", "{}", n + 1)
        elif what == "send":
            receive()
        elif what == "ack" and seen:
            stream.ack(seen[-1 - n % len(seen)])
        elif what == "cut":
            stream.resume(seen[-1] if seen else 0)
    for _ in range(200):
        receive()
        if seen:
            stream.ack(seen[-1])
    assert seen == list(range(1, stream.last + 1))
    assert stream.waiting_bytes == 0
