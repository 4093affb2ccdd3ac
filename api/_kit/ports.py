"""Where services meet: what each asks of the others, of the turn engine and of the machine. Compose fills the ports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from api._kit.checklist import Draft, Installed
from api._kit.people import (
    Account,
    Accounts,
    CannotOpen,
    IdentitySecrets,
    Invitation,
    Keys,
    Passwords,
    Revocations,
    SecondFactors,
    Standing,
    Vault,
)
from api._kit.talking import (
    AudioFormat,
    CallRow,
    Conversations,
    FileFormat,
    LiveCalls,
    Media,
    Speech,
    StoredFile,
    TurnEngine,
)
from pipelines.ports import (
    Bot,
    Chosen,
    Clock,
    Conversation,
    Ids,
    Journal,
    Modality,
    Models,
    UnknownConversation,
)
from pipelines.providers.base import ChatMessage

if TYPE_CHECKING:
    from api._kit.store import Transaction


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


@dataclass(frozen=True, slots=True)
class Release:
    """What was published, when (milliseconds since the epoch), and the names of what changed for visitors."""

    version: int
    published_at: int
    changed: tuple[str, ...]


class Drafts(Protocol):
    """Chatbots as their owners edit them."""

    @property
    def installed(self) -> Installed: ...

    async def find(self, tx: "Transaction", chatbot_id: str) -> Draft | None:
        """The organisation's own chatbot with this id, unless it is in the trash."""
        ...

    async def change(self, tx: "Transaction", chatbot_id: str, values: Mapping[str, Any]) -> None:
        """Put these values into the draft; `settings` are those that change. Raises NotFound, DuplicateResource,
        InvalidFormat."""
        ...

    async def publish(
        self,
        tx: "Transaction",
        chatbot_id: str,
        *,
        version: int | None = None,
        note: str | None = None,
        author: str | None = None,
    ) -> Release:
        """Show the draft to visitors, or go back to a `version`. Raises NotFound and Conflict."""
        ...


