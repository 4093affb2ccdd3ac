"""One conversation's shell: obeys `pipelines.core.turn`, owns the ear and the reply, outlives its socket.

Everything that happens is one item in one bounded inbox, handled in order; whatever takes time is a child task that
posts its result back. A turn is a child task, and an interruption is its cancellation.
"""

import asyncio  # create_task only inside this session's TaskGroup
from collections import deque
from contextlib import suppress
from hmac import compare_digest
from typing import Literal

from pydantic import BaseModel

from pipelines.core.endpoint import Heard
from pipelines.core.turn import Command, Event, Floor, Turn, step
from pipelines.core.visemes import OCULUS_15
from pipelines.frames import INPUT_RATE, OUTPUT_RATE
from pipelines.ports import Bot, Conversation
from server import wire
from server.ear import Deaf, Ear
from server.hearing import Hearing, Partial, Recognised
from server.inbox import Item, Leave, Noticed, Parts, Received, SessionBusy
from server.outgoing import Outgoing
from server.replies import Ack, Asked, CutReason, Ended, Replies, Shown

INBOX = 256
SETTLE = 2.0
"""Seconds that a leaving session has for what it was told, and for the last word about what was heard."""
WAITING = 4
"""Typed messages that may wait for the present reply (`interrupt: false`)."""

_FLOOR: dict[Floor, Literal["listening", "hearing", "endpoint", "thinking", "speaking"]] = {
    Floor.IDLE: "listening",
    Floor.HEARING: "hearing",
    Floor.ENDPOINT: "endpoint",
    Floor.THINKING: "thinking",
    Floor.SPEAKING: "speaking",
}


