"""What the state services take and give."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, Field, StringConstraints

from api._kit.appearance import Theme
from api._kit.checklist import Step, StepStatus
from api._kit.origins import normal
from api._kit.values import Identifier, Input, Output, Timestamp
from pipelines.ports import Modality

P = TypeVar("P")
Phase = Literal["setup", "ready", "live", "paused", "maintenance"]
Status = Literal["idle", "listening", "thinking", "speaking", "interrupted", "handoff", "ended"]


class StepRecord(Output):
    name: Step
    status: StepStatus
    required: bool
    problems: list[str]


class Setup(Output):
    current_step: Step | None = Field(description="Where to go on; null when there is nothing left to do")
    steps: list[StepRecord]
    percent: int


class State(Output, Generic[P]):
    chatbot_id: str
    type: Modality
    phase: Phase
    setup: Setup
    presentation: P
    revision: int = Field(description="Counts the changes that were made here")
    updated_at: Timestamp


class Known(Input):
    """A question and how the chatbot should answer it."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"\S")]
    answer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600, pattern=r"\S")]


class StepPayload(Input):
    """What a step takes. Each step has its own fields; `skip` passes over a step that may be skipped."""

    skip: Literal[True] | None = None
    type: Modality | None = Field(None, description="type: it cannot be changed any more")
    purpose: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"\S")] | None
    ) = None
    examples: list[Known] | None = Field(None, max_length=12, description="knowledge: questions and their answers")
    prompt: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_000, pattern=r"\S")] | None
    ) = None
    greeting: Annotated[str, StringConstraints(max_length=500)] | None = Field(None, description="prompt")
    avatar_id: Identifier | None = None
    voice_id: Identifier | None = None
    theme: Theme | None = Field(None, description="appearance")
    allowed_origins: (
        list[Annotated[str, Field(max_length=255, examples=["https://www.example.com"]), AfterValidator(normal)]] | None
    ) = Field(None, max_length=50, description="deploy: the websites that may show the chatbot")
    note: Annotated[str, StringConstraints(max_length=500)] | None = Field(None, description="deploy")


class SessionQuery(Input):
    after_seq: int | None = Field(
        None, ge=0, description="What the client has seen last; `changed` says if there is more"
    )


class LiveState(Output):
    """What a conversation shows right now. What does not belong to the chatbot's type is null."""

    conversation_id: str
    chatbot_id: str
    user_id: str
    type: Modality
    status: Status
    seq: int
    changed: bool = Field(description="Whether this is newer than `after_seq`")
    avatar_id: str | None = None
    emotion: str | None = None
    gesture: str | None = None
    gaze: str | None = None
    viseme_clock_ms: int | None = Field(None, description="How far the mouth's movements have been sent")
    typing: bool | None = None
    vad: bool | None = Field(None, description="Whether the visitor is heard speaking")
    playback_ms: int | None = Field(None, description="How much of the last answer was heard")
    barge_in_at: Timestamp | None = None
    updated_at: Timestamp | None


Shown = dict[str, Any]
