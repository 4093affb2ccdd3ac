"""What the history service takes and gives."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from api._kit.alternatives import exactly_one
from api._kit.paging import PageQuery
from api._kit.values import Commas, Identifier, Input, LanguageTag, Moment, Output, Timestamp

Status = Literal["open", "waiting", "handoff", "ended"]
Rating = Literal["up", "down"]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40, pattern=r"^[^,]+$")]


class ConversationRecord(Output):
    """One talk between one end user and one chatbot."""

    id: str = Field(examples=["conv_xyz789"])
    chatbot_id: str
    user_id: str = Field(examples=["anonymous_abc"])
    channel: Literal["3d", "text", "voice"]
    status: Status
    title: str | None
    language: str
    started_at: Timestamp
    ended_at: Timestamp | None
    end_reason: str | None
    message_count: int
    rating: Rating | None
    tags: list[str]
    assigned_to: str | None
    summary: str | None
    note: str | None = Field(description="What members wrote about it; visitors do not see it")
    page_url: str | None
    page_title: str | None
    utm: dict[str, str]
    custom: dict[str, str | int | float | bool] | None


class SourceRecord(Output):
    """A passage that the answer stands on."""

    n: int
    document_id: str
    title: str
    url: str | None
    snippet: str
    score: float


class SoundRecord(Output):
    """The answer as it was spoken. Open `url` within the day; it needs no token."""

    url: str
    format: str
    sample_rate: int
    duration_ms: int


class MessageRecord(Output):
    """One message. Of an interrupted reply, `content` is what the listener heard."""

    id: str = Field(examples=["msg_01JD0000000000000000000000"])
    conversation_id: str
    role: Literal["user", "assistant", "agent", "system"]
    content: str
    spoken: bool
    interrupted: bool
    finish_reason: str | None
    rating: Rating | None
    created_at: Timestamp
    citations: list[SourceRecord] | None = Field(None, description="With `include=citations`")
    audio: SoundRecord | None = Field(None, description="With `include=audio`, within a day")


class ConversationFilters(Input):
    """Which conversations. Commas stand between values of which any will do."""

    chatbot_id: Annotated[list[Identifier], Commas] | None = None
    user_id: Annotated[list[Identifier], Commas] | None = None
    status: Annotated[list[Status], Commas] | None = None
    language: Annotated[list[LanguageTag], Commas] | None = None
    rating: Annotated[list[Rating], Commas] | None = None
    tag: Annotated[list[Tag], Commas] | None = None
    assigned_to: Annotated[list[Identifier], Commas] | None = None
    has_feedback: bool | None = None
    search: str | None = Field(None, min_length=1, max_length=200, description="Words that one of its messages has")
    created_after: Moment | None = None
    created_before: Moment | None = None


class ConversationQuery(PageQuery, ConversationFilters):
    sort_by: Literal["created_at", "updated_at", "message_count"] = "created_at"


class MessageQuery(PageQuery):
    """A page, or what comes after or before a message's id."""

    sort_by: Literal["created_at"] = "created_at"
    order: Literal["asc", "desc"] = "asc"
    after: Identifier | None = None
    before: Identifier | None = None
    include: Annotated[list[Literal["citations", "audio"]], Commas] = Field([])


class ConversationPatch(Input):
    """What members note about a conversation; null takes it back."""

    title: str | None = Field(None, max_length=80)
    tags: list[Tag] | None = Field(None, max_length=20)
    assigned_to: Identifier | None = None
    note: str | None = Field(None, max_length=4_000)


class Ending(Input):
    reason: str | None = Field(None, max_length=200)


class Deleted(Output):
    id: str
    deleted: Literal[True] = True


class ExportRequest(Input):
    """Which conversations to export, one line for each message. `redact_pii` masks e-mail addresses and
    long numbers, such as those of telephones, cards and accounts."""

    format: Literal["jsonl", "csv"] = "jsonl"
    filters: ConversationFilters = ConversationFilters()
    redact_pii: bool = False


class Feedback(Input):
    """A thumb, or a score of which 1 and 2 count as down."""

    model_config = ConfigDict(json_schema_extra=exactly_one(rating="string", score="integer"))
    rating: Rating | None = None
    score: int | None = Field(None, ge=1, le=5)
    reason: str | None = Field(None, max_length=100)
    comment: str | None = Field(None, max_length=2_000)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.rating is None) == (self.score is None):
            raise ValueError("give rating or score")
        return self

    @property
    def thumb(self) -> Rating:
        return self.rating or ("down" if (self.score or 0) < 3 else "up")


class FeedbackKept(Output):
    message_id: str
    rating: Rating
