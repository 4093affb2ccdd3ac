"""One reply on its way to the listener: frames of its pipeline become events, paced by what has been heard.

Never more than 2 s of unheard audio is sent. A reply that ends early keeps what the listener heard of it.
"""

import asyncio  # create_task only inside a TaskGroup: no task outlives the reply
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from pipelines.channel import Channel
from pipelines.core.heard import Heard, Segment, heard
from pipelines.core.timeline import Pacer
from pipelines.frames import (
    OUTPUT_RATE,
    Citation,
    Clause,
    Cue,
    Failed,
    Frame,
    Question,
    SpeechChunk,
    TextDelta,
    Written,
)
from pipelines.ports import Clock, Conversation, FinishReason
from pipelines.stage import Stage, run
from server import wire
from server.outgoing import Outgoing

FRAME = OUTPUT_RATE // 10
"""Samples of one audio message: 100 ms."""
SLACK = 1.5
"""Seconds to wait for a client's word that it has played everything, beyond the time that playing takes."""
STALLED = 30.0
"""Seconds without progress at the listener's end after which the rest of a reply is not said any more."""
STOP_REPORT = 0.5
"""Seconds to wait after a cut for a client's word of what was heard."""


class Reply:
    """`origin` is the monotonic time of the user's last sound (or message): the zero of the latencies."""

    def __init__(
        self,
        *,
        rid: int,
        message_id: str,
        conversation: Conversation,
        kind: Literal["answer", "greeting"],
        origin: float,
        marks: dict[str, float],
        outgoing: Outgoing,
        clock: Clock,
        voiced: bool,
        faced: bool,
    ) -> None:
        self.rid, self.message_id, self.kind = rid, message_id, kind
        self.question = ""
        """The message that it answers, once that is committed."""
        self.text = ""
        self.failed: list[Failed] = []
        self.written: Written | None = None
        self.voiced, self.faced = voiced, faced
        self.crashed = self.latency_told = False
        self.over = False
        """Nothing more of it will be shown; it is only being kept."""
        self.unheard = False
        """The listener stopped listening: the rest was not sent."""
        self._marks = dict(marks)
        self.conversation, self._origin = conversation, origin
        self._outgoing, self._clock = outgoing, clock
        self._pacer = Pacer()
        self._segments: list[Segment] = []
        self._started = False
        self._deltas = self._frames = self._samples = 0
        self._stopped = asyncio.Event()
        self._done = asyncio.Event()

    @property
    def started(self) -> bool:
        """Something of it has been sent."""
        return self._started

    @property
    def samples(self) -> int:
        """How much sound of it has been sent."""
        return self._samples

    @property
    def spoken(self) -> bool:
        """Some of it has been given a voice."""
        return bool(self._segments)

    @property
    def finish_reason(self) -> FinishReason:
        if self.crashed or any(failed.part == "llm" for failed in self.failed):
            return "error"
        return self.written.finish_reason if self.written else "stop"

    @property
    def latency_ms(self) -> dict[str, float]:
        """Milliseconds from the user's last sound (or message) to each mark."""
        return {name: round((at - self._origin) * 1000, 1) for name, at in self._marks.items()}

    async def run(
        self,
        stages: Sequence[Stage],
        first: Frame,
        release: Awaitable[bool],
        audible: Callable[[], Awaitable[None]],
        degraded: Callable[[Failed], None],
    ) -> bool:
        """Work at once, show nothing before `release` says yes; returns when everything has been heard.

        False from `release` discards the reply. `audible` is called with the first thing shown or heard.
        """
        out: Channel[Frame] = Channel(4)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(run(stages, first, out), name="pipeline")
            if not await release:
                work.cancel()
                return False
            async for frame in out:
                await self._show(frame, audible, degraded)
        if self._samples and self.voiced:
            self._audio(b"", wire.Flag.LAST)
        if self._samples and self.voiced and not self.unheard:
            await self._heard_to_the_end()
        return True

    async def _show(
        self, frame: Frame, audible: Callable[[], Awaitable[None]], degraded: Callable[[Failed], None]
    ) -> None:
        if not self._started and not isinstance(frame, Failed | Question | Written):
            self._started = True
            self._outgoing.send(
                wire.RespStart(
                    rid=self.rid,
                    turn=self.rid,
                    kind=self.kind,
                    message_id=self.message_id,
                    conversation_id=self.conversation.id,
                )
            )
        match frame:
            case TextDelta():
                self._mark("t_llm1")
                self.text += frame.text
                self._outgoing.send(wire.Txt(rid=self.rid, i=self._deltas, d=frame.text))
                self._deltas += 1
                if self._deltas == 1:
                    await audible()
                await asyncio.sleep(0)  # let it leave before the next one is looked at
            case Clause():
                self._mark("t_clause")
            case SpeechChunk():
                self._mark("t_tts1")
                await self._speak(frame)
            case Cue() if self.voiced:
                body = {"t": frame.t, "type": frame.type, "name": frame.name, "amp": frame.amp, "dur": frame.dur}
                self._outgoing.send(wire.Cue(rid=self.rid, **body))
            case Citation():
                self._outgoing.send(
                    wire.Citation(
                        rid=self.rid,
                        n=frame.n,
                        document_id=frame.document_id,
                        title=frame.title,
                        url=frame.url,
                        snippet=frame.snippet,
                    )
                )
            case Written():
                self.written = frame
            case Failed():
                self.failed.append(frame)
                degraded(frame)
            case _:
                pass

    async def _speak(self, chunk: SpeechChunk) -> None:
        if not self.voiced:
            return
        segment = Segment.of(chunk)
        self._segments.append(segment)
        self._outgoing.send(
            wire.Seg(
                rid=self.rid,
                n=len(self._segments) - 1,
                text=chunk.text,
                c0=chunk.c0,
                t0=chunk.t0,
                len=chunk.samples,
                words=[(word.t0, word.t1, word.c0, word.c1) for word in segment.words],
            )
        )
        if self.faced:
            self._outgoing.send(
                wire.Face(
                    rid=self.rid,
                    n=len(self._segments) - 1,
                    t0=chunk.t0,
                    keys=[(key.t, key.id, round(key.weight, 3)) for key in chunk.visemes],
                )
            )
        for start in range(0, len(chunk.pcm), FRAME * 2):
            piece = chunk.pcm[start : start + FRAME * 2]
            if not await self._wait_turn(len(piece) // 2):
                return
            self._audio(piece, wire.Flag(0) if self._samples else wire.Flag.FIRST)
            self._mark("t_sent")

    async def _wait_turn(self, samples: int) -> bool:
        """Wait until the listener is near enough; False when it has not moved for `STALLED`."""
        playhead, since = -1, 0.0
        while self.voiced and not self.unheard and (wait := self._pacer.wait(samples, now := self._clock.monotonic())):
            if (heard := self._pacer.playhead(now)) != playhead or self._outgoing.link is None:
                playhead, since = heard, now
            self.unheard = now - since > STALLED
            await self._clock.sleep(wait)
        return self.voiced and not self.unheard

    def _audio(self, pcm: bytes, flags: wire.Flag) -> None:
        media = wire.Media(wire.Kind.OUT_PCM16, self._frames, self.rid, OUTPUT_RATE, self._samples, pcm, flags)
        self._outgoing.audio(media)
        self._pacer.send(len(pcm) // 2, self._clock.monotonic())
        self._frames += 1
        self._samples += len(pcm) // 2

    async def _heard_to_the_end(self) -> None:
        """Until the client has said so, or had the time. While it is away it has not."""
        moves = -1
        while self.voiced and (self._outgoing.link is None or moves != self._outgoing.moves):
            moves = self._outgoing.moves
            left = self._samples - self._pacer.playhead(self._clock.monotonic())
            try:
                async with asyncio.timeout(left / OUTPUT_RATE + SLACK):
                    await self._done.wait()
                return
            except TimeoutError:
                pass

    def played(self, report: wire.Play) -> None:
        """The client's word of what it hears."""
        now = self._clock.monotonic()
        self._pacer.report(min(report.played, self._samples), now, playing=report.state in ("start", "tick"))
        if report.state == "start":
            self._mark("t_audible")
        if report.state == "done":
            self._done.set()
        if report.state in ("stop", "done"):
            self._stopped.set()

    async def heard_when_cut(self) -> Heard:
        """What was heard of a reply that was cut: the client's last word, or its playhead when it says nothing."""
        if not self.voiced:
            return self.heard_whole()
        if not self._segments:
            return Heard(0, 0, "")
        cut_at = self._clock.monotonic()
        if not self._stopped.is_set():
            try:
                async with asyncio.timeout(STOP_REPORT):
                    await self._stopped.wait()
            except TimeoutError:
                pass
        return heard(
            self._segments, self._pacer.playhead(self._clock.monotonic() if self._stopped.is_set() else cut_at)
        )

    def suit(self, *, voiced: bool, faced: bool) -> None:
        """No more sound or face when the client has no use for it; a reply without sound counts as read."""
        self.voiced, self.faced = self.voiced and voiced, self.faced and faced
        if not self.voiced:
            self.unheard = False
            self._done.set()
            self._outgoing.over(self.rid)

    def heard_so_far(self) -> Heard:
        return heard(self._segments, self._pacer.playhead(self._clock.monotonic()))

    def heard_whole(self) -> Heard:
        return Heard(self._samples, len(self.text), self.text)

    def _mark(self, name: str) -> None:
        self._marks.setdefault(name, self._clock.monotonic())
