"""The one turn engine behind chat REST and behind the sockets: same prompts, same history, same stages."""

import asyncio  # create_task only inside a TaskGroup: no task outlives its turn
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pipelines.channel import Channel
from pipelines.core.language import primary
from pipelines.core.prompt import HISTORY, messages, window
from pipelines.core.template import Rendered, moment, render
from pipelines.face import face
from pipelines.frames import (
    Citation,
    Cue,
    Failed,
    Frame,
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


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole reply, collected. Times of `speech` and `cues` are output samples since the response's first sample."""

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
        return face(spoken) if faced else spoken

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
        return face(spoken) if faced else spoken

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
    ) -> Answer:
        """Run one whole turn and journal both sides. Exactly one of `text` and `audio` (mono PCM16 at INPUT_RATE).

        Raises NothingSaid, ProviderError when speech cannot be recognised, JournalUnavailable. Failures of the model
        and of the voice are in `degraded` and `finish_reason`.
        """
        started = self.clock.monotonic()
        transcript: str | None = None
        if audio is not None:
            heard = await self._hear(audio, conversation.language)
            text = transcript = heard.text
        if not text:
            raise NothingSaid
        history = await self.journal.recent(conversation, HISTORY)
        said = await self.journal.user_message(
            conversation, text, client_id=client_message_id, spoken=transcript is not None
        )
        collected = _Collected(self.clock, started)
        out: Channel[Frame] = Channel(8)
        async with asyncio.TaskGroup() as group:
            group.create_task(
                run(self.stages(bot, history, conversation, voiced=voice, faced=face), UserText(0, text), out)
            )
            async for frame in out:
                collected.add(frame)
        message_id = self.ids.new("msg")
        answer = collected.answer(message_id, conversation.id, said.message_id)
        await self.journal.assistant_message(
            conversation, message_id, answer.text, finish_reason=answer.finish_reason, latency_ms=answer.latency_ms
        )
        return replace(answer, transcript=transcript)

    async def _hear(self, audio: bytes, language: str) -> Transcript:
        out: Channel[Frame] = Channel(8)
        heard: Transcript | None = None
        failed: Failed | None = None
        async with asyncio.TaskGroup() as group:
            group.create_task(run([Hear(self.stt)], Utterance(0, 0, audio, language), out))
            async for frame in out:
                failed = frame if isinstance(frame, Failed) else failed
                heard = frame if isinstance(frame, Transcript) else heard
        if failed:
            raise ProviderError(failed.message, retryable=failed.retryable, public=failed.message)
        if heard is None:
            raise NothingSaid
        return heard


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
