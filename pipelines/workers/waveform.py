"""What every voice's audio goes through last: the silence before it, its loudness, its sample format."""

import numpy as np
from numpy.typing import NDArray

GAIN, PEAK = 1.5, 0.95
AUDIBLE = 0.008  # of the clause's peak; below it is the silence before speech

Array = NDArray[np.float32]


def silence_before(audio: Array, lead: int) -> int:
    """How many samples may be cut from the start so that `lead` remain before the first audible one."""
    loudness = np.abs(audio)
    return max(0, int(np.argmax(loudness > AUDIBLE * loudness.max())) - lead)


def last_audible(audio: Array) -> int:
    """The number of samples up to and including the last audible one."""
    loud = np.abs(audio) > AUDIBLE * np.abs(audio).max()
    return len(audio) - int(np.argmax(loud[::-1]))


def pcm16(audio: Array) -> bytes:
    """One gain for every clause, so that loudness does not jump between them; less where it would clip."""
    gain = min(GAIN, PEAK / max(float(np.abs(audio).max(initial=0)), 1e-6))
    return (audio * (gain * 32767)).astype("<i2").tobytes()
