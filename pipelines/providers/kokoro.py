"""Text to speech by Kokoro, the natural voice: its worker process and the provider that asks it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pipelines.core.language import primary
from pipelines.providers.base import ProviderError, Voice
from pipelines.providers.worker_tts import PUBLIC, WorkerTts
from pipelines.workers.process import WorkerProcess, WorkerSpec

ESPEAK: Final[Mapping[str, str]] = {"es": "es", "fr": "fr", "hi": "hi", "it": "it", "pt": "pt-br"}
"""Languages that espeak reads for Kokoro, as it was trained, and what espeak calls them. English has dictionaries;
Japanese and Chinese would need others than espeak's sounds, so those voices are not in the manifest."""


def worker(model: Path, dictionaries: Path, voices: Mapping[str, str], default: str, threads: int = 2) -> WorkerSpec:
    """The process that holds the model in the folder `model` and its `voices` (their languages by name). It loads at
    once when `default` is one of them, and otherwise when first asked to speak."""
    config = {"model": str(model), "dictionaries": str(dictionaries), "voices": dict(voices), "default": default}
    return WorkerSpec("kokoro", config, public=PUBLIC, threads=threads)


def foreign(voice: Voice) -> bool:
    """Whether someone else must read for this voice."""
    return primary(voice.language) in ESPEAK


class KokoroTts(WorkerTts):
    """Exact times from the model's own durations. English phonemes come from dictionaries; those of other languages
    from espeak, which only Piper's process may hold (GPL): it is asked for them first."""

    def __init__(self, process: WorkerProcess, voices: Sequence[Voice], espeak: WorkerProcess | None = None) -> None:
        super().__init__(process, voices)
        self._espeak = espeak
        self._reads = {voice.id: ESPEAK[primary(voice.language)] for voice in voices if foreign(voice)}

    async def read(self, text: str, voice: str) -> Mapping[str, Any]:
        if voice not in self._reads:
            return {}
        if self._espeak is None:
            raise ProviderError(f"nobody reads for {voice!r}", retryable=False, public=PUBLIC)
        read, _ = await self._espeak.request("read", {"text": text, "language": self._reads[voice]})
        return read
