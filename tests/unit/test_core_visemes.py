"""The table of mouth shapes."""

import unicodedata

import pytest

from avatars import rigs
from pipelines.core.visemes import ARKIT_52, ARKIT_OF_OCULUS, AZURE_22, OCULUS_15, PAUSE, Kind, sounds

# Every letter espeak-ng's Piper voices may emit, of all languages.
PIPER = (
    "abcdefhijklmnopqrstuvwxyzæçðøħŋœǀǁǂǃɐɑɒɓɔɕɖɗɘəɚɛɜɞɟɠɡɢɣɤɥɦɧɨɪɫɬɭɮɯɰɱɲɳɴɵɶɸɹɺɻɽɾʀʁʂʃʄʈʉʊʋʌʍʎʏʐʑʒʔʕʘʙʛʜʝʟʡʢβθχᵻⱱεg"
)
MARKS = "ˈˌːˑ˞ʰʲ̧̩̪̯̃ˤ0123456789'"


def shown(symbol: str) -> list[str]:
    return [OCULUS_15[max(sound.mix, key=lambda m: m[1])[0]] for sound in sounds(symbol)]


@pytest.mark.parametrize("symbol", PIPER)
def test_every_letter_of_espeak_has_one_sound(symbol: str) -> None:
    (sound,) = sounds(symbol)
    assert sound is not PAUSE
    assert 0 < sum(weight for _, weight in sound.mix) <= 1


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_has_no_sound_and_changes_none(mark: str) -> None:
    assert sounds(mark) == ()
    if unicodedata.combining(mark) or mark in "ːʰʲ":
        assert shown("e" + mark) == ["E"]


@pytest.mark.parametrize("symbol", [",", ".", " ", "", "^", "$", "_", "sil", "…"])
def test_punctuation_is_a_pause(symbol: str) -> None:
    assert sounds(symbol) == (PAUSE,)


@pytest.mark.parametrize(
    ("symbol", "visemes"),
    [
        ("p", ["PP"]),
        ("v", ["FF"]),
        ("ð", ["TH"]),
        ("tʃ", ["DD", "CH"]),
        ("ʤ", ["DD", "CH"]),
        ("aɪ", ["aa", "I"]),
        ("A", ["E", "I"]),
        ("oʊ", ["O", "U"]),
        ("ɜː", ["E"]),
        ("ɚ", ["RR"]),
        ("ɔ̃", ["O"]),
        ("ŋ", ["kk"]),
        ("w", ["U"]),
    ],
)
def test_sounds_show_their_visemes(symbol: str, visemes: list[str]) -> None:
    assert shown(symbol) == visemes


def test_unknown_letters_leave_the_lips_alone() -> None:
    assert sounds("ж")[0].kind is Kind.TONGUE
    assert shown("é") == ["E"]


def test_the_tables_fit_each_other() -> None:
    assert ARKIT_OF_OCULUS.shape == (len(OCULUS_15), len(ARKIT_52)) == (15, 52)
    assert len(set(ARKIT_52)) == 52
    assert ((ARKIT_OF_OCULUS >= 0) & (ARKIT_OF_OCULUS <= 1)).all()
    assert not ARKIT_OF_OCULUS[0].any()
    assert len(set(AZURE_22)) == 15
    assert set(AZURE_22) <= set(range(22))


def test_models_are_known_by_the_same_names() -> None:
    assert [name.removeprefix("viseme_") for name in rigs.OCULUS] == list(OCULUS_15)
    assert set(rigs.ARKIT) == set(ARKIT_52)
