"""Co-articulation: sounds that overlap blend by dominance, after Cohen and Massaro (1993).

Every sound i pulls each articulator towards its target T_i with the dominance
D_i(t) = a_i exp(-|tau| / c_i), where tau is the distance of t from the sound's held middle and c_i is shorter or longer
before and after it; the articulator is at F(t) = sum D_i T_i / sum D_i. Lips, jaw and tongue have dominances of their
own: that is how a k leaves the lips rounded for the vowel that follows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.visemes import AA, CH, DD, EH, FF, IH, KK, NN, OCULUS_15, OH, OU, PP, RR, SIL, SS, TH, Kind, Sound

Array = NDArray[np.float32]

# The articulator that shows each viseme.
_LIPS = (PP, FF, CH, RR, OH, OU)
_JAW = (SIL, AA, EH, IH)
_TONGUE = (TH, DD, KK, SS, NN)
_GROUPS = tuple(np.array(group) for group in (_LIPS, _JAW, _TONGUE))

# Strength a and time constants c (ms) before and after, for lips, jaw and tongue.
_DOMINANCE: dict[Kind, tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]] = {
    Kind.PAUSE: ((1.0, 1.0, 1.0), (18, 18, 18), (18, 18, 18)),
    Kind.BILABIAL: ((0.9, 0.7, 0.2), (14, 15, 15), (12, 13, 15)),
    Kind.LABIODENTAL: ((1.0, 0.7, 0.4), (15, 15, 15), (13, 13, 15)),
    Kind.SIBILANT: ((0.35, 1.0, 1.0), (15, 14, 12), (15, 14, 12)),
    Kind.LIP_HEAVY: ((1.0, 0.7, 0.9), (30, 15, 14), (24, 15, 14)),
    Kind.TONGUE: ((0.18, 0.5, 0.9), (15, 14, 12), (14, 14, 12)),
    Kind.VOWEL: ((0.6, 1.0, 0.8), (16, 16, 13), (14, 15, 13)),
    Kind.ROUNDED: ((1.0, 0.9, 0.8), (25, 16, 13), (19, 15, 13)),
}
_TABLE = {kind: np.array(rows, np.float32) for kind, rows in _DOMINANCE.items()}
_BLOCK_MS = 2_000.0
_REACH_MS = 450.0
_HELD = 0.5
_PAUSE_EASE_MS = 45.0


@dataclass(frozen=True, slots=True)
class Gesture:
    """A sound in its place: [start, end) in ms, said with `force` 0 to 1."""

    sound: Sound
    start: float
    end: float
    force: float = 1.0


def blend(gestures: list[Gesture], times: Array) -> Array:
    """The weights [len(times), 15] at the rising `times` (ms). Each articulator's weights sum to at most 1.

    Gestures are in order; those further than 450 ms from a block of times are left out of it.
    """
    count = len(gestures)
    targets = np.zeros((count, len(OCULUS_15)), np.float32)
    spans = np.empty((count, 2), np.float32)
    table = np.empty((count, 3, 3), np.float32)
    for row, gesture in enumerate(gestures):
        for viseme, weight in gesture.sound.mix:
            targets[row, viseme] = weight * gesture.force
        length = gesture.end - gesture.start
        table[row] = _TABLE[gesture.sound.kind]
        if gesture.sound.kind is Kind.PAUSE:
            ease = min(_PAUSE_EASE_MS, length / 2)
            spans[row] = gesture.start + ease, gesture.end - ease
            table[row, 0] *= min(1.0, max(0.05, (length - 30) / 120))
        else:
            middle, held = (gesture.start + gesture.end) / 2, length * _HELD / 2
            spans[row] = middle - held, middle + held
    weights = np.empty((len(times), len(OCULUS_15)), np.float32)
    at = 0
    while at < len(times):
        until = max(at + 1, int(np.searchsorted(times, times[at] + _BLOCK_MS)))
        near = slice(
            int(np.searchsorted(spans[:, 1], times[at] - _REACH_MS)),
            int(np.searchsorted(spans[:, 0], times[until - 1] + _REACH_MS)),
        )
        weights[at:until] = _blend(times[at:until], spans[near], table[near], targets[near])
        at = until
    return weights


def _blend(times: Array, spans: Array, table: Array, targets: Array) -> Array:
    before = np.maximum(spans[None, :, 0] - times[:, None], 0)
    after = np.maximum(times[:, None] - spans[None, :, 1], 0)
    weights = np.empty((len(times), targets.shape[1]), np.float32)
    for articulator, visemes in enumerate(_GROUPS):
        strength, rise, fall = table[:, 0, articulator], table[:, 1, articulator], table[:, 2, articulator]
        dominance = strength * np.exp(-(before / rise + after / fall))
        total = np.maximum(dominance.sum(1, keepdims=True), 1e-9)
        weights[:, visemes] = dominance @ targets[:, visemes] / total
    return weights
