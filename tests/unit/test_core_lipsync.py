"""The mouth against real utterances (phones of a Piper voice, recorded) and against single sounds."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.core.lipsync import curve, frames, keys
from pipelines.core.visemes import AA, ARKIT_52, FF, KK, OCULUS_15, OU, PP, SIL, SS, Kind, sounds
from pipelines.frames import Phone, Viseme

MS = 24
CORPUS = [
    pytest.param(tuple(Phone(*row) for row in spoken["phones"]), spoken["samples"], id=spoken["text"][:24])
    for spoken in json.loads((Path(__file__).parents[1] / "corpus/phones_en.json").read_text())
]
utterances = pytest.mark.parametrize(("phones", "length"), CORPUS)


def said(*sounds: tuple[str, int]) -> tuple[tuple[Phone, ...], int]:
    """Phones of these lengths in ms, one after the other."""
    phones, at = [], 0
    for symbol, ms in sounds:
        phones.append(Phone(symbol, at, at + ms * MS, 1))
        at += ms * MS
    return tuple(phones), at


def dense(phones: tuple[Phone, ...], length: int, step: int = MS) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    times, weights = curve(phones, length)
    at = np.arange(0, length + 1, step)
    return at, np.stack([np.interp(at, times, weights[:, v]) for v in range(15)], 1)


def rebuilt(found: tuple[Viseme, ...], at: NDArray[np.int64]) -> NDArray[np.float64]:
    weights = np.zeros((len(at), 15))
    for v in range(15):
        own = [key for key in found if key.id == v]
        if own:
            weights[:, v] = np.interp(at, [key.t for key in own], [key.weight for key in own])
    return weights


def of_kind(phones: tuple[Phone, ...], *kinds: Kind) -> Iterator[Phone]:
    return (phone for phone in phones if any(sound.kind in kinds for sound in sounds(phone.symbol)))


@utterances
def test_every_p_b_and_m_shuts_the_lips_in_time(phones: tuple[Phone, ...], length: int) -> None:
    at, weights = dense(phones, length)
    for phone in of_kind(phones, Kind.BILABIAL):
        inside = (at >= phone.t0 - 40 * MS) & (at <= phone.t1 + 10 * MS)
        assert weights[inside, PP].max() >= 0.9


@utterances
def test_the_lips_are_shut_nowhere_else(phones: tuple[Phone, ...], length: int) -> None:
    at, weights = dense(phones, length)
    allowed = np.zeros(len(at), bool)
    for phone in of_kind(phones, Kind.BILABIAL):
        allowed |= (at >= phone.t0 - 40 * MS) & (at <= phone.t1 + 10 * MS)
    assert weights[~allowed, PP].max(initial=0) < 0.5


@utterances
def test_every_vowel_opens_the_mouth(phones: tuple[Phone, ...], length: int) -> None:
    at, weights = dense(phones, length)
    for phone in of_kind(phones, Kind.VOWEL, Kind.ROUNDED):
        inside = (at >= phone.t0) & (at <= phone.t1)
        assert (1 - weights[inside, PP] - weights[inside, SIL]).max() > 0.5


@utterances
def test_keys_give_the_curve_back(phones: tuple[Phone, ...], length: int) -> None:
    at, weights = dense(phones, length)
    assert np.abs(rebuilt(keys(phones, length), at) - weights).max() <= 0.05


@utterances
def test_keys_are_in_order_and_end_with_the_audio(phones: tuple[Phone, ...], length: int) -> None:
    found = keys(phones, length)
    assert [key.t for key in found] == sorted(key.t for key in found)
    assert found[0].t == 0
    assert found[-1].t == length
    assert len({(key.t, key.id) for key in found}) == len(found)


@utterances
def test_the_mouth_rests_at_both_ends(phones: tuple[Phone, ...], length: int) -> None:
    _, weights = curve(phones, length)
    for end in (weights[0], weights[-1]):
        assert end[SIL] == pytest.approx(1)
        assert np.delete(end, SIL).max() == 0


@utterances
def test_nothing_jumps_but_closing_lips(phones: tuple[Phone, ...], length: int) -> None:
    _, weights = dense(phones, length)
    jumps = np.abs(weights[16:] - weights[:-16])
    calm = np.maximum(weights[16:, PP], weights[:-16, PP]) == 0
    assert jumps[calm].max() <= 0.35


@utterances
def test_keys_take_less_than_a_kilobyte_a_second(phones: tuple[Phone, ...], length: int) -> None:
    rows = [[key.t, key.id, key.weight] for key in keys(phones, length)]
    assert len(json.dumps(rows, separators=(",", ":"))) <= 1_000 * length / 24_000 + 200


@utterances
def test_frames_show_the_same_curve(phones: tuple[Phone, ...], length: int) -> None:
    shown = frames(phones, length, 30)
    assert shown.dtype == np.uint8
    assert shown.shape == (length * 30 // 24_000 + 1, 52)
    press, jaw = (ARKIT_52.index(name) for name in ("mouthPressLeft", "jawOpen"))
    _, weights = dense(phones, length, 800)
    shut = weights[: len(shown), PP] > 0.9
    assert (shown[shut, press] > 150).all()
    assert (shown[shut, jaw] < 30).all()
    assert shown[0].max() == 0


def test_lips_lead_the_closure_and_open_with_the_vowel() -> None:
    phones, length = said(("ɑ", 150), ("m", 80), ("ɑ", 150))
    at, weights = dense(phones, length)
    shut = at[weights[:, PP] >= 0.95] / MS
    assert 125 <= shut[0] <= 150
    assert 190 <= shut[-1] <= 230


def test_f_touches_and_s_narrows_the_jaw() -> None:
    phones, length = said(("ɑ", 120), ("f", 100), ("ɑ", 120), ("s", 100), ("ɑ", 120))
    at, weights = dense(phones, length)
    assert weights[(at > 120 * MS) & (at < 220 * MS), FF].max() >= 0.8
    hiss = weights[(at > 340 * MS) & (at < 440 * MS)]
    assert hiss[:, SS].max() >= 0.7
    assert hiss[:, AA].min() <= 0.15


def test_a_tongue_sound_keeps_the_rounding_of_its_vowel() -> None:
    phones, length = said(("k", 70), ("u", 150))
    rounded = dense(phones, length)[1][55, OU]
    phones, length = said(("k", 70), ("i", 150))
    spread = dense(phones, length)[1][55, OU]
    assert rounded > 0.25
    assert spread == 0


def test_the_mouth_shuts_in_a_long_pause_and_not_in_a_short_one() -> None:
    phones, length = said(("ɑ", 120), (",", 300), ("ɑ", 120))
    assert dense(phones, length)[1][270, SIL] > 0.95
    phones, length = said(("ɑ", 120), (" ", 35), ("ɑ", 120))
    assert dense(phones, length)[1][137, SIL] < 0.3


def test_a_hole_between_phones_is_a_pause() -> None:
    phones = (Phone("ɑ", 0, 120 * MS, 1), Phone("ɑ", 420 * MS, 540 * MS, 1))
    assert dense(phones, 540 * MS)[1][270, SIL] > 0.95


def test_silence_is_a_resting_mouth() -> None:
    assert keys((), 24_000) == (Viseme(0, SIL, 1.0), Viseme(24_000, SIL, 1.0))
    assert keys((), 0) == (Viseme(0, SIL, 1.0),)
    assert not frames((), 24_000, 60).any()


def test_chunks_that_know_their_neighbours_meet_without_resting() -> None:
    first = (Phone("h", 0, 60 * MS), Phone("ɑ", 60 * MS, 200 * MS, 1))
    second = (Phone("l", 0, 80 * MS), Phone("oʊ", 80 * MS, 240 * MS, 1))
    later = tuple(Phone(p.symbol, p.t0 + 200 * MS, p.t1 + 200 * MS, p.stress) for p in second)
    earlier = tuple(Phone(p.symbol, p.t0 - 200 * MS, p.t1 - 200 * MS, p.stress) for p in first)
    _, end = curve(first, 200 * MS, after=later)
    _, start = curve(second, 240 * MS, before=earlier)
    assert end[-1, SIL] < 0.2
    assert np.abs(end[-1] - start[0]).max() < 0.1


def test_a_diphthong_moves_through_both_its_vowels() -> None:
    phones, length = said(("b", 60), ("aɪ", 200), ("k", 60))
    found = dense(phones, length)[1]
    assert found[90:140, AA].max() > 0.7
    assert found[200:250, OCULUS_15.index("I")].max() > 0.6
    assert found[60:300, KK].max() > 0.4


def test_f_touches_even_between_rounded_lips() -> None:
    phones, length = said(("u", 150), ("w", 60), ("f", 30), ("w", 60), ("u", 150))
    at, weights = dense(phones, length)
    assert weights[(at > 200 * MS) & (at < 250 * MS), FF].max() >= 0.8


def test_even_a_hasty_s_narrows_the_jaw() -> None:
    phones, length = said(("ɑ", 150), ("s", 15), ("ɑ", 150))
    at, weights = dense(phones, length)
    assert weights[(at > 130 * MS) & (at < 165 * MS), AA].min() <= 0.03
