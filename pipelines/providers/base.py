"""What we ask of the outside world. Implementations live beside this file, one per vendor.

Errors:

    ProviderError
      retryable=True     their fault or the weather: a timeout, a crash, an overload; another try may work
      retryable=False    ours or for good: a bad key, an unknown voice, a missing model file
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from pipelines.frames import SpeechChunk, Transcript

Speed = Literal["fast", "good", "slow"]
TOO_SLOW = "The language model did not answer in time."
"""What a visitor is told, whoever lost patience."""
LONGEST: Final = 40_000
"""Characters of one answer: more than the longest that can be asked for, 4096 tokens, has in any language."""


class ProviderError(Exception):
    """A provider could not do what was asked. `public` may be shown to a visitor; str(self) may not.

    `retry_after` is how many seconds the provider wants to be left alone, when it says so.
    """

    def __init__(self, detail: str, *, retryable: bool, public: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retryable = retryable
        self.public = public
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class LlmOptions:
    """How to sample. `stop` ends the reply at any of its strings; `frequency_penalty` (0 to 2) discourages saying a
    thing again, which the smallest models need."""

    max_tokens: int = 160
    temperature: float = 0.2
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended, after its last text; `length` cut it off. Tokens are None where nobody counted them."""

    model: str
    finish_reason: Literal["stop", "length", "blocked"] = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class LlmCapabilities:
    model: str
    context: int
    local: bool


@dataclass(frozen=True, slots=True)
class SttCapabilities:
    languages: tuple[str, ...]
    model: str


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice as data. `language` is a BCP 47 tag; `speed` says how it keeps up with a conversation on two cores."""

    id: str
    name: str
    language: str
    gender: Literal["female", "male", "neutral"]
    engine: str
    speed: Speed
    licence: str
    style: Literal["neutral", "whisper", "character"] = "neutral"


@dataclass(frozen=True, slots=True)
class TtsCapabilities:
    voices: tuple[Voice, ...]
    phones: bool


class Llm(Protocol):
    @property
    def capabilities(self) -> LlmCapabilities: ...

    def stream(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncIterator[str | Ending]:
        """Text deltas, for as long as the model takes: the deadline is the caller's. Last comes how it ended, where
        the provider knows. Closing the iterator closes the connection. Raises ProviderError."""
        ...

    async def warm(self, messages: Sequence[ChatMessage]) -> None:
        """Read the beginning of a chat ahead of time, so that its next answer starts sooner. Raises ProviderError."""
        ...


class Stt(Protocol):
    @property
    def capabilities(self) -> SttCapabilities: ...

    async def transcribe(self, pcm: bytes, language: str) -> Transcript:
        """Recognise one utterance (mono PCM16 at INPUT_RATE, up to 60 s). Raises ProviderError."""
        ...


class Tts(Protocol):
    @property
    def capabilities(self) -> TtsCapabilities: ...

    def speak(self, text: str, voice: str) -> AsyncIterator[SpeechChunk]:
        """Speak one clause: chunks at OUTPUT_RATE, `t0` counted from the clause's first sample, `turn`, `clause`,
        `c0` and `visemes` left for the stages to fill. Raises ProviderError."""
        ...


class VadStream(Protocol):
    """Voice activity of one microphone. Stateful: feed it every window of one stream, in order."""

    async def push(self, pcm: bytes) -> list[float]:
        """Probabilities of speech, one for each whole 512-sample (32 ms) window at INPUT_RATE completed by `pcm`."""
        ...

    async def close(self) -> None: ...


class Vad(Protocol):
    async def open(self) -> VadStream: ...
