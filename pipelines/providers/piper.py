"""Text to speech by Piper, in its worker process."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

from pipelines.frames import Phone, SpeechChunk, Word
from pipelines.providers.base import ProviderError, TtsCapabilities, Voice
from pipelines.workers.framing import Header
from pipelines.workers.process import WorkerProcess, WorkerSpec

PUBLIC = "My voice is briefly unavailable; I will write instead."
LEAD_MS = 10


def worker(voices: Mapping[str, Path], default: str, threads: int = 2) -> WorkerSpec:
    """The process that holds the voices, by name, of which `default` is loaded at once."""
    paths = {name: str(path) for name, path in voices.items()}
    return WorkerSpec("text_to_speech", {"voices": paths, "default": default}, public=PUBLIC, threads=threads)


class PiperTts:
    """One chunk for each clause, with exact phones and words. `lead_ms` is the silence left before the first sound
    (None leaves it as the voice made it)."""

    def __init__(self, process: WorkerProcess, voices: Sequence[Voice], *, lead_ms: int | None = LEAD_MS) -> None:
        self._process = process
        self._capabilities = TtsCapabilities(tuple(voices), phones=True)
        self._lead_ms = lead_ms

    @property
    def capabilities(self) -> TtsCapabilities:
        return self._capabilities

    async def speak(self, text: str, voice: str) -> AsyncGenerator[SpeechChunk]:
        if voice not in {v.id for v in self._capabilities.voices}:
            raise ProviderError(f"no voice {voice!r}", retryable=False, public="That voice is not installed.")
        args = {"text": text, "voice": voice, "lead_ms": self._lead_ms}
        header, pcm = await self._process.request("speak", args)
        if pcm:
            yield chunk(text, header, pcm)


def chunk(text: str, header: Header, pcm: bytes) -> SpeechChunk:
    """A voice worker's reply as a value."""
    return SpeechChunk(
        turn=0,
        clause=0,
        t0=0,
        pcm=pcm,
        phones=tuple(Phone(symbol, t0, t1, stress) for symbol, t0, t1, stress in header["phones"]),
        words=tuple(Word(*word) for word in header["words"]),
        text=text,
    )
