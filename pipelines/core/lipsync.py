"""From phones to a moving mouth: one curve, as sparse viseme keys or as dense ARKit frames.

The curve is the dominance blend of `coarticulation` under the hard constraints of JALI (Edwards et al. 2016): bilabials
close the lips, labiodentals touch, sibilants narrow the jaw. It is piecewise linear, with knots where sounds culminate
and at the corners of closures; it leads the sound a little (people forgive an early mouth, not a late one) and rests at
both ends unless it is told what comes before or after.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.coarticulation import Array, Gesture, blend
from pipelines.core.visemes import AA, ARKIT_OF_OCULUS, EH, FF, IH, OCULUS_15, OH, PAUSE, PP, SIL, SS, Kind, sounds
from pipelines.frames import OUTPUT_RATE, Phone, Viseme

__all__ = ["OCULUS_15", "curve", "frames", "keys"]

_STEP = OUTPUT_RATE // 200
_MS = OUTPUT_RATE / 1000
_LEAD_MS = 12.0
_CLOSURE_LEAD_MS = 18.0
_CLOSURE_RAMP_MS = 40.0
_CLOSURE_START_MS = 25.0
_RELEASE_MS = 18.0
_FASTEST_MS = 8.0
_MERGED_MS = 25.0
_TOUCH_RAMP_MS = 60.0
_TOUCH = 0.85
_NARROW = 0.6
_REST_MS = 60.0
_HELD_MS = 40.0
_SLOPE = 0.33 / 16
_FORCE = {0: 0.8, 1: 1.0, 2: 0.92}
_TOLERANCE = 0.042
_CORNER = 0.06
_FAINT = 0.03
_VOWELS = (Kind.VOWEL, Kind.ROUNDED)


def keys(
    phones: Sequence[Phone], length: int, *, before: Sequence[Phone] = (), after: Sequence[Phone] = ()
) -> tuple[Viseme, ...]:
    """The mouth of `length` samples of speech as keys, ordered by time.

    A viseme's weight is linear between its keys, constant outside them, 0 without any; that is within 0.05 of `curve`.
    Keys of consecutive chunks simply follow one another.
    """
    times, weights = curve(phones, length, before=before, after=after)
    kept = _simplify(times, weights)
    at, ids = np.nonzero(kept)
    rounded = np.round(weights[at, ids].astype(np.float64), 2)
    return tuple(Viseme(t, v, w) for t, v, w in zip(times[at].tolist(), ids.tolist(), rounded.tolist(), strict=True))


def frames(
    phones: Sequence[Phone],
    length: int,
    fps: int,
    *,
    before: Sequence[Phone] = (),
    after: Sequence[Phone] = (),
) -> NDArray[np.uint8]:
    """The same curve as ARKit weights x 255, [n, 52]: frame k is at sample k x 24,000 / fps, up to `length`."""
    times, weights = curve(phones, length, before=before, after=after)
    at = np.arange(length * fps // OUTPUT_RATE + 1) * (OUTPUT_RATE / fps)
    visemes = np.stack([np.interp(at, times, weights[:, v]) for v in range(len(OCULUS_15))], 1)
    return np.round(np.clip(visemes @ ARKIT_OF_OCULUS, 0, 1) * 255).astype(np.uint8)


def curve(
    phones: Sequence[Phone], length: int, *, before: Sequence[Phone] = (), after: Sequence[Phone] = ()
) -> tuple[NDArray[np.int64], Array]:
    """The knots' samples [n], from 0 to `length`, and Oculus-15 weights [n, 15], each 0 to 1, their sum at most 1.

    `before` are the last phones of the chunk before, at negative times; `after` the next ones, from `length` on.
    """
    if length <= 0:
        return np.zeros(1, np.int64), np.eye(1, len(OCULUS_15), SIL, dtype=np.float32)
    start, end = None if before else 0, None if after else length
    gestures = _gestures([*before, *phones, *after], start, end)
    closures = _closures(gestures, start, end)
    times = _knots(gestures, closures, length)
    grid = (times / _MS).astype(np.float32)
    weights = blend(gestures, grid + np.float32(_LEAD_MS))
    _constrain(weights, gestures, grid)
    _rest(weights, grid, start, end)
    _soften(weights, grid)
    _close(weights, closures, grid)
    np.maximum((weights - _FAINT) / (1 - _FAINT), 0, out=weights)
    return times, weights


def _gestures(phones: Sequence[Phone], start: int | None, end: int | None) -> list[Gesture]:
    """Phones and the silences between them, in ms; a silence of 300 ms stands before `start` and after `end`."""
    gestures: list[Gesture] = []
    pad = round(300 * _MS)

    def silence(t0: float, t1: float) -> None:
        if t1 <= t0:
            return
        if gestures and gestures[-1].sound is PAUSE:
            t0 = gestures.pop().start * _MS
        gestures.append(Gesture(PAUSE, t0 / _MS, t1 / _MS))

    at: float = phones[0].t0 if phones else 0
    if start is not None:
        silence(start - pad, start)
        at = start
    for phone in sorted(phones, key=lambda p: p.t0):
        t0 = max(at, phone.t0)
        if phone.t1 <= t0:
            continue
        silence(at, t0)
        at = phone.t1
        parts = sounds(phone.symbol)
        for n, sound in enumerate(parts):
            a, b = (t0 + (phone.t1 - t0) * m / len(parts) for m in (n, n + 1))
            if sound is PAUSE:
                silence(a, b)
            else:
                voiced = sound.kind in _VOWELS
                gestures.append(Gesture(sound, a / _MS, b / _MS, _FORCE.get(phone.stress, 1.0) if voiced else 1.0))
        if not parts:
            at = t0
    if end is not None:
        silence(at, end)
        silence(end, end + pad)
    return gestures or [Gesture(PAUSE, 0, 300)]


def _window(gestures: Sequence[Gesture], kinds: tuple[Kind, ...], grid: Array, ramp: float) -> Array:
    """1 around the middles of the sounds of these kinds, falling to 0 over `ramp` ms on both sides."""
    centres = [(g.start + g.end) / 2 - _LEAD_MS for g in gestures if g.sound.kind in kinds]
    if not centres:
        return np.zeros(len(grid), np.float32)
    place = np.array(centres, np.float32)
    index = np.clip(np.searchsorted(place, grid), 1, len(place) - 1) if len(place) > 1 else np.zeros(len(grid), int)
    distance = np.minimum(np.abs(grid - place[index]), np.abs(grid - place[index - 1]))
    level: Array = np.clip(1 - (distance - 10) / ramp, 0, 1).astype(np.float32)
    return level


def _constrain(weights: Array, gestures: Sequence[Gesture], grid: Array) -> None:
    """Narrow the jaw at sibilants, touch at labiodentals, keep the sum at 1 or below."""
    narrow = _window(gestures, (Kind.SIBILANT, Kind.LIP_HEAVY), grid, _TOUCH_RAMP_MS)
    weights[:, (AA, EH, OH, IH)] *= (1 - _NARROW * narrow)[:, None]
    hissing = _window(gestures, (Kind.SIBILANT,), grid, _TOUCH_RAMP_MS)
    weights[:, SS] = np.maximum(weights[:, SS], 0.7 * hissing)
    touch = _TOUCH * _window(gestures, (Kind.LABIODENTAL,), grid, _TOUCH_RAMP_MS)
    others = 1 - touch
    lips = weights[:, FF].copy()
    weights *= others[:, None]
    weights[:, FF] = np.maximum(lips, touch)
    weights[:, PP] = 0
    weights /= np.maximum(weights.sum(1, keepdims=True), 1)


def _rest(weights: Array, grid: Array, start: int | None, end: int | None) -> None:
    """Ease to the resting mouth at the open ends."""
    ease = np.ones(len(grid), np.float32)
    if start is not None:
        ease = np.minimum(ease, (grid - start / _MS) / _REST_MS)
    if end is not None:
        ease = np.minimum(ease, (end / _MS - grid) / _REST_MS)
    weights *= ease[:, None]
    weights[:, SIL] += 1 - ease


def _soften(weights: Array, grid: Array) -> None:
    """Bound the slope, backwards from the end: a shape that would jump begins earlier, and is mixed with the next."""
    most = _SLOPE * np.diff(grid)
    if (np.abs(np.diff(weights, axis=0)).max(1, initial=0) <= most).all():
        return
    for at in range(len(grid) - 2, -1, -1):
        step = weights[at] - weights[at + 1]
        far = np.abs(step).max()
        if far > most[at]:
            weights[at] = weights[at + 1] + step * (most[at] / far)


def _closures(gestures: Sequence[Gesture], start: int | None, end: int | None) -> list[tuple[float, float]]:
    """When and how far the lips are shut for p, b and m: corners (ms, 0 or 1) of a line that is 0 outside.

    They are shut 18 ms before the sound and open as it ends; a short vowel before it is left its middle.
    """
    shut: list[tuple[float, float, float, float]] = []
    previous: Gesture | None = None
    for gesture in gestures:
        if gesture.sound.kind is Kind.BILABIAL:
            length = gesture.end - gesture.start
            voiced = previous is not None and previous.sound.kind in _VOWELS
            room = previous.end - previous.start if previous is not None and voiced else np.inf
            a = gesture.start - min(_CLOSURE_LEAD_MS, 0.2 * room)
            rise = max(_FASTEST_MS, min(_CLOSURE_RAMP_MS, 0.4 * room))
            b = gesture.start + max(0.6 * length, min(20.0, length))
            if start is not None:
                a = max(a, min(start / _MS + _CLOSURE_START_MS, gesture.start + length / 2))
                rise = min(rise, a - start / _MS)
            fall = max(_RELEASE_MS, gesture.end - b)
            if end is not None:
                b = max(a, min(b, end / _MS - _CLOSURE_START_MS))
                fall = min(fall, end / _MS - b)
            if min(rise, fall) * _MS >= _STEP:
                shut.append((a - rise, a, b, b + fall))
        previous = gesture
    corners: list[tuple[float, float]] = []
    for n, (rising, a, b, opened) in enumerate(shut):
        if not n:
            corners.append((rising, 0))
        corners += [(a, 1), (b, 1)]
        if n + 1 == len(shut):
            corners.append((opened, 0))
        elif shut[n + 1][1] - b > _MERGED_MS:
            middle = (b + shut[n + 1][1]) / 2
            corners += [(min(opened, middle), 0), (max(shut[n + 1][0], middle), 0)]
    first, last = (bound / _MS if bound is not None else far for bound, far in ((start, -np.inf), (end, np.inf)))
    return [(float(np.clip(_on_grid(ms), first, last)), level) for ms, level in corners]


def _close(weights: Array, closures: list[tuple[float, float]], grid: Array) -> None:
    if closures:
        corners = np.array(closures)
        closure = np.interp(grid, np.maximum.accumulate(corners[:, 0]), corners[:, 1]).astype(np.float32)
        weights *= (1 - closure)[:, None]
        weights[:, PP] = closure


def _on_grid(ms: Any) -> Any:
    """The nearest places a knot can have, in ms: they are 5 ms apart, so that no two knots nearly coincide."""
    return np.round(ms * (_MS / _STEP)) * (_STEP / _MS)


def _knots(gestures: Sequence[Gesture], closures: list[tuple[float, float]], length: int) -> NDArray[np.int64]:
    """Culminations of the sounds, both ends of one that is held, corners of the closures, the ease at the ends."""
    spans = np.array([(gesture.start, gesture.end) for gesture in gestures]) - _LEAD_MS
    span = spans[:, 1] - spans[:, 0]
    inset = np.where(span > 2 * _HELD_MS, _HELD_MS, span / 2)
    ends = (_REST_MS, length / _MS - _REST_MS)
    ms = np.concatenate([spans[:, 0] + inset, spans[:, 1] - inset, [t for t, _ in closures], ends])
    samples = np.round(_on_grid(ms) * _MS).astype(np.int64)
    inside = samples[(samples > 0) & (samples < length)]
    return np.unique(np.concatenate([inside, [0, length]]))


def _simplify(times: NDArray[np.int64], weights: Array) -> NDArray[np.bool_]:
    """Which points of each viseme's curve to keep as keys [n, 15].

    Ramer-Douglas-Peucker on all visemes at once, begun with the sharp corners: in each round every span between two
    keys that misses the curve by more than the tolerance gets a key where it misses most. Of a run of zeros only the
    ends are kept.
    """
    count, visemes = weights.shape
    kept = np.zeros((visemes, count), bool)
    used = np.flatnonzero(weights.any(0))
    if not len(used):
        return kept.T
    curves = weights[:, used].T.astype(np.float64)
    values = curves.ravel()
    clock = np.tile(times.astype(np.float64), len(used))
    sharp = np.ones(curves.shape, bool)
    if count > 2:
        share = (times[1:-1] - times[:-2]) / (times[2:] - times[:-2])
        straight = curves[:, :-2] + (curves[:, 2:] - curves[:, :-2]) * share
        sharp[:, 1:-1] = np.abs(straight - curves[:, 1:-1]) > _CORNER
    keep = sharp.ravel()
    while True:
        places = np.flatnonzero(keep)
        span = np.cumsum(keep) - 1
        left, right = places[span], places[np.minimum(span + 1, len(places) - 1)]
        width = np.maximum(clock[right] - clock[left], 1)
        error = np.abs(values[left] + (values[right] - values[left]) * (clock - clock[left]) / width - values)
        error[places] = 0
        wrong = np.flatnonzero((error > _TOLERANCE) & (error == np.maximum.reduceat(error, places)[span]))
        if not len(wrong):
            break
        keep[wrong[np.unique(span[wrong], return_index=True)[1]]] = True
    for row, at, own in zip(used.tolist(), keep.reshape(curves.shape), curves, strict=True):
        places = np.flatnonzero(at)
        shown = own[places] > 0
        kept[row, places[shown | np.append(shown[1:], False) | np.insert(shown[:-1], 0, False)]] = True
    return kept.T
