"""What no dictionary lists: numbers as words, and unknown words sounded out by their letters."""

import re

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"))
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}

# Longest spelling first; "" is silent. Only a last resort: dictionaries have the common words.
SOUNDS = {
    "tion": "ʃən", "sion": "ʒən", "ough": "O", "augh": "ɔ", "eigh": "A", "tch": "ʧ", "dge": "ʤ", "igh": "I",
    "sch": "sk",
    "ch": "ʧ", "sh": "ʃ", "th": "θ", "ph": "f", "wh": "w", "ck": "k", "ng": "ŋ", "qu": "kw", "gh": "ɡ", "kn": "n",
    "wr": "ɹ", "ee": "i", "ea": "i", "oo": "u", "ai": "A", "ay": "A", "oa": "O", "ow": "O", "ou": "W", "oi": "Y",
    "oy": "Y", "au": "ɔ", "aw": "ɔ", "ew": "u", "ey": "i", "ie": "i", "ei": "A", "ue": "u", "ar": "ɑɹ", "er": "əɹ",
    "ir": "ɜɹ", "or": "ɔɹ", "ur": "ɜɹ", "ce": "s", "ci": "sɪ", "cy": "si", "ge": "ʤ", "gi": "ʤɪ", "bb": "b", "cc": "k",
    "dd": "d", "ff": "f", "gg": "ɡ", "ll": "l", "mm": "m", "nn": "n", "pp": "p", "rr": "ɹ", "ss": "s", "tt": "t",
    "zz": "z", "a": "æ", "b": "b", "c": "k", "d": "d", "e": "ɛ", "f": "f", "g": "ɡ", "h": "h", "i": "ɪ", "j": "ʤ",
    "k": "k", "l": "l", "m": "m", "n": "n", "o": "ɑ", "p": "p", "q": "k", "r": "ɹ", "s": "s", "t": "t", "u": "ʌ",
    "v": "v", "w": "w", "x": "ks", "y": "i", "z": "z",
}  # fmt: skip
LONG = {"a": "A", "i": "I", "o": "O", "u": "u", "e": "i"}


def number_words(token: str) -> list[str]:
    """The words of a number as people write it: 1,250 -- $9.99 -- 25% -- 3rd -- 9:30 -- 1980s -- 2.5."""
    ordinal = re.search(r"(st|nd|rd|th)$", token)
    plural = token.endswith("s") and not ordinal
    sign, percent = token[0] if token[0] in MONEY else "", token.endswith("%")
    digits = re.sub(r"[^\d.:]", "", token)
    if ":" in digits:
        return _clock(*digits.split(":", 1))
    whole, _, fraction = digits.partition(".")
    if sign:
        return _money(sign, whole, fraction)
    if len(whole) > 12 or (whole.startswith("0") and len(whole) > 1):
        words = [ONES[int(digit)] for digit in whole]
    elif len(whole) == 4 and whole[0] in "12" and "," not in token and not fraction and whole[1:3] != "00":
        words = _year(int(whole))
    else:
        words = cardinal(int(whole or 0))
    if fraction:
        words += ["point", *(ONES[int(digit)] for digit in fraction)]
    if ordinal:
        words[-1] = _ordinal(words[-1])
    if plural:
        words[-1] = words[-1][:-1] + "ies" if words[-1].endswith("y") else words[-1] + "s"
    return [*words, "percent"] if percent else words


def cardinal(number: int) -> list[str]:
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10], *([ONES[number % 10]] if number % 10 else [])]
    if number < 1000:
        rest = ["and", *cardinal(number % 100)] if number % 100 else []
        return [ONES[number // 100], "hundred", *rest]
    scale, name = next((s, n) for s, n in SCALES if number >= s)
    rest = cardinal(number % scale) if number % scale else []
    return [*cardinal(number // scale), name, *rest]


def sound_out(word: str) -> str:
    """A guess at an unknown word, stressed on its first vowel; a silent e at the end makes the vowel before it long."""
    letters = re.sub(r"[^a-z]", "", word)
    silent = re.fullmatch(r"(.*)([aeiou])([^aeiouwxy])e", letters)
    out, at = "", 0
    end = len(letters) - 1 if silent else len(letters)
    while at < end:
        size = next(n for n in (4, 3, 2, 1) if letters[at : min(at + n, end)] in SOUNDS and at + n <= end)
        spelling = letters[at : at + size]
        out += LONG[spelling] if silent and at == end - 2 and spelling in LONG else SOUNDS[spelling]
        at += size
    return re.sub(r"([AIOWYæɑɔəɛɜɪiuʌʊ])", r"ˈ\1", out, count=1)


def _clock(hours: str, minutes: str) -> list[str]:
    hour, minute = cardinal(int(hours)), int(minutes)
    if not minute:
        return [*hour, "o'clock"] if int(hours) <= 12 else [*hour, "hundred"]
    return [*hour, *(["oh"] if minute < 10 else []), *cardinal(minute)]


def _money(sign: str, whole: str, fraction: str) -> list[str]:
    unit, small = MONEY[sign]
    amount, cents = int(whole or 0), int(f"{fraction}00"[:2]) if fraction else 0
    words = [*cardinal(amount), unit if amount == 1 else unit + "s"]
    if cents:
        words += ["and", *cardinal(cents), small if cents == 1 else "pence" if small == "penny" else small + "s"]
    return words


def _year(year: int) -> list[str]:
    high, low = divmod(year, 100)
    return [*cardinal(high), *(["hundred"] if not low else ["oh", ONES[low]] if low < 10 else cardinal(low))]


def _ordinal(word: str) -> str:
    return ORDINALS.get(word) or (word[:-1] + "ieth" if word.endswith("y") else word + "th")
