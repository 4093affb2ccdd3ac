"""What the listener heard of a reply: samples played -> words finished -> characters of the text."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.frames import SpeechChunk, Word


@dataclass(frozen=True, slots=True)
class Segment:
    """A spoken piece of a response: samples [t0, t0 + length) say `text`, whose first character is the reply's `c0`.

    `words` count samples and characters from the response's start, as in the wire's `seg`.
    """

    t0: int
    length: int
    text: str
    c0: int
    words: tuple[Word, ...] = ()

    @classmethod
    def of(cls, chunk: SpeechChunk) -> "Segment":
        """The segment of a chunk that carries its clause's whole text."""
        words = tuple(
            Word(word.t0 + chunk.t0, word.t1 + chunk.t0, word.c0 + chunk.c0, word.c1 + chunk.c0) for word in chunk.words
        )
        return cls(chunk.t0, chunk.samples, chunk.text, chunk.c0, words)


@dataclass(frozen=True, slots=True)
class Heard:
    """`text` is the heard beginning of the reply, `chars` where it ends in the reply, `samples` how much was played."""

    samples: int
    chars: int
    text: str


def heard(segments: Sequence[Segment], played: int) -> Heard:
    """The reply up to the last whole word whose last sample is among the `played` ones.

    Punctuation that hangs on that word belongs to it. A segment without words is taken as spoken evenly, character by
    character. Between segments the text has one space where the reply had any white space.
    """
    parts: list[str] = []
    end = 0
    samples = 0
    for segment in sorted(segments, key=lambda s: s.t0):
        if played <= segment.t0:
            break
        samples = min(played, segment.t0 + segment.length)
        count = _characters(segment, played - segment.t0)
        if count:
            if parts and segment.c0 > end:
                parts.append(" ")
            parts.append(segment.text[:count])
            end = segment.c0 + count
        if count < len(segment.text):
            break
    return Heard(samples, end, "".join(parts))


def _characters(segment: Segment, played: int) -> int:
    """How many characters of the segment's text have been heard after `played` of its samples."""
    text = segment.text
    if played >= segment.length:
        return len(text)
    if segment.words:
        spoken = [word.c1 - segment.c0 for word in segment.words if word.t1 - segment.t0 <= played]
        if not spoken:
            return 0
        end = max(0, min(max(spoken), len(text)))
        starts = [word.c0 - segment.c0 for word in segment.words if word.c0 - segment.c0 >= end]
        return _with_punctuation(text, end, min(starts, default=len(text)))
    even = len(text) * played // segment.length
    while even and not (text[even].isspace() or text[even - 1].isspace()):
        even -= 1
    return len(text[:even].rstrip())


def _with_punctuation(text: str, end: int, limit: int) -> int:
    while end < limit and not text[end].isspace() and not text[end].isalnum():
        end += 1
    return end
