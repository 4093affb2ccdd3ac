"""Whatever sounds a voice reports, the mouth stays a mouth."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.lipsync import curve, frames, keys
from pipelines.core.visemes import OCULUS_15, PP, Kind, sounds
from pipelines.frames import Phone

SYMBOLS = st.sampled_from(
    [*"pbmfvθðtdkɡsznlɹwjhŋʃɑæəɛɜɪiɔoʊuɐʌ ,.^ʔɾᵻɚ", "aɪ", "tʃ", "ɑː", "ɔ̃", "W", "ˈ", "ー", "7", ""]
)


@st.composite
def speech(draw: st.DrawFn) -> tuple[tuple[Phone, ...], int]:
    phones, at = [], draw(st.integers(0, 5_000))
    for symbol in draw(st.lists(SYMBOLS, max_size=40)):
        length = draw(st.integers(0, 6_000))
        phones.append(Phone(symbol, at, at + length, draw(st.integers(0, 2))))
        at += length + draw(st.sampled_from([0, 0, 0, 300, 5_000]))
    return tuple(phones), at + draw(st.integers(0, 5_000))


@settings(deadline=None)
@given(speech())
def test_weights_stay_between_0_and_1_and_rest_at_the_ends(spoken: tuple[tuple[Phone, ...], int]) -> None:
    times, weights = curve(*spoken)
    assert (np.diff(times) > 0).all()
    assert times[0] == 0
    assert times[-1] == spoken[1]
    assert weights.min() >= 0
    assert weights.sum(1).max() <= 1.0001
    assert weights[[0, -1], 1:].max() < 0.001


@settings(deadline=None)
@given(speech())
def test_keys_give_the_curve_back_in_order(spoken: tuple[tuple[Phone, ...], int]) -> None:
    times, weights = curve(*spoken)
    found = keys(*spoken)
    assert [key.t for key in found] == sorted(key.t for key in found)
    for v in range(len(OCULUS_15)):
        own = [key for key in found if key.id == v]
        again = np.interp(times, [k.t for k in own], [k.weight for k in own]) if own else np.zeros(len(times))
        assert np.abs(again - weights[:, v]).max() <= 0.05


@settings(deadline=None)
@given(speech())
def test_only_closing_lips_jump(spoken: tuple[tuple[Phone, ...], int]) -> None:
    times, weights = curve(*spoken)
    open_ = np.maximum(weights[1:, PP], weights[:-1, PP]) == 0
    slope = np.abs(np.diff(weights, axis=0)).max(1) / np.diff(times)
    assert slope[open_].max(initial=0) * 16 * 24 <= 0.36


@settings(deadline=None)
@given(speech())
def test_lips_shut_at_every_bilabial_of_20_ms_or_more(spoken: tuple[tuple[Phone, ...], int]) -> None:
    times, weights = curve(*spoken)
    for phone in spoken[0]:
        if phone.t1 - phone.t0 >= 480 and [sound.kind for sound in sounds(phone.symbol)] == [Kind.BILABIAL]:
            at = np.arange(max(0, phone.t0 - 960), min(phone.t1 + 240, spoken[1]) + 1, 24)
            assert np.interp(at, times, weights[:, PP]).max() >= 0.9


@settings(deadline=None)
@given(speech(), st.sampled_from([30, 60]))
def test_frames_cover_the_audio(spoken: tuple[tuple[Phone, ...], int], fps: int) -> None:
    assert frames(*spoken, fps).shape == (spoken[1] * fps // 24_000 + 1, 52)
