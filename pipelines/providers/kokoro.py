"""Text to speech by Kokoro, the natural voice: its worker process and the provider that asks it."""

from collections.abc import Mapping
from pathlib import Path

from pipelines.providers.worker_tts import PUBLIC, WorkerTts
from pipelines.workers.process import WorkerSpec


def worker(model: Path, dictionaries: Path, voices: Mapping[str, str], default: str, threads: int = 2) -> WorkerSpec:
    """The process that holds the model in the folder `model` and its English `voices` (their languages by name). It
    loads at once when `default` is one of them, and otherwise when first asked to speak."""
    config = {"model": str(model), "dictionaries": str(dictionaries), "voices": dict(voices), "default": default}
    return WorkerSpec("kokoro", config, public=PUBLIC, threads=threads)


class KokoroTts(WorkerTts):
    """Exact times from the model's own durations; phonemes from dictionaries, without espeak."""
