"""The one turn engine behind chat REST and behind the sockets: same prompts, same history, same stages."""

import asyncio  # create_task only inside a TaskGroup: no task outlives its turn
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pipelines.channel import Channel
from pipelines.core.heard import Segment, heard
from pipelines.core.language import primary
from pipelines.core.prompt import HISTORY, messages, window
from pipelines.core.template import Rendered, moment, render
from pipelines.face import face as with_face
from pipelines.frames import (
    Citation,
    Cue,
    Failed,
    Frame,
    Question,
    SpeechChunk,
    TextDelta,
    Transcript,
    UserText,
    Utterance,
    Written,
)
from pipelines.ports import Bot, Clock, Conversation, FinishReason, Guard, Ids, Journal, Models, Retriever, Visit
from pipelines.providers.base import ChatMessage, ProviderError, Stt, Tts
from pipelines.registry import Voices
from pipelines.stage import Stage, run
from pipelines.text import Retrieve, Think, text
from pipelines.voice import Cut, Hear, Speak, voice


class NothingSaid(Exception):
    """The audio holds no speech."""


class Listener:
    """Hears a reply while it is made, and may stop it."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()
        self.played: int | None = None

    def stop(self, played: int | None = None) -> None:
        """No more of it. `played` is how many of its output samples were heard; None: all that there is by now."""
        self.played = played
        self._stopped.set()

    async def stopped(self) -> None:
        await self._stopped.wait()

    def begun(self, message_id: str, transcript: str | None) -> None:
        """The user's words, transcribed if they were spoken, are kept; the reply `message_id` is being made."""

    def hear(self, frame: Frame) -> None:
        """The next frame of the reply. Does not wait."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Words that were known before, with a voice. Times are as in `Answer`."""

    speech: tuple[SpeechChunk, ...] = ()
    cues: tuple[Cue, ...] = ()
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole reply, collected; of one that was stopped, `text` is what was heard.

    Times of `speech` and `cues` are output samples since the response's first sample.
    """

    message_id: str
    conversation_id: str
    user_message_id: str
    text: str
    finish_reason: FinishReason
    transcript: str | None = None
    speech: tuple[SpeechChunk, ...] = ()
    cues: tuple[Cue, ...] = ()
    citations: tuple[Citation, ...] = ()
    degraded: tuple[str, ...] = ()
    latency_ms: dict[str, float] = field(default_factory=dict)
    written: Written | None = None
    """None when no model was asked, or none said how it ended."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Providers and ports, put together once; holds nothing of any conversation."""

    models: Models
    stt: Stt
    tts: Tts
    retriever: Retriever
    guard: Guard
    journal: Journal
    clock: Clock
    ids: Ids
    voices: Voices

    def stages(
        self, bot: Bot, history: Sequence[ChatMessage], talk: Conversation, *, voiced: bool, faced: bool
    ) -> list[Stage]:
        """The pipeline of one reply: text, or voice, or face. Enter with `UserText` or `Transcript`."""
        chosen = self.models.choose(bot, talk.user_id)
        think = Think(chosen, self.guard, bot, self.prompt(bot, talk.visit), history, spoken=voiced)
        words = text(Retrieve(self.retriever, bot), think)
        if not voiced:
            return words
        spoken = voice(Hear(self.stt), words, Speak(self.tts, self.voice_of(bot)))
        return with_face(spoken) if faced else spoken

    async def warm(self, bot: Bot, history: Sequence[ChatMessage], *, voiced: bool) -> None:
        """Let an embedded model read everything but the next question while there is time; failing does not matter."""
        chosen = self.models.choose(bot)
        if not chosen.llm.capabilities.local:
            return
        prompt = self.prompt(bot, Visit()).system
        chat = messages(prompt, (*bot.examples, *window(history)), "", spoken=voiced)[:-1]
        with suppress(ProviderError, TimeoutError):
            async with asyncio.timeout(chosen.patience):
                await chosen.llm.warm(chat)

    def prompt(self, bot: Bot, visit: Visit) -> Rendered:
        """The bot's prompt with its values in place, and what is to be told of the visit."""
        own = {"bot.name": bot.name, "bot.language": bot.language}
        told = {
            "visitor.name": visit.visitor_name,
            "visitor.locale": visit.locale,
            "page.title": visit.page_title,
            "page.url": visit.page_url,
            "now": moment(self.clock.now()),
        }
        return render(bot.prompt, {**bot.variables, **own}, told)

    def saying(self, bot: Bot, *, voiced: bool, faced: bool) -> list[Stage]:
        """The pipeline of words that are already known, such as a greeting. Enter with `TextDelta`."""
        spoken: list[Stage] = [Cut(), Speak(self.tts, self.voice_of(bot))] if voiced else [Cut()]
        return with_face(spoken) if faced else spoken

    def voice_of(self, bot: Bot) -> str:
        return self.voices.choose(bot.language, bot.voice_id).id

    def language_problems(self, bot: Bot, *, voiced: bool) -> list[str]:
        """What a visitor of this bot should know about its language and the models that are installed."""
        if not voiced:
            return []
        problems = []
        if primary(bot.language) not in self.stt.capabilities.languages:
            problems.append(f"No installed model understands spoken “{bot.language}”. You can type instead.")
        if not self.voices.known(bot.language):
            problems.append(f"No installed voice speaks “{bot.language}”; the answer is read by another one.")
        return problems

    async def respond(
        self,
        bot: Bot,
        conversation: Conversation,
        *,
        text: str | None = None,
        audio: bytes | None = None,
        client_message_id: str | None = None,
        voice: bool = False,
        face: bool = False,
        listener: Listener | None = None,
    ) -> Answer:
        """Run one whole turn and journal both sides. Exactly one of `text` and `audio` (mono PCM16 at INPUT_RATE).

        A message that was kept before gets the reply that was kept with it, and is answered when there is none.

        Raises NothingSaid, ProviderError when speech cannot be recognised, JournalUnavailable. Failures of the model
        and of the voice are in `degraded` and `finish_reason`. When the `listener` stops it, what there was is kept.
        """
        started, listener = self.clock.monotonic(), listener or Listener()
        transcript: str | None = None
        if audio is not None:
            text = transcript = (await self.transcribe(audio, conversation.language)).text
        if not text:
            raise NothingSaid
        history = await self.journal.recent(conversation, HISTORY)
        said = await self.journal.user_message(
            conversation, text, client_id=client_message_id, spoken=transcript is not None
        )
        if said.duplicate:
            kept = await self.journal.reply_to(conversation, said.message_id)
            if kept and kept.text:
                return Answer(
                    message_id=kept.message_id,
                    conversation_id=conversation.id,
                    user_message_id=said.message_id,
                    text=kept.text,
                    finish_reason=kept.finish_reason,
                    transcript=transcript,
                    citations=kept.citations,
                )
            if history and history[-1] == ChatMessage("user", text):
                history = history[:-1]
        message_id = self.ids.new("msg")
        listener.begun(message_id, transcript)
        collected = _Collected(self.clock, started)
        stages = self.stages(bot, history, conversation, voiced=voice, faced=face)
        cut = await _collect(stages, UserText(0, text), collected, listener)
        answer = collected.answer(message_id, conversation.id, said.message_id)
        said_of_it = None
        if cut:
            answer = replace(answer, finish_reason="cancelled")
            if listener.played is not None:
                said_of_it = heard([Segment.of(chunk) for chunk in answer.speech], listener.played).text
        await self.journal.assistant_message(
            conversation,
            message_id,
            answer.text,
            finish_reason=answer.finish_reason,
            heard=said_of_it,
            spoken=bool(answer.speech),
            latency_ms=answer.latency_ms,
            citations=answer.citations,
        )
        return replace(answer, transcript=transcript, text=answer.text if said_of_it is None else said_of_it)

    async def say(self, text: str, voice: str, *, face: bool = False) -> Spoken:
        """Words with a voice, and with a face on the same clock. A voice that fails is in `degraded`."""
        spoken: list[Stage] = [Cut(), Speak(self.tts, voice)]
        collected = _Collected(self.clock, self.clock.monotonic())
        stages = with_face(spoken) if face else spoken
        await _collect(stages, TextDelta(0, text), collected, Listener())
        made = collected.answer("", "", "")
        return Spoken(made.speech, made.cues, made.degraded)

    async def transcribe(self, audio: bytes, language: str) -> Transcript:
        """What is said in mono PCM16 at INPUT_RATE. Raises NothingSaid and ProviderError."""
        out: Channel[Frame] = Channel(8)
        said: Transcript | None = None
        failed: Failed | None = None
        async with asyncio.TaskGroup() as group:
            group.create_task(run([Hear(self.stt)], Utterance(0, 0, audio, language), out))
            async for frame in out:
                failed = frame if isinstance(frame, Failed) else failed
                said = frame if isinstance(frame, Transcript) else said
        if failed:
            raise ProviderError(failed.message, retryable=failed.retryable, public=failed.message)
        if said is None:
            raise NothingSaid
        return said


