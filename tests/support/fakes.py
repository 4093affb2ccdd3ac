"""Scripted providers and ports: they behave exactly as told, in virtual time, and count what was closed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.frames import INPUT_RATE, OUTPUT_RATE, Citation, Passage, Phone, SpeechChunk, Transcript, Word
from pipelines.ports import (
    Bot,
    Conversation,
    FinishReason,
    JournalUnavailable,
    Recorded,
    Replied,
    UnknownConversation,
    Visit,
)
from pipelines.providers.base import (
    ChatMessage,
    LlmCapabilities,
    LlmOptions,
    ProviderError,
    SttCapabilities,
    TtsCapabilities,
    Voice,
)

VOICE = Voice("tone", "Tone", "en-US", "neutral", "fake", "fast", "CC0")
BOT = Bot("cb_1", "org_1", "Ava", "3d", "en-US", "You are Ava.", avatar_id="avatar_female_01", voice_id="tone")


class ScriptedLlm:
    """Says `words`, one every `delay` seconds, after `first` seconds; then fails, if told to."""

    capabilities = LlmCapabilities("scripted", 4096, True)

    def __init__(
        self,
        words: Sequence[str] = ("Well, ", "that is ", "a fine question. ", "Here is ", "the answer."),
        *,
        first: float = 0.0,
        delay: float = 0.0,
        failure: ProviderError | None = None,
    ) -> None:
        self.words, self.first, self.delay, self.failure = list(words), first, delay, failure
        self.opened = self.closed = 0
        self.chats: list[list[ChatMessage]] = []
        self.warmed: list[list[ChatMessage]] = []

    async def stream(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncIterator[str]:
        self.opened += 1
        self.chats.append(list(messages))
        try:
            await asyncio.sleep(self.first)
            for word in self.words:
                await asyncio.sleep(self.delay)
                yield word
            if self.failure:
                raise self.failure
        finally:
            self.closed += 1

    async def warm(self, messages: Sequence[ChatMessage]) -> None:
        self.warmed.append(list(messages))


class NoKnowledge:
    """A retriever that knows nothing."""

    async def search(self, bot: Bot, question: str, limit: int) -> Sequence[Passage]:
        return ()


class ToneTts:
    """Speaks `ms` of silence a character, after `delay` seconds a clause, with one word a word."""

    capabilities = TtsCapabilities((VOICE,), True)

    def __init__(self, *, ms: int = 60, delay: float = 0.1, failure: ProviderError | None = None) -> None:
        self.ms, self.delay, self.failure = ms, delay, failure
        self.opened = self.closed = 0
        self.spoken: list[str] = []

    async def speak(self, text: str, voice: str) -> AsyncIterator[SpeechChunk]:
        self.opened += 1
        try:
            await asyncio.sleep(self.delay)
            if self.failure:
                raise self.failure
            self.spoken.append(text)
            step = self.ms * OUTPUT_RATE // 1000
            words, at = [], 0
            for word in text.split():
                at = text.index(word, at)
                words.append(Word(at * step, (at + len(word)) * step, at, at + len(word)))
                at += len(word)
            phones = tuple(Phone("a", word.t0, word.t1) for word in words)
            yield SpeechChunk(0, 0, 0, bytes(2 * step * len(text)), phones, tuple(words))
        finally:
            self.closed += 1


class ScriptedStt:
    """Gives its transcripts in turn, the last one for ever, each after `delay` seconds."""

    capabilities = SttCapabilities(("en",), "scripted")

    def __init__(
        self, *texts: str, delay: float = 0.05, failure: ProviderError | None = None, language: str = "en"
    ) -> None:
        self.texts, self.delay, self.failure, self.language = list(texts) or ["hello there"], delay, failure, language
        self.heard: list[bytes] = []

    async def transcribe(self, pcm: bytes, language: str) -> Transcript:
        await asyncio.sleep(self.delay)
        if self.failure:
            raise self.failure
        self.heard.append(pcm)
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        return Transcript(0, text, self.language)


class LoudnessVad:
    """Hears speech in every window that is not quiet, after `delay` seconds; `heard` is all that it was given, where it
    `remembers`."""

    def __init__(self, *, failure: ProviderError | None = None, delay: float = 0.0, remembers: bool = True) -> None:
        self.failure, self.delay, self.remembers = failure, delay, remembers
        self.opened = self.closed = 0
        self.heard = bytearray()

    async def open(self) -> "LoudnessStream":
        self.opened += 1
        return LoudnessStream(self)


class LoudnessStream:
    def __init__(self, vad: LoudnessVad) -> None:
        self._vad, self._rest = vad, b""

    async def push(self, pcm: bytes) -> list[float]:
        if self._vad.failure:
            raise self._vad.failure
        if self._vad.remembers:
            self._vad.heard += pcm
        if self._vad.delay:
            await asyncio.sleep(self._vad.delay)
        data = self._rest + pcm
        whole = len(data) // 1024 * 1024
        self._rest = data[whole:]
        windows = np.frombuffer(data[:whole], "<i2").reshape(-1, 512)
        return [float(np.abs(window).max() > 256) for window in windows]

    async def close(self) -> None:
        self._vad.closed += 1


@dataclass
class Kept:
    conversation_id: str
    role: str
    text: str
    message_id: str
    client_id: str | None = None
    heard: str | None = None
    finish_reason: str = "stop"


@dataclass
class MemoryJournal:
    """A journal in memory; `broken` makes it refuse, `delay` makes commits take their time."""

    kept: list[Kept] = field(default_factory=list)
    broken: bool = False
    delay: float = 0.0
    ended: set[str] = field(default_factory=set)
    connected_ms: int = 0

    async def open(
        self,
        bot: Bot,
        user_id: str,
        channel: str,
        *,
        conversation_id: str | None = None,
        language: str | None = None,
        visit: Visit | None = None,
    ) -> Conversation:
        if conversation_id == "conv_unknown":
            raise UnknownConversation
        return Conversation(conversation_id or "conv_1", bot.organization_id, bot.id, user_id, bot.type)

    async def newest(self, bot: Bot, user_id: str) -> str | None:
        return None

    async def connected(self, conversation: Conversation, milliseconds: int) -> None:
        self.connected_ms += milliseconds

    async def resume(self, bot: Bot, user_id: str, conversation_id: str) -> Conversation:
        return await self.open(bot, user_id, bot.type, conversation_id=conversation_id)

    async def user_message(
        self, conversation: Conversation, text: str, *, client_id: str | None = None, spoken: bool = False
    ) -> Recorded:
        await asyncio.sleep(self.delay)
        if self.broken:
            raise JournalUnavailable
        if conversation.id in self.ended:
            raise UnknownConversation
        for n, kept in enumerate(self.kept):
            if client_id and kept.client_id == client_id:
                answered = any(later.role == "assistant" for later in self.kept[n:])
                return Recorded(kept.message_id, True, answered)
        message_id = f"msg_u{len(self.kept)}"
        self.kept.append(Kept(conversation.id, "user", text, message_id, client_id))
        return Recorded(message_id, False)

    async def assistant_message(
        self,
        conversation: Conversation,
        message_id: str,
        text: str,
        *,
        finish_reason: FinishReason,
        heard: str | None = None,
        spoken: bool = False,
        latency_ms: dict[str, float] | None = None,
        citations: Sequence[Citation] = (),
    ) -> None:
        await asyncio.sleep(self.delay)
        if self.broken:
            raise JournalUnavailable
        self.kept.append(Kept(conversation.id, "assistant", text, message_id, None, heard, finish_reason))

    async def reply_to(self, conversation: Conversation, message_id: str) -> Replied | None:
        at = next(n for n, kept in enumerate(self.kept) if kept.message_id == message_id)
        following = [kept for kept in self.kept[at + 1 : at + 2] if kept.role == "assistant"]
        return Replied(following[0].message_id, following[0].text, "stop") if following else None

    async def recent(self, conversation: Conversation, limit: int) -> Sequence[ChatMessage]:
        if self.broken:
            raise JournalUnavailable
        return [
            ChatMessage("user" if kept.role == "user" else "assistant", kept.heard or kept.text) for kept in self.kept
        ][-limit:]


class CountingIds:
    def __init__(self) -> None:
        self._next = 0

    def new(self, prefix: str) -> str:
        self._next += 1
        return f"{prefix}_{self._next}"


def speech(seconds: float) -> bytes:
    """PCM that `LoudnessVad` takes for speech."""
    return b"\x10\x10" * int(seconds * INPUT_RATE)


def silence(seconds: float) -> bytes:
    return bytes(2 * int(seconds * INPUT_RATE))
