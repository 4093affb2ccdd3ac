"""How alike two questions are, by their words: enough to know a question again, not to understand a new one."""

import re
from functools import lru_cache

_WORD = re.compile(r"\w+")
_LIGHT = frozenset(
    "a an the i me my you your we it its is are am be was do does did can could will would shall should may to of for "
    "in on at with by and or that this there here please so der die das ein eine ist sind ich du sie "
    "un une le la les est je vous el los es yo tu".split()
)
_LIGHT_WEIGHT = 0.3
_SHORT = ((re.compile(r"n['’]t\b"), " not"), (re.compile(r"['’](?:s|m|re)\b"), " is"))
_ENDINGS = ("ing", "ed", "es", "s")


def likeness(question: str, known: str) -> float:
    """Dice's coefficient of the two questions' words, light words counting less: 0 nothing shared, 1 the same words."""
    asked, had = _words(question), _words(known)
    total = _weight(asked) + _weight(had)
    return 2 * _weight(asked & had) / total if total else 0.0


@lru_cache(maxsize=1024)
def _words(text: str) -> frozenset[str]:
    text = text.lower()
    for short, long in _SHORT:
        text = short.sub(long, text)
    return frozenset(_stem(word) for word in _WORD.findall(text))


def _stem(word: str) -> str:
    if word in _LIGHT:
        return word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def _weight(words: frozenset[str]) -> float:
    return sum(_LIGHT_WEIGHT if word in _LIGHT else 1.0 for word in words)
