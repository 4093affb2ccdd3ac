"""From phones to a moving mouth: one curve, as sparse viseme keys or as dense ARKit frames.

The curve is the dominance blend of `coarticulation` under the hard constraints of JALI (Edwards et al. 2016): bilabials
close the lips, labiodentals touch, sibilants narrow the jaw. It lies on a grid of 10 ms, leads the sound a little
(people forgive an early mouth, not a late one) and rests at both ends unless it is told what comes before or after.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.core.coarticulation import Array, Gesture, blend
from pipelines.core.visemes import AA, ARKIT_OF_OCULUS, EH, FF, IH, OCULUS_15, OH, PAUSE, PP, SIL, SS, Kind, sounds
from pipelines.frames import OUTPUT_RATE, Phone, Viseme

__all__ = ["OCULUS_15", "curve", "frames", "keys"]

STEP = OUTPUT_RATE // 100
_MS = OUTPUT_RATE / 1000
_LEAD_MS = 12.0
_CLOSURE_LEAD_MS = 18.0
_CLOSURE_RAMP_MS = 45.0
_CLOSURE_START_MS = 25.0
_TOUCH_RAMP_MS = 60.0
_TOUCH = 0.85
_NARROW = 0.6
_REST_MS = 60.0
_FORCE = {0: 0.8, 1: 1.0, 2: 0.92}
_TOLERANCE = 0.042


def keys(
    phones: Sequence[Phone], length: int, *, before: Sequence[Phone] = (), after: Sequence[Phone] = ()
) -> tuple[Viseme, ...]:
    """The mouth of `length` samples of speech as keys, ordered by time.

    A viseme's weight is linear between its keys, constant outside them, 0 without any; that is within 0.05 of `curve`.
    Keys of consecutive chunks simply follow one another.
    """
    times, weights = _curve(phones, length, before, after)
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
    times, weights = _curve(phones, length, before, after)
    at = np.arange(length * fps // OUTPUT_RATE + 1) * (OUTPUT_RATE / fps)
    visemes = np.stack([np.interp(at, times, weights[:, v]) for v in range(len(OCULUS_15))], 1)
    return np.round(np.clip(visemes @ ARKIT_OF_OCULUS, 0, 1) * 255).astype(np.uint8)


def curve(
    phones: Sequence[Phone], length: int, *, before: Sequence[Phone] = (), after: Sequence[Phone] = ()
) -> tuple[NDArray[np.int64], Array]:
    """Sample times [n] (every 240, and `length`) and Oculus-15 weights [n, 15], each 0 to 1, their sum at most 1.

    `before` are the last phones of the chunk before, at negative times; `after` the next ones, from `length` on.
    """
    return _curve(phones, length, before, after)


def _curve(
    phones: Sequence[Phone], length: int, before: Sequence[Phone], after: Sequence[Phone]
) -> tuple[NDArray[np.int64], Array]:
    times = np.append(np.arange(0, max(length, 1), STEP), length) if length > 0 else np.zeros(1, np.int64)
    gestures = _gestures([*before, *phones, *after], 0 if not before else None, length if not after else None)
    grid = (times / _MS).astype(np.float32)
    weights = blend(gestures, grid + np.float32(_LEAD_MS))
    _constrain(weights, gestures, grid)
    start = None if before else 0.0
    end = None if after else length / _MS
    _rest(weights, grid, start, end)
    _close(weights, gestures, grid, start, end)
    weights[weights < 0.015] = 0
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
                voiced = sound.kind in (Kind.VOWEL, Kind.ROUNDED)
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
    """Narrow the jaw at sibilants, touch at labiodentals, keep the sum at 1 or below, and smooth."""
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
    if len(weights) > 2:
        weights[1:-1] = (weights[:-2] + 2 * weights[1:-1] + weights[2:]) / 4


def _rest(weights: Array, grid: Array, start: float | None, end: float | None) -> None:
    """Ease to the resting mouth at the open ends."""
    ease = np.ones(len(grid), np.float32)
    if start is not None:
        ease = np.minimum(ease, (grid - start) / _REST_MS)
    if end is not None:
        ease = np.minimum(ease, (end - grid) / _REST_MS)
    ease = np.clip(ease, 0, 1)
    weights *= ease[:, None]
    weights[:, SIL] += 1 - ease


def _close(weights: Array, gestures: Sequence[Gesture], grid: Array, start: float | None, end: float | None) -> None:
    """Shut the lips at every p, b and m: shut 18 ms before the sound, open again before it ends."""
    shut: list[list[float]] = []
    for gesture in gestures:
        if gesture.sound.kind is not Kind.BILABIAL:
            continue
        length = gesture.end - gesture.start
        a = gesture.start - _CLOSURE_LEAD_MS
        b = max(gesture.start + 0.6 * length, gesture.start + min(20.0, length))
        if start is not None:
            a = max(a, min(start + _CLOSURE_START_MS, gesture.start + length / 2))
        if end is not None:
            b = min(b, end - _CLOSURE_START_MS)
        b = max(a, b)
        if shut and a - shut[-1][1] < 25:
            shut[-1][1] = b
        else:
            shut.append([a, b])
    if not shut:
        return
    knots: list[float] = []
    levels: list[float] = []
    for n, (a, b) in enumerate(shut):
        room = a - shut[n - 1][1] if n else (a - start if start is not None else np.inf)
        left = shut[n + 1][0] - b if n + 1 < len(shut) else (end - b if end is not None else np.inf)
        rise = min(_CLOSURE_RAMP_MS, room / 3 if n else room)
        fall = min(_CLOSURE_RAMP_MS, left / 3 if n + 1 < len(shut) else left)
        knots += [a - max(rise, 1e-3), a, b, b + max(fall, 1e-3)]
        levels += [0, 1, 1, 0]
    closure = np.interp(grid, knots, levels).astype(np.float32)
    weights *= (1 - closure)[:, None]
    weights[:, PP] = closure


def _simplify(times: NDArray[np.int64], weights: Array) -> NDArray[np.bool_]:
    """Which points of each viseme's curve to keep as keys [n, 15].

    Ramer-Douglas-Peucker on all visemes at once: in each round every span between two keys that misses the curve by
    more than the tolerance gets a key where it misses most.
    """
    count, visemes = weights.shape
    kept = np.zeros((visemes, count), bool)
    used = np.flatnonzero(weights.any(0))
    if not len(used):
        return kept.T
    values = np.ascontiguousarray(weights[:, used].T.astype(np.float64)).ravel()
    clock = np.tile(times.astype(np.float64), len(used))
    keep = np.zeros(values.shape, bool)
    keep[0::count] = True
    keep[count - 1 :: count] = True
    while True:
        places = np.flatnonzero(keep)
        span = np.cumsum(keep) - 1
        left = places[span]
        right = places[np.minimum(span + 1, len(places) - 1)]
        width = np.maximum(clock[right] - clock[left], 1)
        error = np.abs(values[left] + (values[right] - values[left]) * (clock - clock[left]) / width - values)
        error[keep] = 0
        worst = np.maximum.reduceat(error, places)
        wrong = (error > _TOLERANCE) & (error == worst[span])
        if not wrong.any():
            break
        first = np.unique(span[wrong], return_index=True)[1]
        keep[np.flatnonzero(wrong)[first]] = True
    table = keep.reshape(len(used), count)
    flat = values.reshape(len(used), count) == 0
    for row in range(len(used)):
        places = np.flatnonzero(table[row])
        if len(places) > 1 and flat[row, places[0]] and flat[row, places[1]]:
            table[row, places[0]] = False
        if len(places) > 1 and flat[row, places[-1]] and flat[row, places[-2]]:
            table[row, places[-1]] = False
    kept[used] = table
    return kept.T
