"""Endpointing: when speech begins, pauses and ends."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.endpoint import WINDOW, Endpointer, EndpointRules, Heard


def told(levels: str, *, playing: bool = False, rules: EndpointRules | None = None) -> list[Heard]:
    """One window a character: `#` speech, `.` silence, `~` something between."""
    endpointer, out = Endpointer(rules or EndpointRules()), []
    for n, level in enumerate(levels, 1):
        out += endpointer.push({"#": 0.95, ".": 0.02, "~": 0.42}[level], n * WINDOW, playing=playing)
    return out


def kinds(levels: str, *, playing: bool = False) -> list[str]:
    return [heard.kind for heard in told(levels, playing=playing)]


def test_speech_is_a_candidate_after_64_ms_and_certain_after_96() -> None:
    assert [(heard.kind, heard.t // WINDOW) for heard in told("..###")] == [("candidate", 4), ("start", 5)]


def test_a_click_is_retracted() -> None:
    assert kinds("##...") == ["candidate", "retract"]


def test_a_window_of_noise_is_nothing() -> None:
    assert kinds("#....#....") == []


def test_the_turn_ends_after_200_ms_of_silence_and_a_pause_is_told_before() -> None:
    events = told("####" + "." * 8)
    assert [heard.kind for heard in events] == ["candidate", "start", "pause", "end"]
    assert (events[2].t - events[2].voiced_end) * 1000 // 16_000 == 64
    assert (events[3].t - events[3].voiced_end) * 1000 // 16_000 == 224


def test_the_utterance_begins_at_its_first_voiced_window() -> None:
    assert told("..###.......")[-1].onset == 2 * WINDOW


def test_going_on_after_a_pause_resumes_the_same_utterance() -> None:
    assert kinds("####...####.......") == ["candidate", "start", "pause", "resume", "pause", "end"]


def test_a_soft_syllable_does_not_end_the_turn() -> None:
    assert kinds("####~~~~~~~~####") == ["candidate", "start"]


def test_while_the_avatar_is_heard_it_takes_longer_to_interrupt_it() -> None:
    assert kinds("#####", playing=True) == ["candidate"]
    assert kinds("######", playing=True) == ["candidate", "start"]


def test_an_endless_utterance_is_ended_at_its_cap() -> None:
    last = told("#" * 100, rules=EndpointRules(cap_ms=1_000))
    ends = [heard for heard in last if heard.kind == "end"]
    assert ends
    assert ends[0].capped


def test_the_user_may_end_the_turn_without_waiting_for_silence() -> None:
    endpointer = Endpointer()
    for n in range(1, 5):
        endpointer.push(0.9, n * WINDOW)
    assert [heard.kind for heard in endpointer.commit(4 * WINDOW)] == ["end"]
    assert endpointer.commit(5 * WINDOW) == []


@given(st.lists(st.floats(0, 1), max_size=300), st.booleans())
def test_starts_and_ends_alternate(levels: list[float], playing: bool) -> None:
    endpointer, speaking = Endpointer(), False
    for n, p in enumerate(levels, 1):
        for heard in endpointer.push(p, n * WINDOW, playing=playing):
            assert 0 <= heard.onset < heard.t
            if heard.kind == "start":
                assert not speaking
                speaking = True
            elif heard.kind == "end":
                assert speaking
                speaking = False
            elif heard.kind in ("pause", "resume"):
                assert speaking
