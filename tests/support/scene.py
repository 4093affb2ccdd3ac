"""A conversation on a virtual clock: one session, one scripted client that records what it is sent."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from pipelines.core.endpoint import EndpointRules
from pipelines.engine import Engine
from pipelines.frames import INPUT_RATE, OUTPUT_RATE
from pipelines.ports import Bot, Conversation, NoGuard, OneModel
from pipelines.registry import Voices
from server import wire
from server.inbox import Parts
from server.live import Watch, nobody
from server.session import Session
from server.telemetry import Metrics
from tests.support.fakes import (
    BOT,
    VOICE,
    CountingIds,
    LoudnessVad,
    MemoryJournal,
    NoKnowledge,
    ScriptedLlm,
    ScriptedStt,
    ToneTts,
)
from tests.support.virtual_time import VirtualClock, run


class Scene:
    """`events` holds (time, name, payload) in the order in which the client got them; media as `wire.Media`."""

    def __init__(
        self,
        *,
        llm: ScriptedLlm | None = None,
        stt: ScriptedStt | None = None,
        tts: ToneTts | None = None,
        vad: LoudnessVad | None = None,
        journal: MemoryJournal | None = None,
        bot: Bot = BOT,
        caps: wire.Caps | None = None,
        greet: bool = False,
        plays: bool = True,
        watch: Watch = nobody,
    ) -> None:
        self.llm, self.stt, self.tts = llm or ScriptedLlm(), stt or ScriptedStt(), tts or ToneTts()
        self.vad, self.journal = vad or LoudnessVad(), journal or MemoryJournal()
        self.clock = VirtualClock()
        engine = Engine(
            OneModel(self.llm),
            self.stt,
            self.tts,
            NoKnowledge(),
            NoGuard(),
            self.journal,
            self.clock,
            CountingIds(),
            Voices([VOICE], VOICE.id),
        )
        self.metrics = Metrics()
        caps = caps or wire.Caps.model_validate({"in": ["pcm16"], "out": ["pcm16"], "face": ["oculus15"]})
        hello = wire.Hello(chatbot_id=bot.id, caps=caps, greet=greet)
        conversation = Conversation("conv_1", bot.organization_id, bot.id, "user_1", bot.type)
        parts = Parts(engine, self.vad, EndpointRules(), self.metrics, watch)
        self.parts = parts
        self.session = Session("ses_1", bot, conversation, hello, parts)
        self.events: list[tuple[float, str, Any]] = []
        self.acks: list[dict[str, object]] = []
        self.closed: list[str] = []
        self._plays = plays
        self._mic = 0
        self._received: dict[int, int] = {}
        self._whole: set[int] = set()
        self._listening: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup

    # --- the client ---

    async def emit(self, name: str, payload: str | bytes) -> None:
        at = self.clock.monotonic()
        if isinstance(payload, bytes):
            media = wire.Media.unpack(payload)
            self.events.append((at, name, media))
            if self._plays:
                self._hear(media)
        else:
            event = json.loads(payload)
            self.events.append((at, name, event))
            self.session.post(wire.Ack(seq=event["seq"]))

    def full(self, tell: Callable[[], None]) -> bool:
        return False

    async def close(self, reason: str) -> None:
        self.closed.append(reason)

    def _hear(self, media: wire.Media) -> None:
        first = media.rid not in self._received
        self._received[media.rid] = media.t + len(media.payload) // 2
        if media.flags & wire.Flag.LAST:
            self._whole.add(media.rid)
        if first:
            self.session.post(wire.Play(rid=media.rid, played=0, state="start"))
            self._listening.append(self._group.create_task(self._listen(media.rid, self.clock.monotonic())))

    async def _listen(self, rid: int, started: float) -> None:
        """Report four times a second what has been played, as a widget does."""
        while True:
            await asyncio.sleep(0.25)
            played = min(self._received[rid], int((self.clock.monotonic() - started) * OUTPUT_RATE))
            done = rid in self._whole and played == self._received[rid]
            if self._cut(rid):
                return
            self.session.post(wire.Play(rid=rid, played=played, state="done" if done else "tick"))
            if done:
                return

    def _cut(self, rid: int) -> bool:
        return any(payload["rid"] == rid for payload in self.of("cut"))

    def say(self, text: str, id: str = "c1", **more: Any) -> None:
        async def ack(payload: dict[str, object]) -> None:
            self.acks.append(payload)

        self.session.post(wire.Say(id=id, text=text, **more), ack)

    async def speak(self, pcm: bytes, rate: int = INPUT_RATE) -> None:
        """Send PCM as 20 ms microphone frames in real (virtual) time."""
        size = rate // 50 * 2
        for at in range(0, len(pcm), size):
            piece = pcm[at : at + size]
            self.session.media(wire.Media(wire.Kind.MIC_PCM16, self._mic // size, 0, rate, self._mic // 2, piece))
            self._mic += len(piece)
            await asyncio.sleep(len(piece) / 2 / rate)

    # --- what came ---

    def names(self) -> list[str]:
        return [name for _, name, _ in self.events]

    def of(self, name: str) -> list[Any]:
        return [payload for _, n, payload in self.events if n == name]

    def at(self, name: str) -> float:
        return next(at for at, n, _ in self.events if n == name)

    def play(self, script: Callable[["Scene"], Awaitable[None]]) -> "Scene":
        """Run `script` beside the session, in virtual time; fails when a task is left behind."""
        run(self._played(script))
        return self

    async def _played(self, script: Callable[["Scene"], Awaitable[None]]) -> None:
        self.session.outgoing.attach(self)
        async with asyncio.TaskGroup() as group:
            self._group = group
            life = group.create_task(self.session.run())
            await script(self)
            await asyncio.sleep(0)
            for task in (life, *self._listening):
                task.cancel()
