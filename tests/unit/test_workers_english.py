"""English to phonemes: dictionary words, derived ones, numbers and the unknown."""

import json
from pathlib import Path

import pytest

from pipelines.workers.english import PUNCTUATION, Pronouncer
from pipelines.workers.phones import VOWELS
from pipelines.workers.spelling import number_words, sound_out

GOLD = {
    "hello": "həlˈO", "the": "ði", "to": "tu", "end": "ˈɛnd", "cat": "kˈæt", "walk": "wˈɔk", "bus": "bˈʌs",
    "stop": "stˈɑp",
    "city": "sˈɪɾi", "rain": "ɹˈAn", "bow": "bˈO", "make": "mˈAk", "A": "ˈA", "M": "ˈɛm", "P": "pˈi", "am": "æm",
    "live": {"DEFAULT": "lˈIv", "VERB": "lˈɪv"}, "five": "fˈIv", "nasa": "nˈæsə", "B": "bˈi", "C": "sˈi",
}  # fmt: skip


@pytest.fixture
def english(tmp_path: Path) -> Pronouncer:
    (tmp_path / "us_gold.json").write_text(json.dumps(GOLD))
    (tmp_path / "us_silver.json").write_text(json.dumps({"hello": "wrong", "silver": "sˈɪlvəɹ"}))
    return Pronouncer(tmp_path, "us")


def said(english: Pronouncer, text: str) -> list[str]:
    return [sounds for sounds, _, _ in english.read(text)]


@pytest.mark.parametrize(
    ("text", "sounds"),
    [
        ("hello", ["həlˈO"]),
        ("Hello, silver!", ["həlˈO,", "sˈɪlvəɹ!"]),
        ("live", ["lˈIv"]),
        ("the cat", ["ðə", "kˈæt"]),
        ("the end", ["ði", "ˈɛnd"]),
        ("to the end to", ["tə", "ði", "ˈɛnd", "tu"]),
        ("cats", ["kˈæts"]),
        ("buses", ["bˈʌsᵻz"]),
        ("cities", ["sˈɪɾiz"]),
        ("cat's", ["kˈæts"]),
        ("walked", ["wˈɔkt"]),
        ("stopped", ["stˈɑpt"]),
        ("making", ["mˈAkɪŋ"]),
        ("rainbow", ["ɹˈAnbˌO"]),
        ("NASA", ["nˈæsə"]),
        ("ABC", ["ˈAbˈisˈi"]),
        ("5 am", ["fˈIv", "ˈAˈɛm"]),
        ("5 p.m.", ["fˈIv", "pˈiˈɛm"]),
        ("cat-cat", ["kˈæt kˈæt"]),
        ("“hello”", ["“həlˈO”"]),
    ],
)
def test_words_are_read_as_people_say_them(english: Pronouncer, text: str, sounds: list[str]) -> None:
    assert said(english, text) == sounds


def test_each_word_keeps_its_characters(english: Pronouncer) -> None:
    text = "Hello, - the 'cat'."
    assert [text[c0:c1] for _, c0, c1 in english.read(text)] == ["Hello,", "the", "'cat'."]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("0", "zero"),
        ("42", "forty two"),
        ("1,250", "one thousand two hundred and fifty"),
        ("1984", "nineteen eighty four"),
        ("1905", "nineteen oh five"),
        ("1980s", "nineteen eighties"),
        ("2000", "two thousand"),
        ("3rd", "third"),
        ("20th", "twentieth"),
        ("21st", "twenty first"),
        ("25%", "twenty five percent"),
        ("2.50", "two point five zero"),
        ("9:30", "nine thirty"),
        ("9:05", "nine oh five"),
        ("9:00", "nine o'clock"),
        ("$1", "one dollar"),
        ("$9.99", "nine dollars and ninety nine cents"),
        ("£3.5", "three pounds and fifty pence"),
        ("007", "zero zero seven"),
        ("1,000,001", "one million one"),
        ("12345678901234", "one two three four five six seven eight nine zero one two three four"),
    ],
)
def test_numbers_are_said_as_written(number: str, words: str) -> None:
    assert " ".join(number_words(number)) == words


@pytest.mark.parametrize("word", ["blorptastic", "zyxxle", "quue", "e", "strengthe", "kubernetes", "tsktsk"])
def test_an_unknown_word_is_sounded_out(word: str) -> None:
    sounds = sound_out(word)
    assert sounds
    assert set(sounds) <= VOWELS | set("ˈbdfhjklmnpstvwzðŋɡɹʃʒʤʧθ")


def test_a_silent_e_makes_the_vowel_before_it_long() -> None:
    assert (sound_out("zate"), sound_out("zat")) == ("zˈAt", "zˈæt")


def test_what_has_no_letters_is_only_punctuation(english: Pronouncer) -> None:
    assert all(set(sounds) <= PUNCTUATION for sounds in said(english, "... – 🙂 !"))
