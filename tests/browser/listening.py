"""What was said, heard and shown, in numbers: spoken questions as microphones, sound as words, mouths as openings."""

import re
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from bench.serving import models
from bench.speech import spoken
from pipelines.core.visemes import ARKIT_52, ARKIT_OF_OCULUS, OCULUS_15
from pipelines.frames import INPUT_RATE
from pipelines.models.store import ModelStore
from pipelines.registry import ProviderSettings, recogniser
from pipelines.workers.process import running
from tests.browser.visitor import Heard

MICROPHONE_RATE = 48_000
OPENING: NDArray[np.float64] = ARKIT_OF_OCULUS[:, ARKIT_52.index("jawOpen")]
"""How far each viseme opens the jaw."""


async def microphone(file: Path, text: str, *, before: float = 1.5, after: float = 3.0) -> Path:
    """A WAV file in which `text` is said between silences."""
    [pcm] = await spoken(models(), text)
    samples = soxr.resample(np.frombuffer(pcm, "<i2"), INPUT_RATE, MICROPHONE_RATE)
    quiet = [np.zeros(round(seconds * MICROPHONE_RATE)) for seconds in (before, after)]
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(MICROPHONE_RATE)
        out.writeframes(np.concatenate([quiet[0], samples, quiet[1]]).astype("<i2").tobytes())
    return file


async def transcript(sound: NDArray[np.float32], rate: int) -> str:
    """What the recogniser understands of samples from -1 to 1."""
    samples = soxr.resample(sound, rate, INPUT_RATE) * 32767
    stt, worker = recogniser(ModelStore(models()), ProviderSettings())
    async with running(worker):
        return (await stt.transcribe(samples.astype("<i2").tobytes(), "en-US")).text


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower().replace("'", ""))


def wrong_words(said: str, understood: str) -> int:
    """Words to insert, drop or exchange to make one of the other."""
    a, b = words(said), words(understood)
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (word != other))
    return row[-1]


def sent_mouth(faces: Sequence[dict[str, Any]], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mouth [n, 15] that the server's keys ask for at these samples of the response: linear from key to key."""
    keys = sorted((face["t0"] + t, id, weight) for face in faces for t, id, weight in face["keys"])
    mouth = np.zeros((len(at), len(OCULUS_15)))
    for viseme in range(len(OCULUS_15)):
        own = [(t, weight) for t, id, weight in keys if id == viseme]
        if own:
            mouth[:, viseme] = np.interp(at, *zip(*own, strict=True))
    return mouth


def loudness(heard: Heard, at: NDArray[np.float64], width: float = 0.06) -> NDArray[np.float64]:
    """Root mean square of the sound around these context times."""
    power = np.concatenate([[0.0], np.cumsum(heard.samples.astype(np.float64) ** 2)])
    edges = [
        np.clip(np.round((at + side * width / 2 - heard.start) * heard.rate), 0, len(heard.samples)).astype(int)
        for side in (-1, 1)
    ]
    return np.sqrt(np.maximum(0.0, power[edges[1]] - power[edges[0]]) / (width * heard.rate))


def lag(heard: Heard, at: NDArray[np.float64], opening: NDArray[np.float64]) -> tuple[float, float]:
    """Seconds by which the mouth is behind the sound, and the correlation there."""
    lags = np.arange(-0.3, 0.301, 0.01)
    found = [float(np.corrcoef(opening, loudness(heard, at - behind))[0, 1]) for behind in lags]
    best = int(np.nanargmax(found))
    return float(lags[best]), found[best]
