"""What the body does while a clause is said."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from pipelines.core.motion import EMOTIONS, GESTURES, cues, emotion
from pipelines.frames import Cue, Phone, SpeechChunk, Word

CORPUS = json.loads((Path(__file__).parents[1] / "corpus/phones_en.json").read_text())


def chunk(text: str, *, t0: int = 0, spread: int = 9_600) -> SpeechChunk:
    """A chunk whose words take 0.4 s each: a stressed vowel between two consonants."""
    words, phones, at = [], [], 0
    for n, word in enumerate(text.split()):
        c0, start = text.index(word, at), n * spread
        at = c0 + len(word)
        words.append(Word(start, start + spread, c0, at))
        phones += [
            Phone("t", start, start + 2_400),
            Phone("ɑ", start + 2_400, start + 7_200, 1),
            Phone("t", start + 7_200, start + spread),
        ]
    return SpeechChunk(1, 0, t0, b"\0\0" * (len(words) * spread), tuple(phones), tuple(words), (), text)


def recorded(n: int) -> SpeechChunk:
    spoken = CORPUS[n]
    phones = tuple(Phone(*row) for row in spoken["phones"])
    return SpeechChunk(1, 0, 1_000, b"\0\0" * spoken["samples"], phones, (), (), spoken["text"])


def named(found: tuple[Cue, ...], name: str) -> list[Cue]:
    return [cue for cue in found if cue.name == name]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("The shop opens at nine.", "neutral"),
        ("I'm sorry, that is broken.", "concern"),
        ("No problem, don't worry.", "warmth"),
        ("Wow, really!", "surprise"),
        ("That is wonderful news.", "joy"),
        ("Hello and welcome.", "warmth"),
        ("Hmm, let me think.", "thinking"),
        ("Which colour do you want?", "curiosity"),
        ("Das ist leider nicht möglich.", "concern"),
    ],
)
def test_words_and_marks_tell_the_emotion(text: str, name: str) -> None:
    assert emotion(text)[0] == name
    assert (emotion(text)[1] > 0) == (name != "neutral")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Hello my friend.", "wave"),
        ("Yes, that works.", "nod"),
        ("That is not possible.", "shake"),
        ("Which one is it?", "tilt"),
        ("First, open the door.", "explain"),
        ("2. Turn the key.", "explain"),
        ("Many thanks for waiting.", "heart"),
        ("I don't know that.", "shrug"),
        ("Here is the list.", "offer"),
    ],
)
def test_content_calls_for_a_gesture(text: str, name: str) -> None:
    assert len(named(cues(chunk(text)), name)) == 1


def test_a_gesture_comes_with_its_word() -> None:
    (shake,) = named(cues(chunk("That is not possible.", t0=500)), "shake")
    assert shake.t == 500 + 2 * 9_600


def test_the_head_beats_on_stressed_content_words_only() -> None:
    found = named(cues(chunk("the train with the luggage of the visitors")), "beat")
    assert [cue.t // 9_600 for cue in found] == [1, 4, 7]


def test_beats_keep_their_distance_and_the_last_stress_is_strongest() -> None:
    beats = named(cues(chunk("red green blue yellow black", spread=4_800)), "beat")
    assert all(b.t - a.t >= 12_000 for a, b in pairwise(beats))
    assert beats[-1].amp == max(cue.amp for cue in beats)


def test_eyes_blink_where_phrases_end() -> None:
    found = named(cues(recorded(11)), "blink")
    assert len(found) == 4
    assert all(cue.type == "blink" for cue in found)


@pytest.mark.parametrize("n", range(len(CORPUS)))
def test_cues_are_ordered_inside_the_chunk_and_of_known_names(n: int) -> None:
    spoken = recorded(n)
    found = cues(spoken)
    assert found == cues(spoken)
    assert [cue.t for cue in found] == sorted(cue.t for cue in found)
    for cue in found:
        assert spoken.t0 <= cue.t <= spoken.t0 + spoken.samples
        assert cue.name in {*EMOTIONS, *GESTURES, "blink"}
        assert 0 < cue.amp <= 1
        assert cue.dur > 0
        assert cue.turn == 1


def test_a_chunk_does_not_act_out_the_words_of_another() -> None:
    whole = chunk("That is not possible.")
    first = SpeechChunk(1, 0, 0, b"\0\0" * 19_200, whole.phones[:6], whole.words[:2], (), whole.text)
    assert not named(cues(first), "shake")


def test_nothing_said_is_nothing_done() -> None:
    assert cues(SpeechChunk(1, 0, 0, b"")) == ()


def test_the_rest_of_a_clause_does_not_act_out_its_beginning_again() -> None:
    whole = chunk("Yes, that is certainly possible.")
    rest = SpeechChunk(1, 0, 9_600, b"\0\0" * 38_400, (), whole.words[1:], (), whole.text)
    assert not named(cues(rest), "nod")
    assert not [cue for cue in cues(rest) if cue.type == "emotion"]
