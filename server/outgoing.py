"""From the session to whichever socket is attached: numbers events, keeps what is unacknowledged, pumps what may go."""

import asyncio
from typing import Literal, Protocol

import orjson

from pipelines.ports import Clock
from server import wire
from server.core.stream import Overrun, ResumeGap, Stream
from server.telemetry import Metrics


class Link(Protocol):
    """One live socket of one client."""

    async def emit(self, name: str, payload: dict[str, object] | bytes) -> None: ...

    async def close(self, reason: str) -> None:
        """Close the socket; its last events are delivered first where that is possible."""
        ...


class Outgoing:
    """A client that stops reading is cut at the stream's budget (`slow`); coming back, it starts from the history."""

    def __init__(self, clock: Clock, metrics: Metrics, *, window: int = 262_144, limit: int = 4_194_304) -> None:
        self._clock, self._metrics = clock, metrics
        self._health: dict[str, wire.Health] = {}
        self._stream = Stream(window=window, limit=limit)
        self._wake = asyncio.Event()
        self.link: Link | None = None
        self._overrun = False

    @property
    def last_seq(self) -> int:
        return self._stream.last

    def send(self, event: wire.ServerEvent) -> None:
        """Number the event and queue it."""
        body = event.model_dump(mode="json", exclude_none=True)
        body |= {"seq": self._stream.last + 1, "ts": round(self._clock.now(), 3)}
        try:
            self._stream.push(wire.EVENT_NAMES[type(event)], body, len(orjson.dumps(body)))
        except Overrun:
            self._overrun = True
        self._wake.set()

    def error(self, code: str, message: str, **more: object) -> None:
        """Tell the client that something failed; the session lives on."""
        self._metrics.errors.labels(code).inc()
        self.send(wire.Err.model_validate({"code": code, "message": message, **more}))

    def health(self, part: Literal["stt", "tts", "llm", "database"], health: wire.Health) -> None:
        """Tell the client when a part of the service gets better or worse."""
        if self._health.get(part, "ok") != health:
            self._health[part] = health
            self.send(wire.State.model_validate({part: health}))

    def audio(self, media: wire.Media) -> None:
        """Queue a piece of a response's sound."""
        try:
            self._stream.push_media("audio", media.pack(), media.rid, media.t + len(media.payload) // 2)
        except Overrun:
            self._overrun = True
        self._wake.set()

    def ack(self, seq: int) -> None:
        """Raises ValueError for a number that was never sent."""
        self._stream.ack(seq)
        self._wake.set()

    def heard(self, rid: int, samples: int) -> None:
        """This much of response `rid` has been played: its sound will not be asked for again."""
        self._stream.heard(rid, samples)

    def attach(self, link: Link) -> Link | None:
        """Send to `link` from now on; returns the one it replaces."""
        old, self.link = self.link, link
        self._wake.set()
        return old

    def resume(self, seen: int, rid: int, played: int) -> tuple[Link | None, bool]:
        """Rewind for another socket, which is attached later; returns the socket that is replaced, and whether nothing
        is lost. When something is, everything that waits is forgotten."""
        old, self.link = self.link, None
        try:
            if self._overrun:
                raise ResumeGap
            self._stream.resume(seen, rid, played)
        except ResumeGap:
            self._stream.reset()
            self._overrun = False
            return old, False
        return old, True

    async def pump(self) -> None:
        """Send what may be sent, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            link = self.link
            if link is None:
                continue
            if self._overrun:
                self.link = None
                await link.close("slow")
                continue
            for out in self._stream.sendable():
                await link.emit(out.name, out.payload)
                if self.link is not link:
                    break
