"""Where services meet: what each asks of the others, of the turn engine and of the machine. Compose fills the ports."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pipelines.engine import Answer
from pipelines.ports import Bot, Clock, Conversation, Ids, Journal, Modality, UnknownConversation

if TYPE_CHECKING:
    from api._kit.auth import Role

AudioFormat = Literal["mp3", "opus", "wav"]


class Passwords(Protocol):
    """Slow hashing, kept off the event loop. Raises Unavailable when too many wait."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, hashed: str | None, password: str) -> bool:
        """False for a wrong password and, after the same time, for no hash at all."""
        ...

    def outdated(self, hashed: str) -> bool:
        """Whether the hash was made with weaker parameters than today's."""
        ...


class Revocations(Protocol):
    """Tokens that are refused before they expire."""

    async def revoked(self, token_id: str, user_id: str, version: int) -> bool: ...

    async def version(self, user_id: str) -> int:
        """The version that this user's new tokens carry."""
        ...

    async def revoke_all(self, user_id: str, organization_id: str) -> None:
        """Every token that this user holds dies at once; announced as `user.tokens_revoked`."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """A person as a member of one organisation."""

    user_id: str
    email: str
    name: str
    password_hash: str | None
    organization_id: str
    role: "Role"
    capabilities: tuple[str, ...]
    active: bool


class Accounts(Protocol):
    """People and their memberships, as signing in needs them."""

    async def create(self, *, email: str, name: str, password_hash: str, organization_name: str) -> Account:
        """A person who owns a new organisation. Raises DuplicateResource when the address is taken."""
        ...

    async def by_email(self, email: str) -> Account | None: ...

    async def by_id(self, user_id: str, organization_id: str) -> Account | None: ...

    async def set_password(self, user_id: str, password_hash: str) -> None: ...


class Bots(Protocol):
    """Chatbots, as talking to them needs them."""

    async def find(self, chatbot_id: str, *, draft: bool = False) -> Bot | None:
        """What visitors talk to: the published snapshot. With `draft`, and before the first publishing, the draft."""
        ...

    async def count(self, organization_id: str) -> int:
        """How many chatbots the organisation has."""
        ...

    async def origin_known(self, origin: str) -> bool:
        """Whether any chatbot allows this website."""
        ...


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
    ) -> Conversation:
        """The named conversation, else the user's newest open one, else a new one that is not yet written.

        Raises UnknownConversation when the named one is not this bot's and user's.
        """
        ...

    async def user_of(self, bot: Bot, conversation_id: str) -> str | None:
        """The end user whose open conversation with this bot this is."""
        ...

    async def newest(self, bot: Bot, user_id: str) -> str | None:
        """The id of the user's open conversation of the last 24 hours."""
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
    ) -> Answer:
        """Keeps both messages in the journal. `audio` is mono PCM16 at 16 kHz.

        Raises ProviderError and JournalUnavailable.
        """
        ...


class Speech(Protocol):
    """Audio files in and out, decoded and encoded off the event loop."""

    async def encode(self, pcm: bytes, rate: int, format: AudioFormat) -> bytes: ...

    async def decode(self, data: bytes) -> bytes:
        """Mono PCM16 at 16 kHz. Raises AudioRejected."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    path: Path
    content_type: str


class Media(Protocol):
    """Files that a signed URL opens for a while."""

    async def save(self, data: bytes, format: AudioFormat) -> str:
        """Keeps the bytes and returns their id."""
        ...

    def url(self, media_id: str) -> str:
        """A path with a signature and an expiry."""
        ...

    async def open(self, media_id: str, signature: str) -> StoredFile | None:
        """The file, if the signature is right, has not expired and the file is still there."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tier allows. None is unlimited."""

    tier: str
    requests_per_minute: int | None
    requests_per_hour: int | None
    requests_per_day: int | None


class Plans(Protocol):
    """What an organisation's tier allows."""

    async def plan(self, tier: str) -> Plan: ...


__all__ = [
    "Account",
    "Accounts",
    "AudioFormat",
    "Bot",
    "Bots",
    "Clock",
    "Conversation",
    "Conversations",
    "Ids",
    "Journal",
    "Media",
    "Modality",
    "Passwords",
    "Plan",
    "Plans",
    "Revocations",
    "Speech",
    "StoredFile",
    "TurnEngine",
    "UnknownConversation",
]
