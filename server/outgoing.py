"""From the session to whichever socket is attached: numbers events, keeps what is unacknowledged, pumps what may go."""

import asyncio
from typing import Literal, Protocol

import orjson

from pipelines.ports import Clock
from server import wire
from server.core.stream import Overrun, Stream
from server.telemetry import Metrics


class Link(Protocol):
    """One live socket of one client."""

    async def emit(self, name: str, payload: dict[str, object] | bytes) -> None: ...

    async def close(self, reason: str) -> None:
        """Close the socket; its last events are delivered first where that is possible."""
        ...


class Outgoing:
    """A client that stops reading is cut at the stream's budget (`slow`), and may resume."""

    def __init__(self, clock: Clock, metrics: Metrics, *, window: int = 262_144, limit: int = 4_194_304) -> None:
        self._clock, self._metrics = clock, metrics
        self._health: dict[str, wire.Health] = {}
        self._stream = Stream(window=window, limit=limit)
        self._wake = asyncio.Event()
        self.link: Link | None = None
        self.overrun = False

    @property
    def last_seq(self) -> int:
        return self._stream.last

    def send(self, event: wire.ServerEvent) -> None:
        """Number the event and queue it."""
        body = event.model_dump(mode="json", exclude_none=True)
        body |= {"seq": self._stream.last + 1, "ts": round(self._clock.now(), 3)}
        self._push(wire.EVENT_NAMES[type(event)], body, len(orjson.dumps(body)))

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
        data = media.pack()
        self._push("audio", data, len(data))

    def _push(self, name: str, payload: dict[str, object] | bytes, size: int) -> None:
        try:
            self._stream.push(name, payload, size)
        except Overrun:
            self.overrun = True
        self._wake.set()

    def ack(self, seq: int) -> None:
        """Raises ValueError for a number that was never sent."""
        self._stream.ack(seq)
        self._wake.set()

    def attach(self, link: Link) -> Link | None:
        """Send to `link` from now on; returns the one it replaces."""
        old, self.link = self.link, link
        self._wake.set()
        return old

    def resume(self, seen: int) -> None:
        """Raises ResumeGap."""
        self._stream.resume(seen)
        self._wake.set()

    async def pump(self) -> None:
        """Send what may be sent, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.link is None:
                continue
            if self.overrun:
                link, self.link = self.link, None
                await link.close("slow")
                continue
            for out in self._stream.sendable():
                await self.link.emit(out.name, out.payload)
                if self.link is None:
                    break
