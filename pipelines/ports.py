"""What the turn engine needs from the rest of the house; `server/compose.py` fills each port."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pipelines.frames import Citation, Passage
from pipelines.providers.base import ChatMessage, Llm, LlmOptions

Modality = Literal["text", "voice", "3d"]
FinishReason = Literal["stop", "length", "blocked", "handoff", "cancelled", "error"]


class Clock(Protocol):
    """Wall time (seconds since the epoch), monotonic time (seconds), and waiting."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Ids(Protocol):
    def new(self, prefix: str) -> str: ...


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The language model that a bot answers with, those to ask when it fails, and what it is told beside the words.

    `params` are pairs of a name, such as `temperature`, and its value.
    """

    model_id: str
    fallbacks: tuple[str, ...] = ()
    params: tuple[tuple[str, float | int | str | bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Salute:
    """A greeting for some: those of a language or locale, with these campaign values, or who do or do not come back."""

    text: str
    locale: str = ""
    utm: tuple[tuple[str, str], ...] = ()
    returning: bool | None = None

    def fits(self, locale: str, utm: Mapping[str, str], *, returning: bool) -> bool:
        """Whether all its conditions hold. `de` fits `de-AT`, and not the other way round."""
        tag, own = locale.lower(), self.locale.lower()
        spoken = not own or tag == own or tag.startswith(f"{own}-")
        come = self.returning is None or self.returning is returning
        return spoken and come and all(utm.get(name) == value for name, value in self.utm)


@dataclass(frozen=True, slots=True)
class Bot:
    """What the engine must know of a chatbot. `prompt` is the owner's template (see `pipelines.core.template`) and
    `variables` the owner's values for it: trusted, but never code.

    `examples` are questions and answers that show the model how to answer; it reads them before the history.
    """

    id: str
    organization_id: str
    name: str
    type: Modality
    language: str
    prompt: str
    greeting: str = ""
    avatar_id: str | None = None
    voice_id: str | None = None
    status: Literal["draft", "active", "paused", "maintenance", "trashed"] = "active"
    allowed_origins: tuple[str, ...] = ()
    identity_mode: Literal["off", "optional", "required"] = "off"
    examples: tuple[ChatMessage, ...] = ()
    model: ModelChoice | None = None
    """None: the server's own."""
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)
    salutes: tuple[Salute, ...] = ()
    """The first that fits is said in place of `greeting`."""
    idle_minutes: int = 30
    """Silence that ends a conversation."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What the visitor's browser says of the visit. Nothing of it is trusted, except that `visitor_name` is the one
    that the website has signed."""

    visitor_name: str = ""
    locale: str = ""
    page_title: str = ""
    page_url: str = ""
    utm: Mapping[str, str] = field(default_factory=dict, hash=False)
    custom: Mapping[str, str | int | float | bool] = field(default_factory=dict, hash=False)


NOWHERE = Visit()
"""A visit of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One talk between one end user and one bot. The row is written with the first user message, not before."""

    id: str
    organization_id: str
    chatbot_id: str
    user_id: str
    channel: Modality
    language: str = "en-US"
    visit: Visit = NOWHERE
    kept: bool = False
    """Its row has been written: when there is none any more, it was deleted, and must not come back."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who answers for a bot, and how. `patience` is how many seconds the first word may take, whoever is asked."""

    llm: Llm
    options: LlmOptions
    patience: float = 5.0


class Models(Protocol):
    """Which language model answers for which bot."""

    def choose(self, bot: Bot, user_id: str = "") -> Chosen:
        """Never waits and never fails: a model that cannot be asked says so when it is. `user_id` is the end user's."""
        ...


class Retriever(Protocol):
    async def search(self, bot: Bot, question: str, limit: int) -> Sequence[Passage]: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reply` is said instead of an answer when not `allowed`; `text` is the (possibly masked) text to go on with."""

    allowed: bool
    text: str
    reply: str = ""


class Guard(Protocol):
    async def check_input(self, bot: Bot, text: str) -> Verdict:
        """What to do with what the user said, before the model sees it."""
        ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """A committed message. `duplicate` says that the client's id was already there; `answered`, that a reply has been
    kept since: do not answer twice."""

    message_id: str
    duplicate: bool
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Replied:
    """A reply that is kept; of one that was interrupted, `text` is what was heard."""

    message_id: str
    text: str
    finish_reason: FinishReason
    citations: tuple[Citation, ...] = ()


class UnknownConversation(Exception):
    """No such conversation for this bot and user."""


class JournalUnavailable(Exception):
    """The message could not be committed; nothing was stored and nothing may be acknowledged."""


class Journal(Protocol):
    """Where messages are kept. Every method returns only after the commit."""

    async def resume(self, bot: Bot, user_id: str, conversation_id: str) -> Conversation:
        """The conversation with this id. Raises UnknownConversation when it is not this bot's and user's."""
        ...

    async def user_message(
        self, conversation: Conversation, text: str, *, client_id: str | None = None, spoken: bool = False
    ) -> Recorded:
        """Creates the conversation with its first message. Raises UnknownConversation when it has ended or was deleted,
        and JournalUnavailable."""
        ...

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
        """Keeps the reply with what it stands on; `heard` is what the listener really heard of it, when that is less
        than `text`. Raises UnknownConversation when the conversation was deleted, and JournalUnavailable."""
        ...

    async def reply_to(self, conversation: Conversation, message_id: str) -> Replied | None:
        """The reply that follows this message."""
        ...

    async def recent(self, conversation: Conversation, limit: int) -> Sequence[ChatMessage]:
        """The last `limit` messages, oldest first; an interrupted reply counts as what was heard of it."""
        ...


class NoGuard:
    """A guard that lets everything pass."""

    async def check_input(self, bot: Bot, text: str) -> Verdict:
        return Verdict(True, text)


class OneModel:
    """The same model for every bot."""

    def __init__(self, llm: Llm, options: LlmOptions | None = None, patience: float = 5.0) -> None:
        self._chosen = Chosen(llm, options or LlmOptions(), patience)

    def choose(self, bot: Bot, user_id: str = "") -> Chosen:
        return self._chosen
