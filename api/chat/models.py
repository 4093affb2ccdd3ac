"""What the chat services take and give."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from api._kit.alternatives import exactly_one, needed
from api._kit.ports import AudioFormat
from api._kit.values import Identifier, Input, LanguageTag, Output, Timestamp

LONGEST_MESSAGE = 4_000


Short = Annotated[str, StringConstraints(max_length=300)]


class Context(Input):
    """Where the user is. Kept with a conversation that begins with it."""

    page_url: str | None = Field(None, max_length=2_048)
    title: str | None = Field(None, max_length=300)
    utm: dict[Identifier, Short] = Field({}, max_length=10)
    custom: dict[Identifier, Short | int | float | bool] = Field({}, max_length=20)


class _Addressed(Input):
    chatbot_id: Identifier = Field(examples=["cb_12345"])
    user_id: Identifier | None = Field(None, examples=["test_user"])
    conversation_id: Identifier | None = None
    client_message_id: Identifier | None = None
    language: LanguageTag | None = None
    context: Context | None = None


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

    model_config = ConfigDict(json_schema_extra=needed(message="string"))
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

    @property
    def media_id(self) -> str:
        return self.url.rsplit("/", 1)[1].partition("?")[0]


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


class GreetRequest(Input):
    chatbot_id: Identifier = Field(examples=["cb_12345"])
    user_id: Identifier | None = None
    language: LanguageTag | None = None
    context: Context | None = None
    audio: AudioOptions | None = None
    lipsync: Literal["visemes", "none"] = "visemes"


class Greeting(Output):
    """What a chatbot says first. It is no message of the history; a conversation begins with the user's first words."""

    message_id: str
    conversation_id: str | None = Field(description="The open conversation that the user comes back to")
    chatbot_id: str
    user_id: str | None
    response: str
    language: str
    citations: list[CitationRecord]
    suggestions: list[str]
    finish_reason: Literal["stop"]
    usage: Usage
    latency: Latency
    degraded: list[str]
    created_at: Timestamp
    audio: AudioFile | None
    lipsync: LipSync | None
    emotion: str
    gestures: list[Gesture]


class Stopping(Input):
    """`played_ms` is how much of the sound was heard: only that counts as said."""

    played_ms: int | None = Field(None, ge=0, le=3_600_000)


class Stopped(Output):
    message_id: str
    finish_reason: Literal["cancelled"] = "cancelled"
    response: str = Field(description="What counts as said")


class TranscribeRequest(Input):
    """As a form, with the `audio` that was spoken."""

    language: LanguageTag = "en"


class TranscriptSegment(Output):
    """Milliseconds since the beginning."""

    start_ms: int
    end_ms: int
    text: str


class TranscriptRecord(Output):
    text: str
    language: str
    confidence: float
    segments: list[TranscriptSegment]
    duration_ms: int


class SynthesisRequest(Input):
    """The voice is the chatbot's, or one of the list of voices."""

    model_config = ConfigDict(json_schema_extra=exactly_one(chatbot_id="string", voice_id="string"))
    chatbot_id: Identifier | None = None
    voice_id: Identifier | None = None
    text: str = Field(min_length=1, max_length=1_000, pattern=r"\S", examples=["Good morning."])
    format: AudioFormat = "mp3"
    lipsync: Literal["visemes", "none"] = "none"

    @model_validator(mode="after")
    def _one_voice(self) -> Self:
        if (self.chatbot_id is None) == (self.voice_id is None):
            raise ValueError("give chatbot_id or voice_id")
        return self


class Synthesis(Output):
    audio: AudioFile
    lipsync: LipSync | None


class CallRequest(Input):
    """A voice session: connect to the namespace with its token, and name the conversation in `hello`."""

    chatbot_id: Identifier = Field(examples=["cb_12345"])
    user_id: Identifier | None = None
    transport: Literal["socketio"] = "socketio"
    sample_rate: Literal[16_000] = 16_000
    language: LanguageTag | None = None
    context: Context | None = None


class PcmFormat(Output):
    format: Literal["pcm16"] = "pcm16"
    sample_rate: int


class CallAudio(Output):
    """What the microphone sends, and what is heard. Mono."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True)
    microphone: PcmFormat = Field(serialization_alias="in")
    speaker: PcmFormat = Field(serialization_alias="out")


class CallVad(Output):
    """The server hears when the user speaks, and when the user has finished."""

    mode: Literal["server"] = "server"


class Call(Output):
    session_id: str
    conversation_id: str
    namespace: Literal["/chat"] = "/chat"
    token: str
    expires_in: int
    audio: CallAudio
    vad: CallVad = CallVad()


class CallEnded(Output):
    """`duration_ms` is how long a client was connected, measured by the server; each begun second is billed."""

    session_id: str
    duration_ms: int
    billed_seconds: int
