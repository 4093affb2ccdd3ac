"""From what a voice says about its symbols to phones and words on the audio clock. Pure; shared by the voices.

Times are samples. A timed symbol is an IPA character (or a pad, mark or sign of the voice's own) and how many samples
it took; a phone is `(symbol, t0, t1, stress)`, a word `(t0, t1, c0, c1)` with the characters [c0, c1) of the text.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

PAD = "_"
SILENCE = "sil"
STRESS = {"ˈ": 1, "ˌ": 2}
VOWELS = frozenset("AIOQWYaeiouyæɑɐɒɔəɘɚɛɜɝɞɤɨɪɯɵøœʉʊʌʏᵻᵿ")

Timed = tuple[str, int]
Phone = tuple[str, int, int, int]
Word = tuple[int, int, int, int]


def is_sound(symbol: str) -> bool:
    """Whether a symbol is a sound of its own, and not a mark, a space or punctuation."""
    return symbol != PAD and unicodedata.category(symbol[0]) in ("Ll", "Lu", "Lo")


def is_modifier(symbol: str) -> bool:
    """Whether a symbol belongs to the sound before it: length, palatalisation, nasality, tone."""
    return symbol not in STRESS and unicodedata.category(symbol[0]) in ("Lm", "Mn", "Sk", "Nd")


def fold(timed: Sequence[Timed]) -> list[Phone]:
    """Phones and silences without gaps, from 0 to the sum of all samples.

    A pad's time goes to what follows it: measured against the sound, that is where Piper's phones start. A stress mark
    is of the vowel after it, a modifier of the sound before it, and a space is no pause: its time is the next sound's,
    but after punctuation it is the longest part of the pause.
    """
    phones: list[Phone] = []
    now = carried = stress = 0

    def extend(samples: int) -> None:
        symbol, t0, t1, held = phones[-1]
        phones[-1] = (symbol, t0, t1 + samples, held)

    for symbol, samples in timed:
        samples += carried
        carried = 0
        if symbol in STRESS:
            stress, carried = STRESS[symbol], samples
        elif symbol.isspace() and phones and phones[-1][0] == SILENCE:
            extend(samples)
        elif symbol == PAD or symbol.isspace():
            carried = samples
        elif is_sound(symbol):
            held = stress if symbol in VOWELS else 0
            stress = 0 if held else stress
            phones.append((symbol, now, now + samples, held))
        elif phones and (is_modifier(symbol) or phones[-1][0] == SILENCE):
            extend(samples)
        else:
            phones.append((SILENCE, now, now + samples, 0))
        now += samples - carried
    if carried and phones:
        extend(carried)
    return phones


def guess(symbols: Sequence[str], samples: int) -> list[Timed]:
    """Symbols with durations in usual proportions, for a voice that gives none: a vowel is two consonants long."""
    weights = [_weight(symbol) for symbol in symbols]
    total = sum(weights) or 1.0
    edges = [0]
    for weight in weights:
        edges.append(edges[-1] + round(weight * 1000))
    scale = samples / (edges[-1] or round(total * 1000))
    marks = [round(edge * scale) for edge in edges]
    return [(symbol, b - a) for symbol, a, b in zip(symbols, marks, marks[1:], strict=False)]


def _weight(symbol: str) -> float:
    if symbol == PAD or symbol in STRESS:
        return 0.0
    if is_sound(symbol):
        return 2.0 if symbol in VOWELS else 1.0
    return 1.0 if is_modifier(symbol) else 0.2 if symbol.isspace() else 1.5


def rescale(phones: Sequence[Phone], source: int, target: int, samples: int) -> list[Phone]:
    """Phones at another sample rate; the last one takes what rounding leaves of `samples`."""
    scaled = [(s, round(t0 * target / source), round(t1 * target / source), stress) for s, t0, t1, stress in phones]
    return fit(scaled, 0, samples)


def fit(phones: Sequence[Phone], start: int, samples: int) -> list[Phone]:
    """Phones of audio whose first `start` samples were cut and of which `samples` are left."""
    kept = []
    for symbol, t0, t1, stress in phones:
        if t1 > start and t0 - start < samples:
            kept.append((symbol, max(0, t0 - start), min(samples, t1 - start), stress))
    if kept:
        symbol, t0, _, stress = kept[-1]
        kept[-1] = (symbol, t0, samples, stress)
    return kept


def hush(phones: Sequence[Phone], audible: int) -> list[Phone]:
    """Phones of which the last sound ends when nothing can be heard any more, for voices that count the silence after a
    clause to its last sound."""
    last = max((i for i, phone in enumerate(phones) if phone[0] != SILENCE), default=None)
    if last is None or phones[last][2] <= audible:
        return list(phones)
    symbol, t0, t1, stress = phones[last]
    end = max(audible, (t0 + t1) // 2 if audible <= t0 else t0 + 1)
    rest = [(SILENCE, end, t1, 0)] if last == len(phones) - 1 else [(SILENCE, end, phones[last + 1][2], 0)]
    return [*phones[:last], (symbol, t0, end, stress), *rest, *phones[last + 2 :]]


def words(text: str, phones: Sequence[Phone], pronounce: Callable[[str], Sequence[str]]) -> list[Word]:
    """Where each word of `text` is spoken, in order and without overlap.

    `pronounce` says how a word sounds on its own. The clause sounds a little different (words run together, vowels
    weaken, numbers become words), so the two sequences of sounds are matched, and what has no match goes with its
    neighbour. A word without a sound of its own is where the word before it ends.
    """
    tokens = [(m.start(), m.end()) for m in re.finditer(r"\S+", text) if any(c.isalnum() for c in m.group())]
    sounds = [p for p in phones if p[0] != SILENCE]
    if not tokens or not sounds:
        return []
    alone = [(symbol, i) for i, (c0, c1) in enumerate(tokens) for symbol in pronounce(text[c0:c1]) if is_sound(symbol)]
    if not alone:
        return _proportional(tokens, sounds)
    spans: list[tuple[int, int] | None] = [None] * len(tokens)
    for (_, t0, t1, _), owner in zip(sounds, _owners([s for s, *_ in sounds], alone), strict=True):
        first, _ = spans[owner] or (t0, t1)
        spans[owner] = (first, t1)
    placed, now = [], sounds[0][1]
    for (c0, c1), span in zip(tokens, spans, strict=True):
        t0, now = span or (now, now)
        placed.append((t0, now, c0, c1))
    return placed


def _owners(said: Sequence[str], alone: Sequence[tuple[str, int]]) -> list[int]:
    """For each sound of the clause, which word it belongs to; never going back."""
    owners: list[int | None] = [None] * len(said)
    for tag, a0, a1, b0, b1 in SequenceMatcher(None, [s for s, _ in alone], said, autojunk=False).get_opcodes():
        if tag in ("equal", "replace"):
            for b in range(b0, b1):
                owners[b] = alone[a0 + (b - b0) * (a1 - a0) // (b1 - b0)][1]
    last, filled = next((o for o in owners if o is not None), 0), []
    for owner in owners:
        last = last if owner is None else max(last, owner)
        filled.append(last)
    return filled


def _proportional(tokens: Sequence[tuple[int, int]], sounds: Sequence[Phone]) -> list[Word]:
    start, end = sounds[0][1], sounds[-1][2]
    total = sum(c1 - c0 for c0, c1 in tokens)
    placed, done = [], 0
    for c0, c1 in tokens:
        t0 = start + (end - start) * done // total
        done += c1 - c0
        placed.append((t0, start + (end - start) * done // total, c0, c1))
    return placed
