"""Samples of voices in a folder that several processes share."""

import os
from pathlib import Path
from typing import Any

from pipelines.frames import OUTPUT_RATE, SpeechChunk
from pipelines.providers.base import Voice
from server.samples import PATIENCE, VoiceSamples

JOE = Voice("joe", "Joe", "en-US", "male", "piper", "fast", "CC0-1.0")


class Engine:
    """Says a tenth of a second of silence."""

    async def speak(self, text: str, voice: str) -> Any:
        yield SpeechChunk(0, 0, 0, bytes(OUTPUT_RATE // 5))


class Encoder:
    """Gives samples back as they are."""

    async def encode(self, pcm: bytes, rate: int, form: str) -> bytes:
        return pcm


async def test_what_another_process_is_writing_stays_and_what_one_left_behind_goes(tmp_path: Path) -> None:
    engine, encoder = Engine(), Encoder()
    samples: Any = VoiceSamples(tmp_path, [JOE], engine, encoder)  # type: ignore[arg-type]
    folder = tmp_path / "samples"
    folder.mkdir()
    written, left, foreign = folder / "written.part", folder / "left.part", folder / "foreign.mp3"
    for file in (written, left, foreign):
        file.write_bytes(b"x")
    then = written.stat().st_mtime - 2 * PATIENCE
    os.utime(left, (then, then))
    made = await samples.file(JOE)
    assert set(folder.iterdir()) == {made, written}
