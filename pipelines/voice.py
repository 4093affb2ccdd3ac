"""The voice pipeline: utterance -> transcript -> the text pipeline -> clauses -> speech."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from pipelines.channel import Channel
from pipelines.core.clauses import ClauseSplitter
from pipelines.core.speakable import spoken
from pipelines.frames import Clause, Failed, Frame, TextDelta, Utterance
from pipelines.providers.base import ProviderError, Stt, Tts
from pipelines.stage import Stage


class Hear:
    """Utterance -> transcript. Nothing recognised ends the turn: nothing goes further."""

    def __init__(self, stt: Stt) -> None:
        self._stt = stt

    async def run(self, inbox: Channel[Frame], outbox: Channel[Frame]) -> None:
        async for frame in inbox:
            if not isinstance(frame, Utterance):
                await outbox.send(frame)
                continue
            try:
                heard = await self._stt.transcribe(frame.pcm, frame.language)
            except ProviderError as error:
                await outbox.send(Failed(frame.turn, "stt", error.public, error.retryable))
                continue
            if heard.text:
                await outbox.send(replace(heard, turn=frame.turn))


class Cut:
    """Text deltas -> also speakable clauses, the first one short so that it is heard early."""

    async def run(self, inbox: Channel[Frame], outbox: Channel[Frame]) -> None:
        splitter, index, turn = ClauseSplitter(), 0, 0

        async def send(clauses: Sequence[tuple[str, int]]) -> None:
            nonlocal index
            for text, c0 in clauses:
                await outbox.send(Clause(turn, index, text, c0))
                index += 1

        async for frame in inbox:
            await outbox.send(frame)
            if isinstance(frame, TextDelta):
                turn = frame.turn
                await send(splitter.push(frame.text))
        await send(splitter.flush())


class Speak:
    """Clauses -> speech, laid end to end on the response's clock. After a failure the text goes on without a voice."""

    def __init__(self, tts: Tts, voice: str) -> None:
        self._tts, self._voice = tts, voice

    async def run(self, inbox: Channel[Frame], outbox: Channel[Frame]) -> None:
        clock, mute = 0, False
        async for frame in inbox:
            await outbox.send(frame)
            if not isinstance(frame, Clause) or mute:
                continue
            words, origins = spoken(frame.text)
            if not words:
                continue
            start = clock
            try:
                async with aclosing(self._tts.speak(words, self._voice)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        placed = replace(
                            chunk,
                            turn=frame.turn,
                            clause=frame.index,
                            t0=start + chunk.t0,
                            text=frame.text,
                            c0=frame.c0,
                            words=tuple(replace(w, c0=origins[w.c0], c1=origins[w.c1 - 1] + 1) for w in chunk.words),
                        )
                        clock = placed.t0 + placed.samples
                        await outbox.send(placed)
            except ProviderError as error:
                mute = True
                await outbox.send(Failed(frame.turn, "tts", error.public, error.retryable))


def voice(hear: Hear | None, text: Sequence[Stage], speak: Speak) -> list[Stage]:
    """Enter with `Utterance` (when it hears), `Transcript` or `UserText`; adds `Clause` and `SpeechChunk`."""
    return [*([hear] if hear else []), *text, Cut(), speak]
