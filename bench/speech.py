"""Spoken questions, made with the packaged voice, and where speech begins and ends in a recording."""

import asyncio
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from pipelines.frames import INPUT_RATE, OUTPUT_RATE
from pipelines.models.store import ModelStore
from pipelines.registry import ProviderSettings, speakers
from pipelines.workers.process import running

QUESTIONS = (
    "Why should I talk to an avatar?",
    "Tell me something nice about the sea.",
    "What is the difference between tea and coffee?",
    "How can I learn a new language quickly?",
    "Which city would you like to visit?",
)
"""None of them is a question that the demo chatbot has a ready answer to: the language model answers every one."""
AUDIBLE = 0.02
"""Amplitude (of 1) that counts as sound."""


def as_float(pcm: bytes) -> NDArray[np.float32]:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


def trimmed(pcm: bytes) -> bytes:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(as_float(pcm)) > AUDIBLE)
    return pcm[loud[0] * 2 : (loud[-1] + 1) * 2] if loud.size else b""


def first_audible(pcm: bytes) -> int:
    """The first sample that can be heard."""
    loud = np.flatnonzero(np.abs(as_float(pcm)) > AUDIBLE)
    return int(loud[0]) if loud.size else len(pcm) // 2


async def spoken(models: Path, *texts: str) -> list[bytes]:
    """Each text as trimmed mono PCM16 at INPUT_RATE."""
    tts, voices, workers = speakers(ModelStore(models), ProviderSettings())
    voice = next(iter(voices)).id
    out = []
    async with running(*workers):
        for text in texts:
            pcm = b"".join([chunk.pcm async for chunk in tts.speak(text, voice)])
            samples = soxr.resample(np.frombuffer(pcm, "<i2"), OUTPUT_RATE, INPUT_RATE)
            out.append(trimmed(samples.astype("<i2").tobytes()))
    return out


def main() -> None:
    """Write the questions as WAV files into build/questions."""
    import wave

    from bench.serving import ROOT, models

    folder = ROOT / "build/questions"
    folder.mkdir(parents=True, exist_ok=True)
    for n, pcm in enumerate(asyncio.run(spoken(models(), *QUESTIONS))):
        with wave.open(str(folder / f"q{n}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(INPUT_RATE)
            file.writeframes(pcm)


if __name__ == "__main__":
    main()
