"""Text to speech by Piper, the fast voice: its worker process and the provider that asks it."""

from collections.abc import Mapping
from pathlib import Path

from pipelines.providers.worker_tts import PUBLIC, WorkerTts
from pipelines.workers.process import WorkerSpec


def worker(voices: Mapping[str, Path], default: str, threads: int = 2) -> WorkerSpec:
    """The process that holds the voices, by name, of which `default` is loaded at once if it is one of them."""
    paths = {name: str(path) for name, path in voices.items()}
    return WorkerSpec("text_to_speech", {"voices": paths, "default": default}, public=PUBLIC, threads=threads)


class PiperTts(WorkerTts):
    """Exact times from the model's own durations."""
