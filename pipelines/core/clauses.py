"""Cutting a reply into speakable clauses while it is still being written.

The first clause is as short as it can be said (its synthesis is the latency one hears), the later ones are as long as
prosody likes. A cut is only ever made at white space or after a CJK sentence mark, so numbers, addresses and
abbreviations stay whole by construction; and it depends only on the characters before it, so a reply is cut the same
way however its deltas fall.
"""

import re
from dataclasses import dataclass

from pipelines.core.speakable import speakable

__all__ = ["ClauseSplitter", "speakable"]

FIRST_MIN_WORDS = 3
FIRST_MAX_WORDS = 5
FIRST_STRETCH_WORDS = 7
COMMA_WORDS = 10
MAX_WORDS = 20
QUOTED_MAX_WORDS = 40
MAX_CHARACTERS = 600

_CJK_ENDS = "。！？｡"
_CJK_PAUSES = "，、；："
_PAUSES = ",;:—–，、；："
_CLOSERS = "\"'”’»›)]}」』】）*_`~"
_QUOTES = tuple("\"'”’»›")
_PAIRS = {"(": ")", "[": "]", "“": "”", "«": "»", "「": "」", "『": "』", "（": "）", "【": "】"}
_CJK = re.compile(r"[぀-ヿ㐀-鿿가-힯豈-﫿]")
_NUMERIC = re.compile(r"[\W_]*\d[\d.,:/%-]*\W*$")
_ORDINAL = re.compile(r"\W*\d{1,3}[.)]$")
_ADJECTIVE = re.compile(r".{2,}(?:ous|ful|ive|able|ible|less|ical|ish)$")

# A full stop after these never ends a sentence.
_ABBREVIATIONS = frozenset(
    (
        "dr mr mrs ms mx prof st sr jr rev gen col sgt capt lt gov sen rep pres hon mt ft vs viz cf ca approx dept "
        "est fig figs e.g i.e eg ie u.s u.k u.n ph.d vol pp ed eds min max tel ext"
    ).split()
)
# After these it does when the next word starts a new one (a capital letter, not a lower-case one or a digit).
_PERHAPS = frozenset(
    (
        "no nos etc inc ltd co corp a.m p.m am pm al op sec art ave blvd rd jan feb mar apr jun jul aug sep sept oct "
        "nov dec"
    ).split()
)

# Words that lean on the next one: no cut after them.
_LEANING = frozenset(
    (
        "a an the this that these those my your his her its our their some any no each every all both either neither "
        "such what which whose another other few several many most more less very so too quite rather really just "
        "only of in on at by for with from to into onto over under about after before between through during without "
        "within against among across toward towards around near upon per via than as like and or but nor because if "
        "when while although though unless until since where who that i you he she it we they is are was were be been "
        "am do does did have has had will would can could should shall may might must not don't doesn't didn't can't "
        "won't isn't aren't i'm you're he's she's it's we're they're i'll you'll we'll they'll i've you've we've i'd "
        "you'd let's there's that's what's here's one two three four five six seven eight nine ten new good great "
        "best big small large long short old young little high low next last first second third same different "
        "important free full main real own right nice whole sure "
        "der die das den dem des ein eine einen einem einer eines und oder aber zu zum zur im am vom mit von für auf "
        "aus bei bis nach über unter durch ohne ich du er wir ihr sein mein unser kein sehr el los las un una y de "
        "del al con por para en su mi tu muy le la les une du et ou à au aux dans sur pour avec sans mon ma mes son sa "
        "ses très"
    ).split()
)
# Words that open a phrase: the best place for a cut is before them.
_OPENING = frozenset(
    (
        "and or but nor so yet because if when while although though unless until since whereas that which who whose "
        "where how why what in on at by for with from to into onto over under about after before between through "
        "during without within against among across toward towards around near via than as the a an this these those "
        "my your his her its our their is are was were will would can could should may might must then not please "
        "und oder aber weil dass wenn mit von für auf aus bei bis nach über unter durch ohne zum zur im pero porque "
        "que con por para en del al et ou mais qui dans sur pour avec sans chez"
    ).split()
)
# Complete as an object ("can help you with"), though they lean when they open a clause.
_OBJECTS = frozenset("you it her this that these those all both".split())


