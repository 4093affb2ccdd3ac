"""The replies of one conversation: the one being given, the one just cut, and what is kept of them."""

import asyncio  # create_task only inside the session's TaskGroup
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from pipelines.core.heard import Heard
from pipelines.core.prompt import HISTORY, window
from pipelines.engine import Engine
from pipelines.frames import OUTPUT_RATE, Failed, TextDelta, UserText
from pipelines.ports import Bot, Conversation, FinishReason, JournalUnavailable, Recorded, UnknownConversation
from pipelines.providers.base import ChatMessage
from pipelines.stage import Stage
from server import wire
from server.core.inbox import Inbox
from server.outgoing import Outgoing
from server.reply import Reply
from server.telemetry import Metrics

Ack = Callable[[dict[str, object]], Awaitable[None]]
CutReason = Literal["voice", "button", "typing", "superseded", "error"]

REMEMBERED = 4 * HISTORY
"""Messages of the conversation that a session keeps at hand."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reply answers. `origin` is the monotonic time of the user's last sound or message; `marks` are the times
    (monotonic) at which the ear and the recogniser were done with it."""

    text: str
    origin: float
    marks: dict[str, float]
    say: wire.Say | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """The first of reply `rid` is on its way."""

    rid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Reply `rid` has been delivered and heard to its end, or was discarded."""

    rid: int


class Replies:
    """At most one reply at a time. `tell` takes `Shown` and `Ended`; `answering` is what any session is answering.

    A message that is sent again is answered when no reply to it is kept or being given: the one before may have died
    with its server. Of a reply that another server is giving this one knows nothing until it is kept.
    """

    def __init__(
        self,
        engine: Engine,
        bot: Bot,
        conversation: Conversation,
        outgoing: Outgoing,
        metrics: Metrics,
        tell: Callable[[Shown | Ended], Awaitable[None]],
        answering: set[str],
    ) -> None:
        self.speak = True
        """Whether replies are spoken, where the client can hear them."""
        self._engine, self._bot, self.conversation = engine, bot, conversation
        self._outgoing, self._metrics, self._tell = outgoing, metrics, tell
        self.voiced = self.faced = False
        """Whether the client hears sound, and shows a face, from the next reply on."""
        self._answering = answering
        self._history: list[ChatMessage] = []
        self._reply: Reply | None = None
        self._task: asyncio.Task[None] | None = None
        self._cut: Reply | None = None
        self._finishing: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._inbox: Inbox[Ack] = Inbox()

    @property
    def current(self) -> int | None:
        """The number of the reply being given."""
        return self._reply.rid if self._reply else None

    def suit(self, *, voiced: bool, faced: bool) -> None:
        """Of the present reply, what the client has no use for any more is not sent; what it can use now comes with the
        next one."""
        self.voiced, self.faced = voiced, faced
        if self._reply:
            self._reply.suit(voiced=voiced, faced=faced)

    async def known(self, client_id: str, ack: Ack | None) -> bool:
        """Whether this message has come before; its sender gets the same acknowledgement, now or after the commit."""
        if (message_id := self._inbox.kept(client_id)) and ack:
            await ack(wire.SayAck(id=client_id, message_id=message_id).model_dump())
        return not self._inbox.receive(client_id, ack)

    def refuse(self, client_id: str) -> None:
        """This message will not be answered now; sent again, it is new."""
        self._inbox.refused(client_id)

    async def recall(self) -> bool:
        """Read the conversation so far; returns whether there is any."""
        try:
            self._history = list(await self._engine.journal.recent(self.conversation, HISTORY))
        except JournalUnavailable:
            self._outgoing.health("database", "degraded")
        return bool(self._history)

    def warm(self, group: asyncio.TaskGroup) -> None:
        """Let an embedded model read the conversation so far while nobody waits for it."""
        self._cool()
        warming = self._engine.warm(self._bot, tuple(self._history), voiced=self.voiced)
        self._warming = group.create_task(warming, name="warm")

    def _cool(self) -> None:
        if self._warming:
            self._warming.cancel()
            self._warming = None

    def answer(self, rid: int, asked: Asked, group: asyncio.TaskGroup) -> None:
        """Begin to answer, while the user's words are being committed; nothing is shown before they are."""
        self._cool()
        voiced = self.voiced and self.speak and (asked.say is None or asked.say.speak)
        self._reply = reply = self._new(rid, "answer", asked.origin, asked.marks, voiced=voiced)
        words = ChatMessage("user", asked.text)
        recorded = group.create_task(self._record(reply, asked, words), name="record")
        self._task = group.create_task(self._answer(reply, words, recorded), name=f"reply {rid}")

    def greet(self, rid: int, origin: float, group: asyncio.TaskGroup) -> None:
        """Say the bot's greeting."""
        self._reply = reply = self._new(rid, "greeting", origin, {}, voiced=self.voiced)
        self._task = group.create_task(self._greet(reply), name="greeting")

    def close(self) -> None:
        """Nothing will be asked any more."""
        self._cool()

    def ended(self, rid: int) -> bool:
        """Forget reply `rid` if it is the present one; returns whether it was."""
        if self._reply is None or self._reply.rid != rid:
            return False
        self._reply = self._task = None
        return True

    async def cancel(self, reason: CutReason, group: asyncio.TaskGroup) -> None:
        """Stop the reply at once; what was heard of it is settled meanwhile, and before the next one begins."""
        if self._reply is None or self._task is None:
            return
        reply, task = self._reply, self._task
        self._reply = self._task = None
        if reply.over:  # it is only being kept
            self._finishing = task
            return
        if reply.started:
            self._cut = reply
        task.cancel()
        await asyncio.wait({task})
        if reply.started:
            self._outgoing.send(wire.Cut(rid=reply.rid, fade_ms=30, reason=reason))
            self._finishing = group.create_task(self._finish_cut(reply), name="finish cut")

    async def settle(self, within: float) -> None:
        """Wait for the running reply and for what is left of a cut one, at most `within` seconds."""
        tasks = {task for task in (self._task, self._finishing) if task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=within)

    def played(self, report: wire.Play) -> None:
        """The client's word of what it hears."""
        self._outgoing.heard(report.rid, report.played)
        for reply in (self._reply, self._cut):
            if reply and reply.rid == report.rid:
                reply.played(report)
                if report.state == "start":
                    self._tell_latency(reply)

    def _new(
        self, rid: int, kind: Literal["answer", "greeting"], origin: float, marks: dict[str, float], *, voiced: bool
    ) -> Reply:
        return Reply(
            rid=rid,
            message_id=self._engine.ids.new("msg"),
            conversation=self.conversation,
            kind=kind,
            origin=origin,
            marks=marks,
            outgoing=self._outgoing,
            clock=self._engine.clock,
            voiced=voiced,
            faced=voiced and self.faced,
        )

    async def _record(self, reply: Reply, asked: Asked, words: ChatMessage) -> bool:
        """Commit the user's words and acknowledge them; False when there is nothing to answer."""
        client_id = asked.say.id if asked.say else None
        try:
            recorded = await self._ask(asked, client_id, reply)
        except asyncio.CancelledError:
            self._inbox.refused(client_id or "")
            raise
        except Exception as error:  # the last resort: whatever the store says, the message was not kept
            if not isinstance(error, JournalUnavailable):
                log.exception("message not kept", conversation_id=self.conversation.id)
            self._inbox.refused(client_id or "")
            self._outgoing.health("database", "degraded")
            lost = "Your message could not be kept. Please send it again."
            self._outgoing.error("SERVICE_UNAVAILABLE", lost, ref=client_id, retry_ms=1000)
            return False
        self._outgoing.health("database", "ok")
        self.conversation = replace(self.conversation, kept=True)
        if not recorded.duplicate:
            self._history.append(words)
            del self._history[:-REMEMBERED]
        if client_id:
            for ack in self._inbox.committed(client_id, recorded.message_id):
                await ack(wire.SayAck(id=client_id, message_id=recorded.message_id).model_dump())
        if recorded.duplicate and (recorded.answered or recorded.message_id in self._answering):
            return False
        if self._reply is reply:
            reply.question = recorded.message_id
            self._answering.add(reply.question)
        return True

    async def _ask(self, asked: Asked, client_id: str | None, reply: Reply) -> Recorded:
        """Commit the user's words; where the conversation was ended or deleted, another one begins with them."""
        journal, spoken = self._engine.journal, asked.say is None
        try:
            return await journal.user_message(self.conversation, asked.text, client_id=client_id, spoken=spoken)
        except UnknownConversation:
            another = replace(self.conversation, id=self._engine.ids.new("conv"), kept=False)
            self.conversation = reply.conversation = another
            self._history.clear()
            return await journal.user_message(self.conversation, asked.text, client_id=client_id, spoken=spoken)

    async def _answer(self, reply: Reply, words: ChatMessage, recorded: asyncio.Task[bool]) -> None:
        if self._finishing:
            await asyncio.wait({self._finishing})
        history = tuple(window([said for said in self._history if said is not words]))
        if history and history[-1] == words:  # it was kept before, and never answered
            history = history[:-1]
        stages = self._engine.stages(self._bot, history, self.conversation, voiced=reply.voiced, faced=reply.faced)
        await self._deliver(reply, stages, UserText(reply.rid, words.content), asyncio.shield(recorded))

    async def _greet(self, reply: Reply) -> None:
        stages = self._engine.saying(self._bot, voiced=reply.voiced, faced=reply.faced)
        await self._deliver(reply, stages, TextDelta(reply.rid, self._bot.greeting), _yes())

    async def _deliver(
        self, reply: Reply, stages: list[Stage], first: UserText | TextDelta, release: Awaitable[bool]
    ) -> None:
        async def shown() -> None:
            self._recovered(reply)
            await self._tell(Shown(reply.rid))

        try:
            delivered = await reply.run(stages, first, release, shown, lambda failed: self._degraded(reply, failed))
        except asyncio.CancelledError:
            if self._cut is not reply:  # one that was cut answers until it is kept
                self._answering.discard(reply.question)
            raise
        except Exception:  # the last resort of a turn: a bug in a stage costs this reply, not the conversation
            log.exception("reply failed", conversation_id=self.conversation.id, rid=reply.rid)
            self._outgoing.error("INTERNAL_ERROR", "Something went wrong with this answer.", rid=reply.rid)
            reply.crashed = True
            delivered = reply.started
        reply.over = True
        if delivered:
            self._tell_latency(reply)
            self._recovered(reply)
            unheard = reply.heard_so_far() if reply.unheard else None
            await self._keep(reply, unheard.text if unheard else None, reply.finish_reason)
            self._end(reply, "error" if reply.finish_reason == "error" else "done", unheard or reply.heard_whole())
        else:
            self._answering.discard(reply.question)
        await self._tell(Ended(reply.rid))

    async def _finish_cut(self, reply: Reply) -> None:
        heard = await reply.heard_when_cut()
        self._cut = None
        self._tell_latency(reply)
        await self._keep(reply, heard.text, "cancelled")
        self._end(reply, "cut", heard)

    async def _keep(self, reply: Reply, heard: str | None, reason: FinishReason) -> None:
        """From then on, what the reply answers is known by the reply."""
        try:
            await self._journal(reply, heard, reason)
        finally:
            self._answering.discard(reply.question)

    async def _journal(self, reply: Reply, heard: str | None, reason: FinishReason) -> None:
        remembered = reply.text.strip() if heard is None else heard
        if remembered:
            self._history.append(ChatMessage("assistant", remembered))
        if reply.kind == "greeting":
            return
        try:
            await self._engine.journal.assistant_message(
                reply.conversation,
                reply.message_id,
                reply.text.strip(),
                finish_reason=reason,
                heard=heard,
                spoken=reply.spoken,
                latency_ms=reply.latency_ms,
            )
        except UnknownConversation:
            log.info("reply to a deleted conversation not kept", message_id=reply.message_id)
        except Exception:  # the last resort: a reply that cannot be kept has still been given
            self._outgoing.health("database", "degraded")
            log.exception("reply not kept", conversation_id=self.conversation.id, message_id=reply.message_id)

    def _end(self, reply: Reply, status: Literal["done", "cut", "error"], heard: Heard) -> None:
        self._metrics.turns.labels(status).inc()
        self._outgoing.over(reply.rid)
        written = reply.written
        self._outgoing.send(
            wire.RespEnd(
                rid=reply.rid,
                status=status,
                heard=wire.Heard(samples=heard.samples, chars=heard.chars, text=heard.text),
                usage=wire.Usage(
                    input_tokens=(written and written.input_tokens) or 0,
                    output_tokens=(written and written.output_tokens) or 0,
                    audio_ms=heard.samples * 1000 // OUTPUT_RATE,
                ),
                message_id=reply.message_id,
            )
        )

    def _tell_latency(self, reply: Reply) -> None:
        if reply.kind == "greeting" or reply.latency_told:
            return
        reply.latency_told = True
        self._outgoing.send(wire.Lat(turn=reply.rid, rid=reply.rid, **reply.latency_ms))
        for name, ms in reply.latency_ms.items():
            self._metrics.stage.labels(name.removeprefix("t_")).observe(max(ms, 0) / 1000)

    def _recovered(self, reply: Reply) -> None:
        """What has worked in this reply so far works again."""
        failed = {failure.part for failure in reply.failed}
        if reply.text and "llm" not in failed and not reply.crashed:
            self._outgoing.health("llm", "ok")
        if reply.spoken and "tts" not in failed:
            self._outgoing.health("tts", "ok")

    def _degraded(self, reply: Reply, failed: Failed) -> None:
        if failed.part == "retrieval":
            return
        self._outgoing.health(failed.part, "unavailable")
        if failed.part == "llm":
            retry_ms = 1000 if failed.retryable else None
            self._outgoing.error("UPSTREAM_ERROR", failed.message, retry_ms=retry_ms, rid=reply.rid)


async def _yes() -> bool:
    return True
