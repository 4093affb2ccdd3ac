"""Which of the slower, more natural voices keep up with a conversation here: measured, and remembered."""

import json
from collections.abc import Iterable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Final

from pipelines.core.language import primary
from pipelines.frames import OUTPUT_RATE
from pipelines.ports import Clock
from pipelines.providers.base import ProviderError, Voice
from pipelines.registry import REAL_TIME, Providers

_SAMPLE: Final = "This is how quickly I speak."


async def measure(providers: Providers, clock: Clock, kept: Path) -> dict[str, float]:
    """Seconds of work for a second of speech, by engine, of the engines that may be too slow.

    The best that was ever found is remembered in the file `kept`. An engine that kept up once is not measured again;
    one that did not is, at every start: the machine may have been busy.
    """
    known = _remembered(kept)
    for engine, voice in _one_each(providers.voices).items():
        for _ in range(0 if known.get(engine, inf) <= REAL_TIME else 2):  # the first time loads the model
            started = clock.monotonic()
            with suppress(ProviderError):
                samples = sum([chunk.samples async for chunk in providers.tts.speak(_SAMPLE, voice)])
                factor = round((clock.monotonic() - started) * OUTPUT_RATE / max(samples, 1), 2)
                known[engine] = min(known.get(engine, inf), factor)
        providers.voices.measured(engine, known.get(engine, inf))
    _remember(kept, known)
    return known


def _one_each(voices: Iterable[Voice]) -> dict[str, str]:
    """One voice of every engine that may be too slow, of those that speak the sample's language."""
    slower = [voice for voice in voices if voice.speed != "fast" and primary(voice.language) == "en"]
    return {voice.engine: voice.id for voice in slower}


def _remembered(kept: Path) -> dict[str, float]:
    try:
        return {str(engine): float(factor) for engine, factor in json.loads(kept.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _remember(kept: Path, factors: dict[str, float]) -> None:
    with suppress(OSError):
        kept.write_text(json.dumps(factors))