@dataclass(frozen=True, slots=True)
class _Token:
    """A complete word of the pending text: its characters [c0, c1), and whether it lies inside quotes or brackets."""

    text: str
    c0: int
    c1: int
    enclosed: bool

    @property
    def bare(self) -> str:
        return self.text.strip("\"'“”‘’«»()[]{}*_`~,;:.!?…—–").lower().replace("’", "'")

    @property
    def weight(self) -> float:
        return max(1.0, len(_CJK.findall(self.text)) / 2)


class ClauseSplitter:
    """Feed it the reply's deltas; it hands out `(text, c0)` as soon as a clause can be said.

    `c0` is the place of the clause in the whole reply, so `reply[c0 : c0 + len(text)] == text`; between two clauses
    there is only white space. A clause may be all marks ("---"): `speakable` then makes it empty.
    """

    def __init__(self) -> None:
        self._start = 0
        self._first = True
        self._reset()

    def _reset(self) -> None:
        self._pending = ""
        self._tokens: list[_Token] = []
        self._open: list[str] = []
        self._word = 0
        self._undecided = False
        self._fenced = False

    def push(self, delta: str) -> list[tuple[str, int]]:
        out: list[tuple[str, int]] = []
        for character in delta:
            self._take(character, out)
        return out

    def flush(self) -> list[tuple[str, int]]:
        """What is left when the reply is over. The splitter then stands at the start of the next reply's text."""
        out: list[tuple[str, int]] = []
        if self._pending:
            self._emit(len(self._pending), out)
        self._start = 0
        self._first = True
        self._reset()
        return out

    def _take(self, character: str, out: list[tuple[str, int]]) -> None:
        at = len(self._pending)
        in_word = at > self._word
        if self._undecided and not character.isspace():
            self._undecided = False
            if not (character.islower() or character.isdigit()):
                self._emit(at, out)
                at, in_word = 0, False
        elif in_word and self._ends_cjk(character):
            self._complete(at)
            self._emit(at, out)
            at, in_word = 0, False
        self._pending += character
        if character.isspace():
            if in_word:
                self._complete(at)
                self._word = at + 1
                self._decide(out)
            else:
                self._word = at + 1
            if character == "\n":
                self._newline(out)
        else:
            self._enclose(character, at)
            if len(self._pending) >= MAX_CHARACTERS and not self._fenced:
                self._emit(self._tokens[-1].c1 if self._tokens else len(self._pending), out)

    def _ends_cjk(self, character: str) -> bool:
        """The word so far ends a CJK sentence or a long enough CJK clause, and `character` starts something new."""
        if (
            self._open
            or self._fenced
            or character in _CJK_ENDS + _CJK_PAUSES + _CLOSERS
            or character in _PAIRS.values()
        ):
            return False
        word = self._pending[self._word :]
        if word[-1] in _CJK_ENDS:
            return True
        if word[-1] not in _CJK_PAUSES:
            return False
        return self._words() + max(1.0, len(_CJK.findall(word)) / 2) >= (2 if self._first else COMMA_WORDS)

    def _enclose(self, character: str, at: int) -> None:
        if self._open and character == self._open[-1]:
            self._open.pop()
        elif character in _PAIRS:
            self._open.append(_PAIRS[character])
        elif character in '"`' and (at == self._word or self._pending[at - 1] in "([{*_—"):
            self._open.append(character)

    def _complete(self, at: int) -> None:
        text = self._pending[self._word : at]
        if text.startswith("```"):
            self._fenced = not self._fenced
        if self._open and text[-1] in "([{" and self._open[-1] == _PAIRS.get(text[-1]):
            self._open.pop()
        self._tokens.append(_Token(text, self._word, at, bool(self._open)))

    def _newline(self, out: list[tuple[str, int]]) -> None:
        if not self._fenced and self._tokens:
            self._emit(len(self._pending), out)

    def _words(self) -> float:
        return sum(token.weight for token in self._tokens)

    def _decide(self, out: list[tuple[str, int]]) -> None:
        """Called when a word is complete: cut after it, before it, further back, or not at all."""
        if self._fenced:
            return
        words = self._words()
        last = self._tokens[-1]
        free = not last.enclosed or words >= MAX_WORDS
        ending = self._ending(last)
        if free and ending == "end":
            self._emit(last.c1, out)
        elif free and ending == "perhaps":
            self._undecided = True
        elif free and ending == "pause" and words >= (2 if self._first else COMMA_WORDS):
            self._emit(last.c1, out)
        elif self._first:
            self._decide_first(out)
        elif words >= QUOTED_MAX_WORDS or (words > MAX_WORDS and not last.enclosed):
            self._emit(self._best(range(len(self._tokens) // 2, len(self._tokens))), out)

    def _decide_first(self, out: list[tuple[str, int]]) -> None:
        count = len(self._tokens)
        if count - 1 >= FIRST_MIN_WORDS and self._cost(count - 1) <= 0:
            self._emit(self._tokens[count - 2].c1, out)
        elif count > FIRST_MAX_WORDS:
            places = range(FIRST_MIN_WORDS, count)
            if min(self._cost(k) for k in places) <= 1 or (count > FIRST_STRETCH_WORDS and not self._open):
                self._emit(self._best(places), out)
            elif count >= MAX_WORDS:
                self._emit(self._tokens[-1].c1, out)

    def _best(self, places: range) -> int:
        """The character at which to cut: the cheapest place, the latest among equals."""
        count = min(places, key=lambda k: (self._cost(k), -k))
        return self._tokens[count - 1].c1

    def _cost(self, count: int) -> int:
        """How much a cut after `count` words hurts: -1 at a comma, 0 between two phrases, up to 4 in a quotation."""
        word, following = self._tokens[count - 1], self._tokens[count]
        if word.enclosed:
            return 4
        if word.text[-1] in _PAUSES:
            return -1
        if _NUMERIC.match(word.text):
            return 3
        opening = following.bare in _OPENING
        leaning = word.bare in _LEANING and not (opening and word.bare in _OBJECTS and count > 1)
        if leaning:
            return 3
        if opening:
            return 0
        return 2 if _ADJECTIVE.match(word.bare) else 1

    def _ending(self, token: _Token) -> str:
        """How the token closes: "end", "perhaps" (the next character tells), "pause" or ""."""
        text = token.text.rstrip(_CLOSERS)
        if not text:
            return ""
        if text[-1] in "!?" + _CJK_ENDS:
            return "perhaps" if token.text[len(text) :].rstrip("*_`~")[-1:] in _QUOTES else "end"
        if text[-1] == "…" or text.endswith(".."):
            return "perhaps"
        if text[-1] == ".":
            stem = text.strip("\"'“”‘’«»()[]{}*_`~").rstrip(".").lower()
            initial = len(stem) == 1 and stem.isalpha() and stem != "i"
            listed = len(self._tokens) == 1 and _ORDINAL.match(text)
            if not stem or stem in _ABBREVIATIONS or initial or listed:
                return ""
            return "perhaps" if stem in _PERHAPS else "end"
        return "pause" if text[-1] in _PAUSES or text.endswith("--") else ""

    def _emit(self, cut: int, out: list[tuple[str, int]]) -> None:
        piece, rest = self._pending[:cut], self._pending[cut:]
        text = piece.strip()
        if text:
            out.append((text, self._start + len(piece) - len(piece.lstrip())))
            self._first = False
        self._start += cut
        self._reset()
        for character in rest:
            self._take(character, out)
