"""Speech to text by Whisper, in its worker process."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.core.language import primary
from pipelines.frames import INPUT_RATE, Transcript, Word
from pipelines.providers.base import ProviderError, SttCapabilities
from pipelines.workers.process import WorkerProcess, WorkerSpec

PUBLIC = "I could not hear you just now. Please try again, or type."
LONGEST_S = 60


def worker(model: Path, threads: int = 2) -> WorkerSpec:
    """The process that holds the recogniser in the folder `model`."""
    return WorkerSpec("speech_to_text", {"model": str(model)}, public=PUBLIC, threads=threads)


class WhisperStt:
    """`languages` are the primary subtags the model knows; a dialect counts as its language."""

    def __init__(self, process: WorkerProcess, model: str, languages: Sequence[str]) -> None:
        self._process = process
        self._capabilities = SttCapabilities(tuple(languages), model)

    @property
    def capabilities(self) -> SttCapabilities:
        return self._capabilities

    async def transcribe(self, pcm: bytes, language: str) -> Transcript:
        spoken = primary(language)
        if spoken not in self._capabilities.languages:
            raise ProviderError(
                f"{self._capabilities.model} does not know {language!r}",
                retryable=False,
                public=f"I cannot hear {language} yet.",
            )
        if len(pcm) > 2 * INPUT_RATE * LONGEST_S:
            raise ProviderError(
                f"utterance of {len(pcm)} bytes", retryable=False, public=f"That was longer than {LONGEST_S} seconds."
            )
        reply, _ = await self._process.request("transcribe", {"language": spoken}, pcm[: len(pcm) // 2 * 2])
        segments = tuple(Word(*part) for part in reply.get("segments", ()))
        return Transcript(0, reply["text"], spoken, confidence=reply["confidence"], segments=segments)
