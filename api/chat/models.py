"""What the chat services take and give."""

from typing import Literal

from pydantic import Field

from api._kit.ports import AudioFormat
from api._kit.values import Identifier, Input, LanguageTag, Output, Timestamp

LONGEST_MESSAGE = 4_000


class _Addressed(Input):
    chatbot_id: Identifier = Field(examples=["cb_12345"])
    user_id: Identifier | None = Field(None, examples=["test_user"])
    conversation_id: Identifier | None = None
    client_message_id: Identifier | None = None
    language: LanguageTag | None = None


class TextMessage(_Addressed):
    """`client_message_id` makes a resend harmless: it gets the same answer."""

    message: str = Field(
        min_length=1, max_length=LONGEST_MESSAGE, pattern=r"\S", examples=["Hello, how can you help me?"]
    )


class AudioOptions(Input):
    format: Literal["mp3", "opus", "wav", "none"] = "mp3"


class FaceMessage(TextMessage):
    audio: AudioOptions | None = None
    lipsync: Literal["visemes", "none"] = "visemes"


class VoiceMessage(_Addressed):
    """As JSON with `message`, or as a form with the `audio` that was spoken."""

    message: str | None = Field(None, min_length=1, max_length=LONGEST_MESSAGE, pattern=r"\S", examples=["Hello"])
    format: AudioFormat = "mp3"


Message = TextMessage | VoiceMessage


class CitationRecord(Output):
    n: int
    document_id: str
    title: str
    url: str | None
    snippet: str
    score: float


class Usage(Output):
    """Tokens are null where the model does not count them."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    audio_seconds: float


class Latency(Output):
    """Milliseconds since the request arrived at the engine; null where a step did not happen."""

    retrieval_ms: float | None
    first_token_ms: float | None
    first_audio_ms: float | None
    total_ms: float | None


class AudioFile(Output):
    """Open `url` within the day; it needs no token."""

    url: str
    format: AudioFormat
    sample_rate: int
    duration_ms: int


class VisemeCue(Output):
    """From `t`, for `d` milliseconds, viseme `v` has weight `w`."""

    t: int
    d: int
    v: str
    w: float


class LipSync(Output):
    format: Literal["oculus15"] = "oculus15"
    cues: list[VisemeCue]


class Gesture(Output):
    t: int
    name: str


class TextReply(Output):
    """An answer."""

    message_id: str = Field(examples=["msg_01JD0000000000000000000000"])
    conversation_id: str = Field(examples=["conv_xyz789"])
    chatbot_id: str = Field(examples=["cb_12345"])
    user_id: str = Field(examples=["test_user"])
    response: str
    language: str
    citations: list[CitationRecord]
    suggestions: list[str]
    finish_reason: Literal["stop", "length", "blocked", "handoff", "cancelled", "error"]
    usage: Usage
    latency: Latency
    degraded: list[str] = Field(description="Parts that failed: the answer goes on without them")
    created_at: Timestamp


class FaceReply(TextReply):
    """An answer with a voice and a face."""

    audio: AudioFile | None
    lipsync: LipSync | None
    emotion: str
    gestures: list[Gesture]


class VoiceReply(TextReply):
    """An answer with a voice, and what was understood of the question."""

    audio: AudioFile | None
    transcript: str
