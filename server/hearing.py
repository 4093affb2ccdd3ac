"""What the recogniser makes of one utterance: partial transcripts while it lasts, the final one at the first pause.

The final transcript is started after `pause_ms` of silence and dropped when the user goes on, so that it is usually
ready when the silence has lasted long enough to end the turn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipelines.core.agreement import stable_prefix
from pipelines.frames import INPUT_RATE, Transcript
from pipelines.ports import Clock
from pipelines.providers.base import ProviderError, Stt

PARTIAL_EVERY = 0.7
"""Seconds between partial transcripts: each costs the recogniser as much as a final one."""
PARTIAL_LONGEST = 15 * INPUT_RATE
"""Bytes and time of a partial grow with the utterance; beyond this it shows its beginning only."""


@dataclass(frozen=True, slots=True)
class Partial:
    item: int
    rev: int
    text: str
    stable: int


@dataclass(frozen=True, slots=True)
class Recognised:
    """The final transcript of utterance `item`, or why there is none."""

    item: int
    attempt: int
    transcript: Transcript | None
    failure: str = ""


class Hearing:
    """One utterance. `audio()` gives its samples so far; `tell` takes results; both tasks end with the utterance."""

    def __init__(
        self,
        item: int,
        onset: int,
        stt: Stt,
        language: str,
        clock: Clock,
        group: asyncio.TaskGroup,
        audio: Callable[[], bytes],
        tell: Callable[[Partial | Recognised], Awaitable[None]],
    ) -> None:
        self.item, self.onset = item, onset
        self.capped = False
        """It was ended because it was too long: what is said from now on is another utterance."""
        self.result: Recognised | None = None
        """What was recognised before the utterance was known to be over."""
        self.voiced_at = clock.monotonic()
        """When the last voiced sample arrived."""
        self._stt, self._language, self._clock, self._group = stt, language, clock, group
        self._audio, self._tell = audio, tell
        self._attempt = 0
        self._final: asyncio.Task[None] | None = None
        self._partials = group.create_task(self._partially(), name="partials")

    def pause(self, pcm: bytes) -> None:
        """Silence: begin the final transcript of what was said."""
        self._attempt += 1
        self._final = self._group.create_task(self._finally(self._attempt, pcm), name="transcribe")

    def resume(self) -> None:
        """The user went on: what was begun is no longer the whole."""
        self._attempt += 1
        self.result = None
        if self._final:
            self._final.cancel()
            self._final = None

    def end(self, pcm: bytes) -> None:
        """The utterance is over; the final transcript comes by `tell`, from the pause's work where there was one."""
        self._partials.cancel()
        if self._final is None:
            self.pause(pcm)

    def drop(self) -> None:
        self._partials.cancel()
        self.resume()

    def current(self, recognised: Recognised) -> bool:
        return recognised.item == self.item and recognised.attempt == self._attempt

    async def _finally(self, attempt: int, pcm: bytes) -> None:
        try:
            transcript = await self._stt.transcribe(pcm, self._language)
        except ProviderError as error:
            await self._tell(Recognised(self.item, attempt, None, error.public))
        else:
            await self._tell(Recognised(self.item, attempt, transcript))

    async def _partially(self) -> None:
        rev, last, read = 0, "", 0
        while True:
            await self._clock.sleep(PARTIAL_EVERY)
            audio = self._audio()[: PARTIAL_LONGEST * 2]
            if self._final is not None or len(audio) == read:
                continue
            read = len(audio)
            try:
                text = (await self._stt.transcribe(audio, self._language)).text
            except ProviderError:
                return
            rev += 1
            await self._tell(Partial(self.item, rev, text, stable_prefix(last, text)))
            last = text
