"""English text to phonemes from pronouncing dictionaries, for voices that read misaki's symbols.

The dictionaries are misaki's (`gold` is checked by people, `silver` is not). What they do not have is derived from what
they have (endings, compounds), spelled out (abbreviations), or sounded out letter by letter.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from pipelines.workers.phones import VOWELS
from pipelines.workers.spelling import number_words, sound_out

PUNCTUATION = frozenset(';:,.!?—…"()“”')
LETTERS = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*")
NUMBER = re.compile(r"[$£€]?\d[\d,]*(?::\d\d)?(?:\.\d+)?(?:st|nd|rd|th|s)?%?")
INITIALS = re.compile(r"(?:[A-Za-z]\.){2,}")
PIECE = re.compile(rf"({NUMBER.pattern})|({INITIALS.pattern}|{LETTERS.pattern})|([^\w\s])")
HALVES = frozenset({"am", "pm"})  # of the day, after a number
SIGNS = {"&": "and", "+": "plus", "=": "equals", "@": "at", "%": "percent", "#": "number"}
SHORT = {"mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "st": "saint", "vs": "versus", "etc": "etcetera"}
DASHES = {"–": "—", "-": "", "…": "…", "«": "“", "»": "”", "‘": "", "’": "", "'": ""}


class Pronouncer:
    """One accent: `us` or `gb`."""

    def __init__(self, folder: Path, accent: str) -> None:
        self._words: dict[str, str] = {}
        for grade in ("silver", "gold"):
            entries = json.loads((folder / f"{accent}_{grade}.json").read_text(encoding="utf-8"))
            for word, sounds in entries.items():
                plain = sounds.get("DEFAULT") if isinstance(sounds, dict) else sounds
                if plain:
                    self._words[word] = plain
        self._british = accent == "gb"
        self.word = lru_cache(maxsize=8192)(self._word)

    def read(self, text: str) -> list[tuple[str, int, int]]:
        """The symbols of each word of `text`, punctuation included, with the word's characters [c0, c1). A word that
        makes no sound is left out."""
        found = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
        spoken = []
        for i, (c0, c1) in enumerate(found):
            counted = i > 0 and text[found[i - 1][1] - 1].isdigit()
            spoken.append((list(self._pieces(text[c0:c1], counted)), c0, c1))
        read = []
        for i, (pieces, c0, c1) in enumerate(spoken):
            following = next((p for later, *_ in spoken[i + 1 :] for p in later if p), "")
            sounds = "".join(self._weak(piece, following if last else "") for piece, last in _marked(pieces))
            if sounds:
                read.append((sounds, c0, c1))
        return read

    def _pieces(self, token: str, counted: bool) -> Iterator[str]:
        """Sounds and punctuation of one token, with a space between its spoken words. `counted` says that a number
        stands before it."""
        spoke = False
        for number, letters, sign in PIECE.findall(token):
            if sign in PUNCTUATION or sign in DASHES:
                if mark := DASHES.get(sign, sign):
                    yield mark
                continue
            if number:
                words = number_words(number)
            elif INITIALS.fullmatch(letters) or ((counted or spoke) and letters.lower() in HALVES):
                words = ["".join(letter for letter in letters.upper() if letter != ".") + "."]
            elif letters:
                words = [SHORT.get(letters.lower(), letters) if letters.lower() + "." in token.lower() else letters]
            else:
                words = [SIGNS[sign]] if sign in SIGNS else []
            for word in words:
                if spoke:
                    yield " "
                spoke = True
                yield self.word(word.replace("’", "'"))

    def _weak(self, sounds: str, following: str) -> str:
        """The little words as they sound before what follows."""
        vowel = following.lstrip("ˈˌ")[:1] in VOWELS
        if sounds in ("ði", "ðə"):
            return "ði" if vowel else "ðə"
        if sounds in ("tu", "tuː") and following:
            return "tʊ" if vowel else "tə"
        return sounds

    def _word(self, word: str) -> str:
        if word == "a":
            return "ɐ"
        if word.endswith("."):
            return self._spelled(word[:-1])
        if sounds := self._listed(word):
            return sounds
        if word.isupper() and len(word) > 1 and len(word) < 6:
            return self._spelled(word)
        return self._derived(word.lower()) or sound_out(word.lower())

    def _spelled(self, letters: str) -> str:
        return "".join(self._words.get(letter, "") for letter in letters)

    def _listed(self, word: str) -> str:
        for form in (word, word.lower(), word.capitalize()):
            if form in self._words:
                return self._words[form]
        return ""

    def _derived(self, word: str) -> str:
        if word.endswith("'s") and (stem := self._stem(word[:-2])):
            return stem + _plural(stem)
        for ending, put in (("ies", "y"), ("es", "e"), ("es", ""), ("s", "")):
            if word.endswith(ending) and (stem := self._listed(word[: -len(ending)] + put)):
                return stem + _plural(stem)
        for ending, put in (("ied", "y"), ("ed", "e"), ("ed", "")):
            if word.endswith(ending) and (stem := self._double(word[: -len(ending)], put)):
                return stem + _past(stem)
        for put in ("", "e"):
            if word.endswith("ing") and (stem := self._double(word[:-3], put)):
                return stem + "ɪŋ"
        if word.endswith("ly") and (stem := self._listed(word[:-2])):
            return stem + "li"
        for at in range(3, len(word) - 2):
            if (first := self._listed(word[:at])) and (second := self._listed(word[at:])):
                return first + second.replace("ˈ", "ˌ")
        return ""

    def _stem(self, word: str) -> str:
        return self._listed(word) or self._derived(word) or sound_out(word)

    def _double(self, stem: str, put: str) -> str:
        """The stem of a word whose ending may have doubled its last letter."""
        if listed := self._listed(stem + put):
            return listed
        return self._listed(stem[:-1]) if len(stem) > 3 and stem[-1] == stem[-2] else ""


def _marked(pieces: list[str]) -> Iterator[tuple[str, bool]]:
    """Each piece, and whether it is the token's last."""
    for i, piece in enumerate(pieces):
        yield piece, i == len(pieces) - 1


def _plural(stem: str) -> str:
    if stem[-1] in "szʃʒʧʤ":
        return "ᵻz"
    return "s" if stem[-1] in "ptkfθ" else "z"


def _past(stem: str) -> str:
    if stem[-1] in "td":
        return "ᵻd"
    return "t" if stem[-1] in "pkfθsʃʧ" else "d"


def accents(folder: Path) -> Mapping[str, Pronouncer]:
    """The pronouncers by language."""
    return {"en-US": Pronouncer(folder, "us"), "en-GB": Pronouncer(folder, "gb")}
