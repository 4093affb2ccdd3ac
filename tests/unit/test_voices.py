"""How fast a voice is on this machine: measured at the start, remembered while it keeps up."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.frames import OUTPUT_RATE, SpeechChunk
from pipelines.providers.base import ProviderError, Voice
from pipelines.registry import Voices
from server.voices import measure
from tests.contract.house import HandClock

FAST = Voice("joe", "Joe", "en-US", "male", "piper", "fast", "CC0-1.0")
NATURAL = Voice("heart", "Heart", "en-US", "female", "kokoro", "good", "Apache-2.0")
FOREIGN = replace(NATURAL, id="dora", language="es-ES")


class Engine:
    """Takes `takes` seconds for a second of speech, the next of them each time."""

    def __init__(self, clock: HandClock, takes: list[float]) -> None:
        self.clock, self.takes = clock, takes
        self.asked: list[str] = []

    async def speak(self, text: str, voice: str) -> Any:
        self.asked.append(voice)
        if not self.takes:
            raise ProviderError("broken", retryable=True, public="")
        self.clock.seconds += self.takes.pop(0)
        yield SpeechChunk(0, 0, 0, bytes(2 * OUTPUT_RATE))


async def measured(kept: Path, *takes: float) -> tuple[Engine, Voices, dict[str, float]]:
    clock = HandClock()
    engine, voices = Engine(clock, list(takes)), Voices([FAST, NATURAL, FOREIGN], "joe")
    providers: Any = SimpleNamespace(tts=engine, voices=voices)
    return engine, voices, await measure(providers, clock, kept)


async def test_the_better_of_two_times_counts_because_the_first_loads_the_model(tmp_path: Path) -> None:
    engine, voices, found = await measured(tmp_path / "voices.json", 5.0, 0.4)
    assert (engine.asked, found, voices.keeps_up("heart")) == (["heart", "heart"], {"kokoro": 0.4}, True)


async def test_a_voice_that_kept_up_is_not_measured_again(tmp_path: Path) -> None:
    (tmp_path / "voices.json").write_text(json.dumps({"kokoro": 0.5}))
    engine, voices, _ = await measured(tmp_path / "voices.json")
    assert (engine.asked, voices.keeps_up("heart")) == ([], True)


async def test_a_voice_that_was_slow_on_a_busy_day_gets_another_chance(tmp_path: Path) -> None:
    (tmp_path / "voices.json").write_text(json.dumps({"kokoro": 1.4}))
    _, voices, found = await measured(tmp_path / "voices.json", 1.6, 0.45)
    assert (found, voices.keeps_up("heart")) == ({"kokoro": 0.45}, True)


@pytest.mark.parametrize("kept", ["nonsense", "[]", '{"kokoro": "x"}'])
async def test_a_voice_that_does_not_speak_does_not_keep_up(tmp_path: Path, kept: str) -> None:
    (tmp_path / "voices.json").write_text(kept)
    _, voices, found = await measured(tmp_path / "voices.json")
    assert (found, voices.speed(NATURAL)) == ({}, "slow")
