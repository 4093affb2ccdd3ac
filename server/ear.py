"""The session's ear: microphone frames in, endpointing verdicts out, the utterance's audio kept for the recogniser.

Runs as one task of the session. When the voice activity detector fails, the ear goes deaf and says so once; typing goes
on, and the next frame tries again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipelines.audio.resample import Resampler
from pipelines.core.endpoint import WINDOW, Endpointer, EndpointRules, Heard
from pipelines.frames import INPUT_RATE
from pipelines.providers.base import ProviderError, Vad, VadStream
from server.wire import Flag, Media

PREROLL = INPUT_RATE * 3 // 10
"""Kept before the onset, so that the first sound is whole: 300 ms."""
KEEP = 2 * INPUT_RATE
LONGEST = 64 * INPUT_RATE
"""Never more than this much audio is kept: 64 s."""
GONE = 1.5
"""Seconds without a frame in the middle of an utterance that end it: the microphone has gone."""
QUEUE_FRAMES = 250
"""About 5 s of 20 ms frames; the oldest are dropped when the detector cannot keep up."""


@dataclass(frozen=True, slots=True)
class Deaf:
    """Speech cannot be heard now."""

    public: str


class Ear:
    def __init__(self, vad: Vad, rules: EndpointRules, tell: Callable[[Heard | Deaf], Awaitable[None]]) -> None:
        self._vad, self._tell = vad, tell
        self._endpointer = Endpointer(rules)
        self._frames: deque[Media] = deque(maxlen=QUEUE_FRAMES)
        self._came = asyncio.Event()
        self._resampler = Resampler(INPUT_RATE)
        self._rate = INPUT_RATE
        self._accepted = 0.0
        self._audio = bytearray()
        self._first = 0
        """Input time of the first sample in `_audio`."""
        self._judged = 0
        self._keep_from: int | None = None

    @property
    def t(self) -> int:
        """Input samples heard since the session's start."""
        return self._first + len(self._audio) // 2

    @property
    def accepted(self) -> int:
        """Input samples that need not be sent again: heard, waiting to be heard, or dropped while too many waited."""
        return int(self._accepted)

    @property
    def waiting(self) -> bool:
        """Whether there are frames to listen to."""
        return bool(self._frames)

    def push(self, media: Media) -> None:
        """One microphone frame. Raises ValueError with a message fit for the client when it cannot be understood."""
        if media.channels != 1:
            raise ValueError(f"the microphone sends one channel, not {media.channels}")
        if len(media.payload) % 2:
            raise ValueError("16-bit PCM has an even number of bytes")
        if media.rate != self._rate:
            self._resampler = Resampler(media.rate)
            self._rate = media.rate
        self._frames.append(media)
        self._accepted += len(media.payload) // 2 * INPUT_RATE / media.rate
        self._came.set()

    def commit(self) -> list[Heard]:
        """The user says that the utterance is over."""
        return self._endpointer.commit(self._judged)

    def clear(self) -> None:
        self._endpointer.clear()

    def utterance(self, onset: int, end: int) -> bytes:
        """PCM from `PREROLL` before `onset` to `end`, as far as it is still kept."""
        start = max(onset - PREROLL, self._first)
        return bytes(self._audio[(start - self._first) * 2 : (end - self._first) * 2])

    async def run(self) -> None:
        """Listen until cancelled."""
        stream: VadStream | None = None
        deaf = False
        try:
            while True:
                media = await self._next()
                if media is None:
                    for heard in self.commit():
                        await self._tell(heard)
                    continue
                pcm = self._resampler.push(media.payload)
                self._keep(pcm)
                try:
                    stream = stream or await self._vad.open()
                    probabilities = await stream.push(pcm)
                except ProviderError as error:
                    stream = None
                    self._judged = self.t
                    self._endpointer.clear()
                    if not deaf:
                        deaf = True
                        await self._tell(Deaf(error.public))
                    continue
                deaf = False
                playing = bool(media.flags & Flag.CLIENT_PLAYING)
                for p in probabilities:
                    self._judged += WINDOW
                    for heard in self._endpointer.push(p, self._judged, playing=playing):
                        await self._tell(heard)
        finally:
            if stream is not None:
                await stream.close()

    async def _next(self) -> Media | None:
        """The next frame; None when somebody was speaking and no more frames come."""
        while not self._frames:
            self._came.clear()
            try:
                async with asyncio.timeout(GONE if self._endpointer.speaking else None):
                    await self._came.wait()
            except TimeoutError:
                return None
        return self._frames.popleft()

    def keep_from(self, onset: int | None) -> None:
        """Forget nothing from `PREROLL` before `onset` on, until called with None."""
        self._keep_from = None if onset is None else onset - PREROLL

    def _keep(self, pcm: bytes) -> None:
        self._audio += pcm
        wanted = self.t - KEEP if self._keep_from is None else min(self.t - KEEP, self._keep_from)
        wanted = max(wanted, self.t - LONGEST)
        if wanted > self._first:
            del self._audio[: (wanted - self._first) * 2]
            self._first = wanted
