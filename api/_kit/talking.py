"""The ports of talking: where conversations are kept, the turn engine, calls, and sound as files."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pipelines.engine import Answer, Listener, Spoken
from pipelines.frames import Transcript
from pipelines.ports import NOWHERE, Bot, Conversation, Journal, Modality, Visit

AudioFormat = Literal["mp3", "opus", "wav"]
FileFormat = Literal["mp3", "opus", "wav", "jsonl", "csv"]


@dataclass(frozen=True, slots=True)
class CallRow:
    """A voice session."""

    id: str
    conversation_id: str
    chatbot_id: str
    user_id: str


class Conversations(Journal, Protocol):
    """Conversations and messages, as talking needs them."""

    async def open(
        self,
        bot: Bot,
        user_id: str,
        channel: Modality,
        *,
        conversation_id: str | None = None,
        language: str | None = None,
        visit: Visit = NOWHERE,
    ) -> Conversation:
        """The named conversation, else the user's newest open one, else a new one that is not yet written.

        Raises UnknownConversation when the named one is not this bot's and user's.
        """
        ...

    def begin(
        self, bot: Bot, user_id: str, channel: Modality, *, language: str | None = None, visit: Visit = NOWHERE
    ) -> Conversation:
        """A new conversation, which is not yet written."""
        ...

    async def user_of(self, bot: Bot, conversation_id: str) -> str | None:
        """The end user whose open conversation with this bot this is."""
        ...

    async def newest(self, bot: Bot, user_id: str) -> str | None:
        """The id of the user's open conversation of the last 24 hours."""
        ...

    async def sounded(self, conversation: Conversation, message_id: str, audio: dict[str, Any]) -> None:
        """The reply has a sound file: `media_id`, `format`, `sample_rate` and `duration_ms`."""
        ...

    async def cut(self, conversation: Conversation, message_id: str, heard: str) -> None:
        """Of a reply that was kept whole, the listener has heard only so much."""
        ...

    async def begin_call(self, conversation: Conversation) -> str:
        """A voice session of this conversation, which begins with it if it is new; returns the session's id."""
        ...

    async def end_call(self, organization_id: str, call: CallRow) -> int | None:
        """Ends a voice session and its conversation; for how many milliseconds a client was connected, None when it
        has ended before."""
        ...

    async def call(self, organization_id: str, call_id: str) -> CallRow | None: ...

    async def connected(self, conversation: Conversation, milliseconds: int) -> None:
        """For so long a client was connected to the conversation's open voice sessions, if it has any."""
        ...


class LiveCalls(Protocol):
    """Conversations to which a client is connected at the moment."""

    async def hang_up(self, conversation_id: str) -> None:
        """Disconnect the client; returns when it is known for how long it was connected."""
        ...


class TurnEngine(Protocol):
    """One whole turn: the same prompts, history and stages as behind the sockets."""

    async def respond(
        self,
        bot: Bot,
        conversation: Conversation,
        *,
        text: str | None = None,
        audio: bytes | None = None,
        client_message_id: str | None = None,
        voice: bool,
        face: bool,
        listener: Listener | None = None,
    ) -> Answer:
        """Keeps both messages in the journal. `audio` is mono PCM16 at 16 kHz.

        Raises NothingSaid, ProviderError, UnknownConversation and JournalUnavailable.
        """
        ...

    async def say(self, text: str, voice: str, *, face: bool = False) -> Spoken:
        """Words with a voice; one that fails is in `degraded`."""
        ...

    async def transcribe(self, audio: bytes, language: str) -> Transcript:
        """Raises NothingSaid and ProviderError."""
        ...

    def voice_of(self, bot: Bot) -> str: ...


class Speech(Protocol):
    """Audio files in and out, decoded and encoded off the event loop."""

    async def encode(self, pcm: bytes, rate: int, format: AudioFormat) -> bytes: ...

    async def decode(self, data: bytes) -> bytes:
        """Mono PCM16 at 16 kHz. Raises AudioRejected."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    """`name` is what a browser is to save it as; empty for what it shows itself."""

    path: Path
    content_type: str
    name: str = ""


class Media(Protocol):
    """Files that a signed URL opens for a while."""

    async def save(self, data: bytes, format: FileFormat) -> str:
        """Keeps the bytes and returns their id."""
        ...

    async def save_all(self, pieces: AsyncIterator[bytes], format: FileFormat) -> str:
        """Keeps what comes piece by piece."""
        ...

    async def renew(self, media_id: str) -> bool:
        """Keep the file for another day; False when it is gone."""
        ...

    async def delete(self, media_id: str) -> None:
        """Whether it is still there or not."""
        ...

    def url(self, media_id: str) -> str:
        """A path with a signature and an expiry."""
        ...

    async def open(self, media_id: str, signature: str) -> StoredFile | None:
        """The file, if the signature is right, has not expired and the file is still there."""
        ...
