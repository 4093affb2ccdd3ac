"""The face pipeline: the voice pipeline with a mouth and a body on the same clock."""

from collections.abc import Sequence
from dataclasses import replace

from pipelines.channel import Channel
from pipelines.core.lipsync import keys
from pipelines.core.motion import cues
from pipelines.frames import Frame, SpeechChunk
from pipelines.stage import Stage


class Act:
    """Speech -> speech with visemes, and the cues of the body that go with its words."""

    async def run(self, inbox: Channel[Frame], outbox: Channel[Frame]) -> None:
        async for frame in inbox:
            if not isinstance(frame, SpeechChunk):
                await outbox.send(frame)
                continue
            for cue in cues(frame):
                await outbox.send(cue)
            await outbox.send(replace(frame, visemes=keys(frame.phones, frame.samples)))


def face(voice: Sequence[Stage]) -> list[Stage]:
    """The stages of `voice`, then the face; adds `Cue` and the visemes of each `SpeechChunk`."""
    return [*voice, Act()]