class BotParts(Protocol):
    """What a chatbot is built from beside its own fields, by name: `prompt`, `model`, `presentation`, and others.

    A part is JSON. It belongs to the draft, and to every version that is made of it.
    """

    async def get(self, tx: "Transaction", chatbot_id: str, name: str) -> Mapping[str, Any] | None:
        """The draft's part. Raises NotFound when the organisation has no such chatbot."""
        ...

    async def set(
        self,
        tx: "Transaction",
        chatbot_id: str,
        name: str,
        value: Mapping[str, Any] | None,
        *,
        live: bool = False,
        author: str | None = None,
        note: str | None = None,
    ) -> int | None:
        """Put the part into the draft; None takes it out.

        With `live`, visitors of a published chatbot see it from the commit on: the number of the new version is
        returned, which is the published one with this part replaced. Raises NotFound.
        """
        ...

    async def everywhere(self, tx: "Transaction", name: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """That part of the organisation's chatbots, with each one's id: what their drafts have and visitors see."""
        ...


@dataclass(frozen=True, slots=True)
class Live:
    """What a conversation shows right now. `seq` grows with every change; times are milliseconds since the epoch."""

    conversation_id: str
    organization_id: str
    chatbot_id: str
    user_id: str
    seq: int
    shown: Mapping[str, Any]
    updated_at: int


class LiveStates(Protocol):
    """What conversations show right now."""

    def show(self, conversation: Conversation, shown: Mapping[str, Any]) -> None:
        """The conversation shows this from now on, such as its `status`; the rest stays. Never waits or fails."""
        ...

    async def find(self, conversation_id: str) -> Live | None: ...


ModelKind = Literal["chat", "embedding", "stt", "tts"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that can be chosen. Prices are in millionths of a US dollar for a million tokens; None is unknown.

    `locality` says where it runs: in this server, at an endpoint of the operator's, or at a provider that the
    organisation has a key for.
    """

    id: str
    provider: str
    name: str
    kind: ModelKind
    context: int | None
    price_input: int | None
    price_output: int | None
    locality: Literal["embedded", "operator", "provider"]
    residency: str | None = None
    status: Literal["available", "unavailable", "retired"] = "available"


@dataclass(frozen=True, slots=True)
class Trial:
    """One answer of a model that was tried out; `cost` is in millionths of a US dollar, None where no price is known.
    With an `error`, which may be shown, the answer may be empty or cut short."""

    model_id: str | None
    response: str
    finish_reason: str | None
    first_token_ms: float | None
    total_ms: float
    input_tokens: int
    output_tokens: int
    cost: int | None
    error: str | None


class LanguageModels(Models, Protocol):
    """The models that an organisation can use, asked and counted."""

    def chosen(
        self,
        organization_id: str,
        model_ids: Sequence[str],
        *,
        chatbot_id: str = "",
        user_id: str = "",
        params: Mapping[str, Any] | None = None,
    ) -> Chosen:
        """The first of the models, with the others to fall back on."""
        ...

    async def ask(self, chosen: Chosen, organization_id: str, messages: Sequence[ChatMessage]) -> Trial:
        """One answer; a failure is in it."""
        ...

    async def listed(self, organization_id: str) -> Sequence[ModelInfo]:
        """Every model that the organisation can use."""
        ...

    def forget(self, organization_id: str, provider: str) -> None:
        """The provider's key has changed or is gone."""
        ...

    async def flush(self, organization_id: str | None = None) -> None:
        """Write down what was used so far. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one outgoing request may take.

    `bytes` counts the body after decompression; `cut` keeps the beginning of a longer one instead of failing.
    `seconds` runs from the first lookup to the last byte, redirects included. With `redirects=0` a redirect is an
    answer like any other. `content_types` are media types, or beginnings of them that end in a slash, which an answer
    with a 2xx status must have; empty takes all.
    """

    bytes: int = 5_000_000
    cut: bool = False
    seconds: float = 10.0
    connect_seconds: float = 5.0
    redirects: int = 5
    content_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer. `url` is where it came from, after redirects; the names of `headers` are in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case; empty when the answer names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


FetchProblem = Literal["connect", "timeout", "too_large", "content_type", "redirects", "broken"]


class FetchFailed(Exception):
    """An allowed address gave no usable answer; the message may be shown to whoever named the address."""

    def __init__(self, reason: FetchProblem, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Egress(Protocol):
    """The only way out: requests to addresses that strangers name. None of them reaches a private network."""

    def check(self, url: str) -> str:
        """The address in its normal form. Raises UrlNotAllowed for what can be seen without looking names up."""
        ...

    def excepted(self, url: str) -> bool:
        """Whether the operator allows the place of this address, which was checked, wherever it is."""
        ...

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limits: FetchLimits | None = None,
    ) -> Fetched:
        """Any status is an answer. Raises UrlNotAllowed and FetchFailed."""
        ...


class Unreadable(ValueError):
    """The parser cannot read this file; `reason` is the parser's own word for why. The message may be shown."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TooExpensive(Exception):
    """The file takes more time, memory or room than a file may; the message may be shown to whoever sent it."""

    def __init__(self, limit: Literal["cpu", "memory", "time", "output"]) -> None:
        super().__init__(f"the file takes too much {'room' if limit == 'output' else limit} to read")
        self.limit = limit


class Box(Protocol):
    """Where strangers' files are opened: a process of their own with hard limits."""

    async def run(self, parser: str, data: bytes, **options: str | int | float | bool | None) -> bytes:
        """What the parser makes of the bytes. Raises Unreadable, TooExpensive, Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tier allows. None is unlimited."""

    tier: str
    requests_per_minute: int | None
    requests_per_hour: int | None
    requests_per_day: int | None
    members: int | None = None
    chatbots: int | None = None
    sources: int | None = None
    messages: int | None = None
    """A calendar month, like the minutes."""
    voice_minutes: int | None = None


class Plans(Protocol):
    """What an organisation's tier allows."""

    async def plan(self, tier: str) -> Plan: ...

    async def of(self, organization_id: str) -> Plan:
        """What this organisation may; remembered for a while, and there although the database is not."""
        ...


__all__ = [
    "Account",
    "Accounts",
    "AudioFormat",
    "Bot",
    "BotParts",
    "Bots",
    "Box",
    "CallRow",
    "CannotOpen",
    "Clock",
    "Conversation",
    "Conversations",
    "Drafts",
    "Egress",
    "FetchFailed",
    "FetchLimits",
    "FetchProblem",
    "Fetched",
    "FileFormat",
    "IdentitySecrets",
    "Ids",
    "Invitation",
    "Journal",
    "Keys",
    "LanguageModels",
    "Live",
    "LiveCalls",
    "LiveStates",
    "Media",
    "Modality",
    "ModelInfo",
    "ModelKind",
    "Passwords",
    "Plan",
    "Plans",
    "Release",
    "Revocations",
    "SecondFactors",
    "Speech",
    "Standing",
    "StoredFile",
    "TooExpensive",
    "Trial",
    "TurnEngine",
    "UnknownConversation",
    "Unreadable",
    "Vault",
]