class Session:
    """`run()` is its life; `post` and `media` are how the socket reaches it; `outgoing` is how it answers."""

    def __init__(self, sid: str, bot: Bot, conversation: Conversation, hello: wire.Hello, parts: Parts) -> None:
        self.id, self.bot = sid, bot
        engine = parts.engine
        self._token, self._old_token = engine.ids.new("rst"), ""
        self.outgoing = Outgoing(engine.clock, parts.metrics, lambda event: parts.watch(self.conversation, event))
        self._engine = engine
        self._clock, self._ids = engine.clock, engine.ids
        self._greet = hello.greet
        self._hangover_ms = parts.rules.hangover_ms
        self._inbox: asyncio.Queue[Item] = asyncio.Queue(INBOX)
        self._ear = Ear(parts.vad, parts.rules, self._noticed)
        self._turn = Turn()
        self._replies = Replies(
            engine, bot, conversation, self.outgoing, parts.metrics, self._inbox.put, parts.answering
        )
        self.suit(hello.caps)
        self._group: asyncio.TaskGroup
        self._alive = False
        self._leaving = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._hearing: Hearing | None = None
        self._items = 0
        self._deaf = False
        self._waiting: deque[Asked] = deque()
        self._vad_end: dict[str, float] = {}

    # --- the socket's side ---

    @property
    def conversation(self) -> Conversation:
        """The one it opened with or, once that was ended, the one that the user has begun since."""
        return self._replies.conversation

    def post(self, event: BaseModel, ack: Ack | None = None) -> None:
        """Hand over a client event; never waits. Raises SessionBusy."""
        self._old_token = ""
        try:
            self._inbox.put_nowait(Received(event, ack))
        except asyncio.QueueFull:
            raise SessionBusy from None

    def media(self, media: wire.Media) -> None:
        """Hand over a microphone frame; never waits. Raises ValueError with a message fit for the client."""
        if media.kind is not wire.Kind.MIC_PCM16:
            raise ValueError(f"a client sends kind {wire.Kind.MIC_PCM16.value} (microphone), not {media.kind.value}")
        self._old_token = ""
        self._ear.push(media)
        self._listen()

    def suit(self, caps: wire.Caps) -> None:
        """Send what this client can use: less of it at once, more from the next reply on."""
        voiced = "pcm16" in caps.out and self.bot.type != "text"
        self._replies.suit(voiced=voiced, faced=voiced and "oculus15" in caps.face and self.bot.type == "3d")

    def accepts(self, token: str) -> bool:
        """Whether `token` resumes this session: the newest one, or the one before it until it is used."""
        return any(known and compare_digest(known, token) for known in (self._token, self._old_token))

    def latest(self, token: str) -> bool:
        """Whether nobody has been given a newer one."""
        return compare_digest(self._token, token)

    def ready(self, ttl: int, *, used: str = "", recovered: bool = False) -> dict[str, object]:
        """The ack of `hello`, with a new resume token; the one that was `used` stays good until the first event after
        this, for the client may never get it."""
        self._token, self._old_token = self._ids.new("rst"), used
        bot = self.bot
        event = wire.Ready(
            sid=self.id,
            token=self._token,
            ttl=ttl,
            recovered=recovered,
            mic_next=self._ear.accepted,
            conversation_id=self.conversation.id,
            bot=wire.Bot(
                id=bot.id,
                name=bot.name,
                type=bot.type,
                avatar_id=bot.avatar_id,
                voice_id=bot.voice_id,
                language=bot.language,
            ),
            out=wire.OutFormat(rate=OUTPUT_RATE, format="pcm16" if self._replies.voiced else "none"),
            face=wire.FaceFormat(
                set="oculus15" if self._replies.faced else "none",
                names=list(OCULUS_15) if self._replies.faced else [],
                unit="keys",
                fps=30,
            ),
            turn=wire.TurnFormat(mode="auto", hangover=self._hangover_ms),
        )
        return {**event.model_dump(mode="json"), "seq": self.outgoing.last_seq, "ts": round(self._clock.now(), 3)}

    # --- life ---

    async def run(self) -> None:
        """Until cancelled. Every task started here ends before this returns."""
        known = await self._replies.recall()
        async with asyncio.TaskGroup() as group:
            self._group, self._alive = group, True
            pump = group.create_task(self.outgoing.pump(), name="pump")
            self._listen()
            self._replies.warm(group)
            self._warn_about_language()
            if self._greet and self.bot.greeting and not known:
                self._turn = Turn(Floor.THINKING, 1)
                self._replies.greet(1, self._clock.monotonic(), group)
            obeying = group.create_task(self._obey(), name="obey")
            await self._leaving.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(obeying, SETTLE)
            await self._step(Event.STOP, reason="superseded")
            await self._replies.settle(SETTLE)
            self._drop_hearing()
            self._replies.close()
            self._alive = False
            pump.cancel()
            if self._listening:
                self._listening.cancel()
            while not self._inbox.empty():  # whoever waits for room in it goes on, and ends
                self._inbox.get_nowait()

    async def _obey(self) -> None:
        while not isinstance(item := await self._inbox.get(), Leave):
            await self._handle(item)

    def _listen(self) -> None:
        """The ear's task begins with the microphone's first frame: most visitors only type."""
        if self._alive and self._listening is None and self._ear.waiting:
            self._listening = self._group.create_task(self._ear.run(), name="ear")

    def leave(self) -> None:
        """End the conversation's session: what was heard of a running reply is kept first."""
        self._leaving.set()
        with suppress(asyncio.QueueFull):  # then what is in it has `SETTLE` seconds
            self._inbox.put_nowait(Leave())

    async def finish(self, within: float) -> None:
        """Let a running reply end by itself, at most `within` seconds."""
        await self._replies.settle(within)

    async def _handle(self, item: Item) -> None:
        match item:
            case Received():
                await self._received(item)
            case Noticed():
                await self._on_noticed(item)
            case Partial():
                if self._hearing and item.item == self._hearing.item and self._turn.floor is Floor.HEARING:
                    self.outgoing.send(wire.SttPart(item=item.item, rev=item.rev, text=item.text, stable=item.stable))
            case Recognised():
                await self._on_recognised(item)
            case Shown():
                if self._replies.current == item.rid:
                    await self._step(Event.REPLY_AUDIBLE)
            case Ended():
                if self._replies.ended(item.rid):
                    await self._step(Event.REPLY_ENDED)
                    self._replies.warm(self._group)
            case Deaf():
                self._deaf = True
                self.outgoing.health("stt", "unavailable")
                self.outgoing.error("UPSTREAM_ERROR", f"{item.public} You can type instead.", retry_ms=3000)
                await self._stop_hearing()
        if self._waiting and self._turn.floor is Floor.IDLE:
            await self._step(Event.USER_TYPED, self._waiting.popleft())

    async def _received(self, received: Received) -> None:
        match received.event:
            case wire.Say() as say:
                await self._on_say(say, received.ack)
            case wire.Ack(seq=seq):
                try:
                    self.outgoing.ack(seq)
                except ValueError as error:
                    self.outgoing.error("INVALID_REQUEST", str(error))
            case wire.Play() as report:
                self._replies.played(report)
            case wire.Stop(rid=rid):
                if rid is None or rid == self._replies.current:
                    await self._step(Event.STOP, reason="button")
            case wire.Barge(state="confirmed") if self._turn.floor in (Floor.THINKING, Floor.SPEAKING):
                await self._step(Event.STOP, reason="voice")
            case wire.MicCommit() | wire.Ptt(down=False):
                for heard in self._ear.commit():
                    await self._noticed(heard)
            case wire.MicClear():
                await self._stop_hearing()
            case wire.Config(speak=speak):
                self._replies.speak = self._replies.speak if speak is None else speak
            case wire.Ping(c=c):
                self.outgoing.send(wire.Pong(c=c, s=round(self._clock.now(), 3)))

    # --- hearing ---

    async def _stop_hearing(self) -> None:
        """Forget what the user is saying."""
        self._ear.clear()
        if self._turn.floor in (Floor.HEARING, Floor.ENDPOINT):
            await self._step(Event.STOP)

    async def _noticed(self, heard: Heard | Deaf) -> None:
        """The ear's word, with the audio it is about taken while it is still kept."""
        if isinstance(heard, Deaf):
            await self._inbox.put(heard)
            return
        onset = self._hearing.onset if self._hearing else heard.onset
        pcm = self._ear.utterance(onset, heard.t) if heard.kind in ("pause", "end") else b""
        await self._inbox.put(Noticed(heard, pcm, self._clock.monotonic()))

    async def _on_noticed(self, noticed: Noticed) -> None:
        heard, hearing = noticed.heard, self._hearing
        if self._deaf:
            self._deaf = False
            self.outgoing.health("stt", "ok")
        rid = self._replies.current if self._turn.floor is Floor.SPEAKING else None
        match heard.kind:
            case "candidate":
                self._tell_vad("candidate", heard)
                if rid is not None:
                    self.outgoing.send(wire.Duck(rid=rid, db=-12, ms=30))
            case "retract":
                self._tell_vad("retract", heard)
                if rid is not None:
                    self.outgoing.send(wire.Unduck(rid=rid))
            case "start" if hearing and hearing.capped:
                pass
            case "start":
                self._tell_vad("start", heard)
                self._begin_hearing(heard.onset)
                await self._step(Event.USER_SPOKE, reason="voice")
            case "pause" if hearing and not hearing.capped:
                hearing.voiced_at = noticed.at - (heard.t - heard.voiced_end) / INPUT_RATE
                hearing.pause(noticed.pcm)
            case "resume" if hearing and not hearing.capped:
                hearing.resume()
            case "end" if hearing and not hearing.capped:
                hearing.capped = heard.capped
                self._tell_vad("end", heard)
                self._vad_end = {"t_vad_end": noticed.at}
                if heard.capped:
                    self.outgoing.send(
                        wire.Warn(code="UTTERANCE_CAPPED", message="That was long; I answer what I heard.")
                    )
                hearing.end(noticed.pcm)
                await self._step(Event.USER_STOPPED)

    def _begin_hearing(self, onset: int) -> None:
        """A new utterance, or the old one again when the user goes on before it was recognised."""
        if self._hearing:
            onset = self._hearing.onset
            self._hearing.drop()
        self._items += 1
        ear = self._ear
        ear.keep_from(onset)
        self._hearing = Hearing(
            self._items,
            onset,
            self._engine.stt,
            self.bot.language,
            self._clock,
            self._group,
            lambda: ear.utterance(onset, ear.t),
            self._inbox.put,
        )

    async def _on_recognised(self, recognised: Recognised) -> None:
        hearing = self._hearing
        if hearing is None or not hearing.current(recognised):
            return
        if self._turn.floor is not Floor.ENDPOINT:
            hearing.result = recognised
            return
        self._hearing = None
        self._ear.keep_from(None)
        if recognised.transcript is None:
            self.outgoing.health("stt", "unavailable")
            self.outgoing.error("UPSTREAM_ERROR", recognised.failure, retry_ms=1000)
            await self._step(Event.NOTHING_SAID)
            return
        self.outgoing.health("stt", "ok")
        transcript = recognised.transcript
        self.outgoing.send(
            wire.SttFinal(
                item=recognised.item,
                text=transcript.text,
                lang=transcript.language,
                words=[(word.t0, word.t1, word.c0, word.c1) for word in transcript.words],
                conf=transcript.confidence,
            )
        )
        if not transcript.text:
            self.outgoing.send(wire.Warn(code="NO_SPEECH", message="I heard a sound, but no words."))
            await self._step(Event.NOTHING_SAID)
            return
        marks = {**self._vad_end, "t_stt": self._clock.monotonic()}
        await self._step(Event.TRANSCRIBED, Asked(transcript.text, hearing.voiced_at, marks))

    def _drop_hearing(self) -> None:
        if self._hearing:
            self._hearing.drop()
            self._hearing = None
        self._ear.keep_from(None)
        self._ear.clear()

    # --- the floor ---

    async def _step(self, event: Event, asked: Asked | None = None, reason: CutReason = "typing") -> None:
        """Ask the table what the event means now, and do it."""
        before = self._turn.floor
        self._turn, commands = step(self._turn, event)
        for command in commands:
            match command:
                case Command.CANCEL_REPLY:
                    await self._replies.cancel(reason, self._group)
                case Command.DROP_UTTERANCE:
                    self._drop_hearing()
                case Command.TRANSCRIBE:
                    if self._hearing and self._hearing.result:
                        await self._inbox.put(self._hearing.result)
                case Command.START_REPLY if asked:
                    self._replies.answer(self._turn.number, asked, self._group)
        if self._turn.floor is not before or commands:
            self.outgoing.send(wire.TurnState(id=self._turn.number, state=_FLOOR[self._turn.floor]))

    async def _on_say(self, say: wire.Say, ack: Ack | None) -> None:
        asked = Asked(say.text.strip(), self._clock.monotonic(), {}, say)
        if not asked.text:
            self.outgoing.error(
                "INVALID_FORMAT", "A message needs at least one visible character.", ref=say.id, param="text"
            )
            return
        if await self._replies.known(say.id, ack):
            return
        if not say.interrupt and self._turn.floor in (Floor.THINKING, Floor.SPEAKING):
            if len(self._waiting) >= WAITING:
                self._replies.refuse(say.id)
                self.outgoing.error("RATE_LIMIT_EXCEEDED", "Please wait for the answer.", ref=say.id, retry_ms=2000)
                return
            self._waiting.append(asked)
            return
        await self._step(Event.USER_TYPED, asked, reason="typing")

    # --- what the client is told beside ---

    def _tell_vad(self, state: Literal["candidate", "start", "end", "retract"], heard: Heard) -> None:
        self.outgoing.send(wire.Vad(state=state, mic_t=heard.t, p=round(heard.p, 3)))

    def _warn_about_language(self) -> None:
        for problem in self._engine.language_problems(self.bot, voiced=self._replies.voiced):
            self.outgoing.send(wire.Warn(code="LANGUAGE_NOT_SPOKEN", message=problem))
