"""What the face and body do while a clause is said, read from its words and its stresses.

The names are a closed list, which a renderer must know:

| type    | names                                                                                                |
|---------|------------------------------------------------------------------------------------------------------|
| emotion | joy, warmth, concern, surprise, curiosity, thinking (neutral is the absence of a cue)                  |
| gesture | beat (head, on a stress), brow (raise), nod, shake, tilt, wave, heart, shrug, offer, explain (listing)  |
| blink   | blink                                                                                                |
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from pipelines.core.visemes import PAUSE, sounds
from pipelines.frames import OUTPUT_RATE, Cue, Phone, SpeechChunk

EMOTIONS = ("neutral", "joy", "warmth", "concern", "surprise", "curiosity", "thinking")
GESTURES = ("beat", "brow", "nod", "shake", "tilt", "wave", "heart", "shrug", "offer", "explain")


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)


_EMOTION: tuple[tuple[str, float, re.Pattern[str]], ...] = (
    ("concern", 0.7, _words(
        "sorry|apologi[sz]e|unfortunately|regret|afraid|sad(?:ly)?|worr(?:y|ied)|problem|trouble|pain(?:ful)?|hurts?|"
        "fail(?:ed|s)?|broken|lost|emergency|danger(?:ous)?|leider|entschuldigung|schade|"
        "lo siento|desgraciadamente|désolée?|malheureusement")),
    ("surprise", 0.7, _words("wow|oh|amazing(?:ly)?|incredibl[ey]|unbelievabl[ey]|astonishing|surprising(?:ly)?")),
    ("joy", 0.7, _words(
        "great|wonderful|fantastic|excellent|awesome|perfect|lovely|congratulations|happy|glad|delighted|excited|love|"
        "enjoy|fun|brilliant|well done|good news|toll|wunderbar|prima|super|genial|estupendo|perfecto|parfait")),
    ("warmth", 0.55, _words(
        "welcome|hello|hi|hey|thanks?|thank you|please|of course|my pleasure|nice to meet|take care|goodbye|bye|"
        "hallo|willkommen|danke|gern|hola|gracias|bienvenid[oa]|bonjour|merci|bienvenue")),
    ("thinking", 0.5, _words(
        "hmm+|let me (?:think|see|check|look)|one moment|i(?: am|'m) not sure|maybe|perhaps|possibly|it depends|"
        "probably|vielleicht|einen moment|quizás|tal vez|peut-être")),
)  # fmt: skip
_GESTURE: tuple[tuple[str, float, float, re.Pattern[str]], ...] = (
    ("wave", 0.8, 1.5, _words(
        "hello|hi|hey|goodbye|bye|good (?:morning|afternoon|evening)|see you|hallo|guten (?:tag|morgen|abend)|tschüss|"
        "auf wiedersehen|hola|adiós|bonjour|salut|au revoir")),
    ("heart", 0.7, 1.4, _words("thank you|thanks|grateful|danke|gracias|merci|my pleasure|sincerely")),
    ("shrug", 0.6, 1.1, _words("i (?:do not|don't) know|no idea|not sure|who knows|hard to say|it depends|weiß nicht")),
    ("offer", 0.7, 1.2, _words(
        "here (?:is|are|you)|here's|welcome|would you like|you can|help you|let me show|voici|aquí")),
    ("explain", 0.6, 1.4, _words(
        "first(?:ly)?|second(?:ly)?|third(?:ly)?|next|finally|for example|because|such as|step|erstens|zweitens|"
        "zum beispiel|primero|por ejemplo|d'abord|par exemple")),
)  # fmt: skip
_HEAD: tuple[tuple[str, float, float, re.Pattern[str]], ...] = (
    ("shake", 0.4, 0.8, _words(
        "no|not|never|none|cannot|nothing|[a-z]+n['’]t|without|nein|nicht|kein(?:e[rnms]?)?|nie|nunca|jamais|non")),
    ("nod", 0.7, 0.6, _words(
        "yes|yeah|yep|sure|of course|absolutely|exactly|certainly|definitely|right|okay|ok|correct|indeed|true|agreed|"
        "ja|genau|natürlich|sí|claro|exacto|oui|bien sûr|d'accord")),
)  # fmt: skip
_LISTED = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s")
_EMPHATIC = _words("very|really|so|extremely|absolutely|always|never|only|must|important|all|every|best")
_FUNCTION = frozenset(
    "a an the this that these those my your his her its our their i you he she it we they me him us them am is are was "
    "were be been being do does did have has had will would can could shall should may might must of in on at by for "
    "with from to into onto as than and or but nor so if that which who there here not".split()
)

_BEAT_GAP = round(0.5 * OUTPUT_RATE)
_BROW_GAP = round(1.2 * OUTPUT_RATE)
_BEAT_LEAD = round(0.1 * OUTPUT_RATE)
_PHRASE_PAUSE = round(0.12 * OUTPUT_RATE)
_BLINK = round(0.22 * OUTPUT_RATE)
_LINGER = round(0.6 * OUTPUT_RATE)


def emotion(text: str) -> tuple[str, float]:
    """How `text` feels, of `EMOTIONS`, and how strongly (0 to 1). The same text always feels the same."""
    scores: dict[str, float] = {}
    for name, strength, pattern in _EMOTION:
        found = sum(1 for _ in pattern.finditer(text))
        if found:
            scores[name] = strength + 0.1 * (found - 1)
    denied = re.search(r"(?i)\b(?:no|not|never|\w+n['’]t)\s+(?:\w+\s+)?(?:problem|worr|sorry|afraid)", text)
    if denied:
        scores.pop("concern", None)
        scores.setdefault("warmth", 0.5)
    if not scores:
        if text.rstrip(" \"'”’)*_").endswith("?"):
            return "curiosity", 0.4
        return ("joy", 0.35) if text.count("!") else ("neutral", 0.0)
    name = max(scores, key=lambda n: scores[n])
    excited = 0.15 if "!" in text and name != "concern" else 0.0
    return name, round(min(1.0, scores[name] + excited), 2)


def cues(chunk: SpeechChunk) -> tuple[Cue, ...]:
    """The cues of one chunk, in order of time, `t` on the response's clock.

    A word's gesture belongs to the chunk that says the word; without word times it falls to the chunk's first sound.
    """
    found = sorted(_chunk_cues(chunk), key=lambda c: (c.t, c.type, c.name))
    return tuple(found)


def _chunk_cues(chunk: SpeechChunk) -> Iterator[Cue]:
    if not chunk.samples or not chunk.text.strip():
        return
    voiced = [phone for phone in chunk.phones if PAUSE not in sounds(phone.symbol)]
    onset = voiced[0].t0 if voiced else 0

    def cue(kind: str, name: str, t: int, amp: float, seconds: float) -> Cue:
        at = chunk.t0 + max(0, min(t, chunk.samples))
        dur = round(seconds * OUTPUT_RATE)
        if kind == "emotion":
            return Cue(chunk.turn, at, "emotion", name, amp, dur)
        return Cue(chunk.turn, at, "blink" if kind == "blink" else "gesture", name, amp, dur)

    name, strength = emotion(chunk.text)
    if name != "neutral" and _when(chunk, 0, onset) is not None:
        yield cue("emotion", name, 0, strength, (chunk.samples + _LINGER) / OUTPUT_RATE)

    head = None
    for name, amp, seconds, at in _gestures(chunk, onset):
        if name in ("nod", "shake", "tilt"):
            head = (at - _BEAT_GAP, at + round(seconds * OUTPUT_RATE))
        yield cue("gesture", name, at, amp, seconds)

    asked = chunk.text.rstrip(" \"'”’)*_").endswith("?")
    stressed = [phone for phone in voiced if phone.stress == 1 and _is_content(chunk, phone)]
    last_beat, last_brow = -_BEAT_GAP, -_BROW_GAP
    for phone in stressed:
        nuclear = phone is stressed[-1]
        emphatic = bool(_EMPHATIC.fullmatch(_word_at(chunk, phone)))
        at = max(0, phone.t0 - _BEAT_LEAD)
        free = head is None or not head[0] < at < head[1]
        crowded = at - last_beat < _BEAT_GAP or (not nuclear and stressed[-1].t0 - phone.t0 < _BEAT_GAP)
        if free and not crowded:
            last_beat = at
            yield cue("gesture", "beat", at, 0.6 if nuclear or emphatic else 0.35, 0.36)
        if (nuclear or emphatic) and at - last_brow >= _BROW_GAP:
            last_brow = at
            yield cue("gesture", "brow", at, 0.7 if asked else 0.45, 0.5)
    for at in _phrase_ends(chunk, voiced):
        yield cue("blink", "blink", at, 1.0, _BLINK / OUTPUT_RATE)


def _gestures(chunk: SpeechChunk, onset: int) -> Iterator[tuple[str, float, float, int]]:
    """At most one gesture of the arms and one of the head: name, strength, seconds and sample."""
    listed = _LISTED.match(chunk.text)
    for name, amp, seconds, pattern in _GESTURE:
        match = pattern.search(chunk.text)
        at = _when(chunk, match.start(), onset) if match else None
        if at is not None:
            yield name, amp, seconds, at
            break
    else:
        at = _when(chunk, listed.end(), onset) if listed else None
        if at is not None:
            yield "explain", 0.6, 1.2, at
    for name, amp, seconds, pattern in _HEAD:
        match = pattern.search(chunk.text)
        at = _when(chunk, match.start(), onset) if match else None
        if at is not None:
            yield name, amp, seconds, at
            return
    if chunk.text.rstrip(" \"'”’)*_").endswith("?"):
        yield "tilt", 0.6, max(0.8, chunk.samples / OUTPUT_RATE * 0.6), onset


def _when(chunk: SpeechChunk, character: int, onset: int) -> int | None:
    """When the word at or after `character` of the text is said; None when another chunk says it."""
    if not chunk.words:
        return onset
    for word in chunk.words:
        if word.c1 > character:
            earlier = word is chunk.words[0] and any(c.isalnum() for c in chunk.text[character : word.c0])
            return None if earlier else word.t0
    return None


def _word_at(chunk: SpeechChunk, phone: Phone) -> str:
    at = bisect_right(chunk.words, phone.t0, key=lambda w: w.t0) - 1
    if at < 0:
        return ""
    word = chunk.words[at]
    return chunk.text[word.c0 : word.c1].strip(".,;:!?\"'“”’()*_").lower()


def _is_content(chunk: SpeechChunk, phone: Phone) -> bool:
    return _word_at(chunk, phone) not in _FUNCTION


def _phrase_ends(chunk: SpeechChunk, voiced: list[Phone]) -> Iterator[int]:
    for phone, following in pairwise(voiced):
        if following.t0 - phone.t1 >= _PHRASE_PAUSE:
            yield phone.t1
    if voiced and chunk.text.rstrip(" \"'”’)*_")[-1:] in tuple(".!?…。！？"):
        yield voiced[-1].t1
