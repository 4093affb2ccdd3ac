"""Has the user begun, paused, finished? Counts windows of speech probability; never reads a clock.

Speech begins after `start_ms` of windows above the threshold (longer and louder while the avatar is heard, so that its
own voice does not interrupt it); a pause begins after `pause_ms` of silence; the turn ends after `hangover_ms` of it.
"""

from dataclasses import dataclass
from typing import Literal

from pipelines.frames import INPUT_RATE

WINDOW = 512
"""Samples a window of the voice activity detector covers: 32 ms."""


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """Milliseconds and probabilities. `release` is lower than `threshold` so that a soft syllable ends nothing."""

    threshold: float = 0.5
    release: float = 0.35
    candidate_ms: int = 64
    start_ms: int = 96
    playing_threshold: float = 0.7
    playing_start_ms: int = 192
    pause_ms: int = 64
    hangover_ms: int = 200
    cap_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class Heard:
    """What the last window changed, at input sample `t`.

    candidate  speech may have begun at `onset`          start   it has: the user holds the floor
    retract    it had not                                pause   silence since `voiced_end`: prepare, promise nothing
    resume     the user went on after a pause            end     the utterance [onset, t) is over
    """

    kind: Literal["candidate", "start", "retract", "pause", "resume", "end"]
    t: int
    onset: int
    voiced_end: int
    p: float
    capped: bool = False


class Endpointer:
    def __init__(self, rules: EndpointRules = EndpointRules()) -> None:
        self._rules = rules
        self._state: Literal["silent", "candidate", "speaking", "pausing"] = "silent"
        self._onset = self._voiced_end = 0
        self._run = 0

    @property
    def speaking(self) -> bool:
        return self._state in ("speaking", "pausing")

    def push(self, p: float, t: int, *, playing: bool = False) -> list[Heard]:
        """One window's probability of speech; `t` is the sample after its last. Returns what it changed, in order."""
        rules = self._rules
        threshold = rules.playing_threshold if playing else rules.threshold
        if self.speaking:
            return self._while_speaking(p, t)
        if p < threshold:
            was, self._state, self._run = self._state, "silent", 0
            return [self._told("retract", t, p)] if was == "candidate" else []
        if self._run == 0:
            self._onset = t - WINDOW
        self._run += WINDOW
        self._voiced_end = t
        told: list[Heard] = []
        if self._state == "silent" and self._run >= _samples(rules.candidate_ms):
            self._state = "candidate"
            told.append(self._told("candidate", t, p))
        if self._run >= _samples(rules.playing_start_ms if playing else rules.start_ms):
            self._state, self._run = "speaking", 0
            told.append(self._told("start", t, p))
        return told

    def _while_speaking(self, p: float, t: int) -> list[Heard]:
        rules = self._rules
        if t - self._onset >= _samples(rules.cap_ms):
            return [self._end(t, p, capped=True)]
        if p >= rules.release:
            was, self._state, self._run = self._state, "speaking", 0
            self._voiced_end = t
            return [self._told("resume", t, p)] if was == "pausing" else []
        self._run += WINDOW
        told: list[Heard] = []
        if self._state == "speaking" and self._run >= _samples(rules.pause_ms):
            self._state = "pausing"
            told.append(self._told("pause", t, p))
        if self._run >= _samples(rules.hangover_ms):
            told.append(self._end(t, p))
        return told

    def commit(self, t: int) -> list[Heard]:
        """The client says that the utterance is over: end it now, if there is one."""
        return [self._end(t, 0.0)] if self.speaking else []

    def clear(self) -> None:
        """Forget the utterance."""
        self._state, self._run = "silent", 0

    def _end(self, t: int, p: float, *, capped: bool = False) -> Heard:
        told = Heard("end", t, self._onset, self._voiced_end, p, capped)
        self.clear()
        return told

    def _told(self, kind: Literal["candidate", "start", "retract", "pause", "resume"], t: int, p: float) -> Heard:
        return Heard(kind, t, self._onset, self._voiced_end, p)


def _samples(ms: int) -> int:
    return ms * INPUT_RATE // 1000