async def _collect(stages: Sequence[Stage], first: Frame, collected: "_Collected", listener: Listener) -> bool:
    """Run to the end, or until the listener stops it; returns whether that was so."""
    out: Channel[Frame] = Channel(8)
    async with asyncio.TaskGroup() as group:
        work = group.create_task(run(stages, first, out))

        async def end() -> None:
            await listener.stopped()
            work.cancel()
            await asyncio.wait({work})
            await out.close()

        ending = group.create_task(end())
        async for frame in out:
            collected.add(frame)
            listener.hear(frame)
        ending.cancel()
    return work.cancelled()


class _Collected:
    """The frames of one reply, gathered."""

    def __init__(self, clock: Clock, started: float) -> None:
        self._clock, self._started = clock, started
        self._text: list[str] = []
        self._speech: list[SpeechChunk] = []
        self._cues: list[Cue] = []
        self._citations: list[Citation] = []
        self._failed: list[Failed] = []
        self._latency: dict[str, float] = {}
        self._written: Written | None = None

    def add(self, frame: Frame) -> None:
        match frame:
            case Question():
                self._mark("retrieval_ms")
            case TextDelta():
                self._text.append(frame.text)
                self._mark("first_token_ms")
            case SpeechChunk():
                self._speech.append(frame)
                self._mark("first_audio_ms")
            case Cue():
                self._cues.append(frame)
            case Citation():
                self._citations.append(frame)
            case Failed():
                self._failed.append(frame)
            case Written():
                self._written = frame
            case _:
                pass

    def _mark(self, name: str) -> None:
        if name not in self._latency:
            self._latency[name] = self._elapsed_ms()

    def _elapsed_ms(self) -> float:
        return round((self._clock.monotonic() - self._started) * 1000, 1)

    def answer(self, message_id: str, conversation_id: str, user_message_id: str) -> Answer:
        parts = tuple(dict.fromkeys(failed.part for failed in self._failed))
        return Answer(
            message_id=message_id,
            conversation_id=conversation_id,
            user_message_id=user_message_id,
            text="".join(self._text).strip(),
            finish_reason="error" if "llm" in parts else self._written.finish_reason if self._written else "stop",
            speech=tuple(self._speech),
            cues=tuple(self._cues),
            citations=tuple(self._citations),
            degraded=parts,
            latency_ms={**self._latency, "total_ms": self._elapsed_ms()},
            written=self._written,
        )
