"""A spoken answer as REST gives it: one sound, mouth cues in milliseconds, an emotion and gestures."""

from collections.abc import Iterable
from typing import Final

from api.chat.models import CitationRecord, Gesture, VisemeCue
from pipelines.core.visemes import OCULUS_15
from pipelines.frames import OUTPUT_RATE, Citation, Cue, SpeechChunk

NEUTRAL: Final = "neutral"


def milliseconds(samples: int) -> int:
    return round(samples * 1000 / OUTPUT_RATE)


def sound(chunks: Iterable[SpeechChunk]) -> bytes:
    """The chunks laid at their places, with silence between them: mono PCM16 at OUTPUT_RATE."""
    pcm = bytearray()
    for chunk in sorted(chunks, key=lambda c: c.t0):
        start = 2 * chunk.t0
        pcm.extend(bytes(max(0, start - len(pcm))))
        pcm[start : start + len(chunk.pcm)] = chunk.pcm
    return bytes(pcm)


def visemes(chunks: Iterable[SpeechChunk]) -> list[VisemeCue]:
    """Each key of a mouth shape lasts until that shape's next key; keys of no weight end a shape and are left out."""
    keys: dict[int, list[tuple[int, float]]] = {}
    end = 0
    for chunk in chunks:
        end = max(end, chunk.t0 + chunk.samples)
        for viseme in chunk.visemes:
            keys.setdefault(viseme.id, []).append((chunk.t0 + viseme.t, viseme.weight))
    cues = []
    for shape, track in keys.items():
        track.sort()
        for (t, weight), (following, _) in zip(track, [*track[1:], (end, 0.0)], strict=True):
            if weight > 0 and following > t:
                start = milliseconds(t)
                duration = milliseconds(following) - start
                cues.append(VisemeCue(t=start, d=duration, v=OCULUS_15[shape], w=round(weight, 3)))
    return sorted(cues, key=lambda c: (c.t, c.v))


def emotion(cues: Iterable[Cue]) -> str:
    """The strongest emotion of the answer."""
    shown = [cue for cue in cues if cue.type == "emotion"]
    return max(shown, key=lambda cue: cue.amp).name if shown else NEUTRAL


def gestures(cues: Iterable[Cue]) -> list[Gesture]:
    return [Gesture(t=milliseconds(cue.t), name=cue.name) for cue in cues if cue.type == "gesture"]


def citation(said: Citation) -> CitationRecord:
    return CitationRecord(
        n=said.n, document_id=said.document_id, title=said.title, url=said.url, snippet=said.snippet, score=said.score
    )
