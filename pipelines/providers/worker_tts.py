"""Text to speech by a voice in a worker process, whatever the engine: what `piper` and `kokoro` have in common."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from pipelines.frames import Phone, SpeechChunk, Word
from pipelines.providers.base import ProviderError, TtsCapabilities, Voice
from pipelines.workers.process import WorkerProcess

PUBLIC = "My voice is briefly unavailable; I will write instead."
LEAD_MS = 10


class WorkerTts:
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
        args = {"text": text, "voice": voice, "lead_ms": self._lead_ms, **await self.read(text, voice)}
        header, pcm = await self._process.request("speak", args)
        if pcm:
            phones = tuple(Phone(symbol, t0, t1, stress) for symbol, t0, t1, stress in header["phones"])
            words = tuple(Word(*word) for word in header["words"])
            yield SpeechChunk(turn=0, clause=0, t0=0, pcm=pcm, phones=phones, words=words, text=text)

    async def read(self, text: str, voice: str) -> Mapping[str, Any]:
        """What the worker must be told besides, for voices that it cannot read for. Raises ProviderError."""
        return {}
