"""What the history service takes and gives."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from api._kit.paging import PageQuery
from api._kit.values import Commas, Identifier, Input, LanguageTag, Output, Timestamp

Status = Literal["open", "waiting", "handoff", "ended"]
Rating = Literal["up", "down"]


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
    page_url: str | None
    utm: dict[str, str]


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


class ConversationQuery(PageQuery):
    sort_by: Literal["created_at", "updated_at", "message_count"] = "created_at"
    chatbot_id: Annotated[list[Identifier], Commas] | None = None
    user_id: Annotated[list[Identifier], Commas] | None = None
    status: Annotated[list[Status], Commas] | None = None
    language: Annotated[list[LanguageTag], Commas] | None = None
    rating: Annotated[list[Rating], Commas] | None = None


class MessageQuery(PageQuery):
    """A page, or what comes after or before a message's id."""

    sort_by: Literal["created_at"] = "created_at"
    order: Literal["asc", "desc"] = "asc"
    after: Identifier | None = None
    before: Identifier | None = None


class Ending(Input):
    reason: str | None = Field(None, max_length=200)


class Feedback(Input):
    """A thumb, or a score of which 1 and 2 count as down."""

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
