"""Phones and words on the audio clock, from the symbols a voice gives."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.workers import phones

SYMBOLS = list("_ ˈˌː.,^$?ʲabptsɪʊɹðə")


def timed(text: str, samples: int = 10) -> list[phones.Timed]:
    return [(symbol, samples) for symbol in text]


def test_a_pads_time_goes_to_the_phone_after_it() -> None:
    assert phones.fold([("p", 10), ("_", 30), ("a", 10)]) == [("p", 0, 10, 0), ("a", 10, 50, 0)]


def test_a_stress_mark_is_of_the_vowel_after_it() -> None:
    assert phones.fold(timed("bˈa")) == [("b", 0, 10, 0), ("a", 10, 30, 1)]
    assert phones.fold(timed("ˌɪ")) == [("ɪ", 0, 20, 2)]


def test_a_stress_mark_before_consonants_waits_for_the_vowel() -> None:
    assert [(p[0], p[3]) for p in phones.fold(timed("ˈsta"))] == [("s", 0), ("t", 0), ("a", 1)]


def test_a_length_mark_belongs_to_the_sound_before_it() -> None:
    assert phones.fold(timed("aː_t")) == [("a", 0, 20, 0), ("t", 20, 40, 0)]


def test_a_space_is_not_a_shut_mouth() -> None:
    assert phones.fold(timed("a b")) == [("a", 0, 10, 0), ("b", 10, 30, 0)]


def test_a_space_after_punctuation_is_part_of_the_pause() -> None:
    assert phones.fold(timed("a_,_ _b")) == [("a", 0, 10, 0), ("sil", 10, 50, 0), ("b", 50, 70, 0)]


def test_punctuation_and_the_ends_are_silence_and_neighbouring_silences_are_one() -> None:
    assert [p[0] for p in phones.fold(timed("^_a_._$"))] == ["sil", "a", "sil"]


@given(st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(0, 500)), max_size=40))
def test_phones_have_no_gaps_and_sum_to_the_audio(symbols: list[phones.Timed]) -> None:
    said = phones.fold(symbols)
    assert all(a[2] == b[1] for a, b in pairwise(said))
    if said:
        assert said[0][1] == 0
        assert said[-1][2] == sum(n for _, n in symbols)


@given(st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 500)), min_size=1, max_size=40), st.integers(0, 900))
def test_phones_still_cover_the_audio_after_resampling_and_a_cut(symbols: list[phones.Timed], start: int) -> None:
    samples = round(sum(n for _, n in symbols) * 24000 / 22050)
    start = min(start, samples - 1)
    said = phones.fit(phones.rescale(phones.fold(symbols), 22050, 24000, samples), start, samples - start)
    if said:
        assert (said[0][1], said[-1][2]) == (0, samples - start)
        assert all(a[2] == b[1] for a, b in pairwise(said))


def test_guessed_durations_sum_to_the_audio_and_vowels_are_longer() -> None:
    guessed = phones.guess(list("^pˈa."), 1000)
    assert sum(n for _, n in guessed) == 1000
    assert dict(guessed)["a"] > dict(guessed)["p"] > 0


SPOKEN = {"What": "wʌt", "of": "ʌv", "the": "ðə", "10": "tɛn", "end?": "ɛnd", "-": ""}


def said(text: str) -> list[phones.Phone]:
    return phones.fold(timed(text))


def test_each_word_spans_its_own_sounds() -> None:
    assert phones.words("What end?", said("wʌt ɛnd"), SPOKEN.__getitem__) == [(0, 30, 0, 4), (30, 70, 5, 9)]


def test_words_that_run_together_are_told_apart() -> None:
    words = phones.words("What of the end?", said("wʌt ʌvðə ɛnd"), SPOKEN.__getitem__)
    assert [(t0, t1) for t0, t1, *_ in words] == [(0, 30), (30, 60), (60, 80), (80, 120)]


def test_a_sound_that_the_clause_adds_goes_with_the_word_before() -> None:
    words = phones.words("the end?", said("ðə j ɛnd"), SPOKEN.__getitem__)
    assert [t0 for t0, *_ in words] == [0, 40]


def test_marks_between_words_are_not_words() -> None:
    assert [w[2:] for w in phones.words("the - end?", said("ðə ɛnd"), SPOKEN.__getitem__)] == [(0, 3), (6, 10)]


def test_words_without_known_sounds_share_the_time_by_their_letters() -> None:
    words = phones.words("ab cdef", said("taptap"), lambda word: [])
    assert words == [(0, 20, 0, 2), (20, 60, 3, 7)]


@given(st.lists(st.sampled_from(sorted(SPOKEN)), min_size=1, max_size=8), st.text(SYMBOLS, max_size=30))
def test_words_never_go_back_in_time_whatever_was_said(tokens: list[str], symbols: str) -> None:
    text = " ".join(tokens)
    words = phones.words(text, said(symbols), SPOKEN.__getitem__)
    edges = [t for t0, t1, *_ in words for t in (t0, t1)]
    assert edges == sorted(edges)


@pytest.mark.parametrize("symbol", list("_ˈː. "))
def test_marks_are_no_sounds(symbol: str) -> None:
    assert not phones.is_sound(symbol)


def test_a_last_sound_ends_where_nothing_is_heard_any_more() -> None:
    spoken = [("a", 0, 100, 1), ("z", 100, 900, 0), ("sil", 900, 1000, 0)]
    assert phones.hush(spoken, 300) == [("a", 0, 100, 1), ("z", 100, 300, 0), ("sil", 300, 1000, 0)]
    assert phones.hush(spoken[:2], 300) == [("a", 0, 100, 1), ("z", 100, 300, 0), ("sil", 300, 900, 0)]
    assert phones.hush(spoken, 950) == spoken
