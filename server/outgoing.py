"""From the session to whichever socket is attached: numbers events, keeps what is unacknowledged, pumps what may go."""

import asyncio
from collections.abc import Callable
from typing import Literal, Protocol

import orjson

from pipelines.frames import OUTPUT_RATE
from pipelines.ports import Clock
from server import wire
from server.core.stream import Overrun, ResumeGap, Stream
from server.telemetry import Metrics

UNSURE = OUTPUT_RATE // 2
"""Samples before the last one reported as played that are kept: a client that lost its place may ask for them."""
KEEPING = 256
"""Bytes that an event or a piece of sound costs beside its own."""


class Link(Protocol):
    """One live socket of one client."""

    async def emit(self, name: str, payload: str | bytes) -> None:
        """Send an event (JSON) or media (bytes); never waits for the client."""
        ...

    def full(self, tell: Callable[[], None]) -> bool:
        """Whether the client has yet to read what it was sent; then `tell` is called when it has."""
        ...

    async def close(self, reason: str) -> None:
        """Close the socket; its last events are delivered first where that is possible."""
        ...


class Outgoing:
    """A client that stops reading is cut at the stream's budget (`slow`); coming back, it starts from the history.

    `watch` is told of every event, also when no client is there to get it.
    """

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        watch: Callable[[wire.ServerEvent], None],
        *,
        window: int = 262_144,
        limit: int = 4_194_304,
    ) -> None:
        self._clock, self._metrics, self._watch = clock, metrics, watch
        self._health: dict[str, wire.Health] = {}
        self._stream = Stream(window=window, limit=limit)
        self._wake = asyncio.Event()
        self.link: Link | None = None
        self.moves = 0
        """How often a socket was attached or lost."""
        self._overrun = False

    @property
    def last_seq(self) -> int:
        return self._stream.last

    def send(self, event: wire.ServerEvent) -> None:
        """Number the event and queue it. What a client that was cut has missed is in the history, and not kept here."""
        self._watch(event)
        if self._overrun:
            return
        body = event.model_dump(mode="json", exclude_none=True)
        body |= {"seq": self._stream.last + 1, "ts": round(self._clock.now(), 3)}
        text = orjson.dumps(body)
        try:
            self._stream.push(wire.EVENT_NAMES[type(event)], text.decode(), len(text) + KEEPING)
        except Overrun:
            self._overrun = True
            self._stream.reset()
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
        if self._overrun:
            return
        data, end = media.pack(), media.t + len(media.payload) // 2
        try:
            self._stream.push_media("audio", data, len(data) + KEEPING, media.rid, end)
        except Overrun:
            self._overrun = True
            self._stream.reset()
        self._wake.set()

    def ack(self, seq: int) -> None:
        """Raises ValueError for a number that was never sent."""
        self._stream.ack(seq)
        self._wake.set()

    def heard(self, rid: int, samples: int) -> None:
        """This much of response `rid` has been played: but for the last half second, it will not be asked for again."""
        self._stream.heard(rid, max(0, samples - UNSURE))

    def over(self, rid: int) -> None:
        """Nothing of response `rid` will be played any more."""
        self._stream.heard(rid + 1, 0)

    def attach(self, link: Link) -> Link | None:
        """Send to `link` from now on; returns the one it replaces."""
        old, self.link = self.link, link
        self.moves += 1
        self._wake.set()
        return old

    def lose(self, link: Link) -> None:
        """`link` is gone; another one may come."""
        if self.link is link:
            self.link = None
            self.moves += 1

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
                self.lose(link)
                await link.close("slow")
                continue
            while self.link is link and not link.full(self._wake.set) and (out := self._stream.take()):
                payload = out.payload
                if out.resent and isinstance(payload, bytes):
                    payload = wire.resent(payload)
                await link.emit(out.name, payload)
