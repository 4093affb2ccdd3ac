"""The events of namespace `/chat`, both directions, and the binary header: one versioned contract.

Exported as JSON Schema (`machineavatars wire`), from which the widget's TypeScript types are made. Times named `t`,
`t0`, `len`, `played` are output samples of one response; `mic_t` is input samples since the session's start.
Clients ignore events and fields that they do not know; the server refuses fields it does not know.
"""

import re
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticCustomError

VERSION = 1
NAMESPACE = "/chat"
MAX_SAY_CHARACTERS = 4_000
MAX_EVENT_BYTES = 65_536
SENT_FORMATS: Final = ("pcm16",)
"""The sound that this server makes, of the formats that the wire knows."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# --- binary ----------------------------------------------------------------------------------------------------------


class Kind(IntEnum):
    MIC_PCM16 = 1
    OUT_PCM16 = 2
    OUT_OPUS = 3
    FACE = 4


class Flag(IntFlag):
    FIRST = 1
    LAST = 2
    DISCONTINUITY = 4
    RESENT = 8
    CLIENT_PLAYING = 16


_HEADER = struct.Struct("<BBBBIIIQ")
HEADER_BYTES = _HEADER.size  # 24


def resent(data: bytes) -> bytes:
    """A binary message, marked as sent before."""
    return data[:2] + bytes((data[2] | Flag.RESENT,)) + data[3:]


@dataclass(frozen=True, slots=True)
class Media:
    """One binary message: the 24-byte header, little endian, and its payload. `t` is samples since the start."""

    kind: Kind
    seq: int
    rid: int
    rate: int
    t: int
    payload: bytes
    flags: Flag = Flag(0)
    channels: int = 1

    def pack(self) -> bytes:
        return (
            _HEADER.pack(VERSION, self.kind, self.flags, self.channels, self.seq, self.rid, self.rate, self.t)
            + self.payload
        )

    @classmethod
    def unpack(cls, data: bytes) -> "Media":
        """Raises ValueError with a message fit for the client."""
        if len(data) < HEADER_BYTES:
            raise ValueError(f"a media frame has a {HEADER_BYTES}-byte header; got {len(data)} bytes")
        version, kind, flags, channels, seq, rid, rate, t = _HEADER.unpack_from(data)
        if version != VERSION:
            raise ValueError(f"media header version {version} is not supported; this server speaks {VERSION}")
        try:
            return cls(Kind(kind), seq, rid, rate, t, data[HEADER_BYTES:], Flag(flags), channels)
        except ValueError:
            raise ValueError(f"unknown media kind {kind}") from None


# --- client to server ------------------------------------------------------------------------------------------------


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise PydanticCustomError("control_character", "control characters other than newline and tab are not accepted")
    return text


Printable = Annotated[str, AfterValidator(_printable)]
"""Text without control characters, but for line ends and tabs."""


class Caps(_Strict):
    """What the client can do. An empty `out` means text only: nothing is synthesised."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    in_: list[Literal["pcm16", "opus"]] = Field(default=["pcm16"], alias="in")
    out: list[Literal["pcm16", "opus"]] = ["pcm16"]
    face: list[Literal["oculus15", "arkit52", "azure22"]] = []
    fps: int = Field(30, ge=1, le=120)
    opus: bool = False

    @property
    def unheard(self) -> bool:
        """Sound is wanted, and only in formats that are never sent."""
        return bool(self.out) and not set(self.out) & set(SENT_FORMATS)


class Resume(_Strict):
    sid: str
    token: str
    last_seq: int = Field(ge=0)
    rid: int = Field(0, ge=0)
    played: int = Field(0, ge=0)
    mic_seq: int = Field(0, ge=0)


class Hello(_Strict):
    """`greet` asks for the bot's spoken greeting when the conversation is new."""

    proto: int = VERSION
    locale: str = "en-US"
    caps: Caps = Caps()
    chatbot_id: Printable
    conversation_id: Printable | None = None
    greet: bool = False
    resume: Resume | None = None


class Say(_Strict):
    """A typed message. `id` is the client's own and makes a resend harmless."""

    id: Printable = Field(min_length=1, max_length=128)
    text: Printable = Field(min_length=1, max_length=MAX_SAY_CHARACTERS)
    interrupt: bool = True
    speak: bool = True


class Ptt(_Strict):
    down: bool


class MicCommit(_Strict):
    """The user says the utterance is over: do not wait for silence."""


class MicClear(_Strict):
    """Forget what the microphone has said since the last turn."""


class Config(_Strict):
    """Change what the session does: voice answers on or off."""

    speak: bool | None = None


class Ping(_Strict):
    c: float


class Play(_Strict):
    """What the listener hears: first audible sample, then 4 Hz, always on stop."""

    rid: int = Field(ge=1)
    played: int = Field(ge=0)
    buffered_ms: float = Field(0, ge=0)
    underruns: int = Field(0, ge=0)
    state: Literal["start", "tick", "pause", "stop", "done"]


class Stop(_Strict):
    rid: int | None = None
    reason: str = Field("button", max_length=64)


class Barge(_Strict):
    state: Literal["candidate", "confirmed", "retracted"]
    mic_t: int = Field(ge=0)


class Ack(_Strict):
    seq: int = Field(ge=0)


CLIENT_EVENTS: dict[str, type[_Strict]] = {
    "hello": Hello,
    "say": Say,
    "mic.commit": MicCommit,
    "mic.clear": MicClear,
    "ptt": Ptt,
    "config": Config,
    "ping": Ping,
    "play": Play,
    "stop": Stop,
    "barge": Barge,
    "ack": Ack,
}


# --- server to client ------------------------------------------------------------------------------------------------


class _Event(BaseModel):
    """Envelope: `seq` is per session, gapless."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    v: Literal[1] = 1
    seq: int = 0
    ts: float = 0


class OutFormat(_Strict):
    rate: int
    format: Literal["pcm16", "opus", "none"]


class FaceFormat(_Strict):
    """The mouth's language for this session; `names` is sent here once, `face.keys` index it."""

    set: Literal["oculus15", "arkit52", "azure22", "none"]
    names: list[str]
    unit: Literal["keys", "frames"]
    fps: int


class TurnFormat(_Strict):
    mode: Literal["auto", "ptt"]
    hangover: int


class Bot(_Strict):
    """What the client shows of the bot."""

    id: str
    name: str
    type: Literal["3d", "text", "voice"]
    avatar_id: str | None
    voice_id: str | None
    language: str


class Ready(_Event):
    """The ack of `hello`."""

    sid: str
    token: str
    ttl: int
    recovered: bool
    mic_next: int
    conversation_id: str | None
    bot: Bot
    out: OutFormat
    face: FaceFormat
    turn: TurnFormat


class Vad(_Event):
    state: Literal["candidate", "start", "end", "retract"]
    mic_t: int
    p: float


class TurnState(_Event):
    id: int
    state: Literal["listening", "hearing", "endpoint", "thinking", "speaking", "paused"]
    p_end: float = 0


class SttPart(_Event):
    item: int
    rev: int
    text: str
    stable: int


class SttFinal(_Event):
    """`words` rows are [t0, t1, c0, c1]: input samples, characters of `text`."""

    item: int
    text: str
    lang: str
    words: list[tuple[int, int, int, int]]
    conf: float


class RespStart(_Event):
    """A reply begins; `message_id` and `conversation_id` are those of REST."""

    rid: int
    turn: int
    kind: Literal["answer", "filler", "greeting", "backchannel"]
    speculative: bool = False
    message_id: str
    conversation_id: str


class Txt(_Event):
    """The `i`-th piece of the reply's text, from 0."""

    rid: int
    i: int
    d: str


class Seg(_Event):
    """A clause about to be heard: `len` samples from `t0`; `words` rows are [t0, t1, c0, c1], samples since the
    response's start, characters of the response's text."""

    rid: int
    n: int
    text: str
    c0: int
    t0: int
    len: int
    words: list[tuple[int, int, int, int]]


class Face(_Event):
    """Mouth keys of segment `n`: rows are [dt, id, weight]; `dt` samples since `t0`, `id` in `ready.face.names`."""

    rid: int
    n: int
    t0: int
    keys: list[tuple[int, int, float]]


class Cue(_Event):
    rid: int
    t: int
    type: Literal["emotion", "gesture", "gaze", "pose", "blink", "animation"]
    name: str
    amp: float
    dur: int


class Duck(_Event):
    rid: int
    db: float
    ms: int


class Unduck(_Event):
    rid: int


class Cut(_Event):
    """Stop sounding response `rid` at once and forget everything of it that has not been shown."""

    rid: int
    fade_ms: int
    reason: Literal["voice", "button", "typing", "superseded", "error"]


class Citation(_Event):
    rid: int
    n: int
    document_id: str
    title: str
    url: str | None
    snippet: str


class Heard(_Strict):
    """What reached the listener: samples played, and the reply's text up to the last whole word of them."""

    samples: int
    chars: int
    text: str


class Usage(_Strict):
    input_tokens: int = 0
    output_tokens: int = 0
    audio_ms: int = 0


class RespEnd(_Event):
    rid: int
    status: Literal["done", "cut", "superseded", "error"]
    heard: Heard
    usage: Usage
    message_id: str


class Lat(_Event):
    """Where one turn's time went: milliseconds since the user's last voiced sample (or since `say` arrived)."""

    turn: int
    rid: int
    t_vad_end: float | None = None
    t_stt: float | None = None
    t_llm1: float | None = None
    t_clause: float | None = None
    t_tts1: float | None = None
    t_sent: float | None = None
    t_audible: float | None = None
    spec_hit: bool | None = None


Health = Literal["ok", "degraded", "unavailable"]


class State(_Event):
    """The session's degraded modes, and what it is doing."""

    status: Literal["idle", "listening", "thinking", "speaking"] | None = None
    stt: Health | None = None
    tts: Health | None = None
    llm: Health | None = None
    database: Health | None = None


class Err(_Event):
    """The REST envelope's codes. `ref` is the id of the client event that failed, `rid` the response that did."""

    code: str
    message: str
    fatal: bool = False
    retry_ms: int | None = None
    ref: str | None = None
    rid: int | None = None
    param: str | None = None


class Warn(_Event):
    """Something the client should know that stops nothing."""

    code: str
    message: str


class Bye(_Event):
    reason: Literal["superseded", "drained", "expired", "revoked", "slow", "protocol"]
    reconnect: bool


class Draining(_Event):
    retry_ms: int


class Pong(_Event):
    c: float
    s: float


class SayAck(_Strict):
    """Sent as the Socket.IO ack of `say`, after the message is committed. Anything else is not an acceptance."""

    ok: Literal[True] = True
    id: str
    message_id: str


SERVER_EVENTS: dict[str, type[_Event]] = {
    "ready": Ready,
    "vad": Vad,
    "turn": TurnState,
    "stt.part": SttPart,
    "stt.final": SttFinal,
    "resp.start": RespStart,
    "txt": Txt,
    "seg": Seg,
    "face": Face,
    "cue": Cue,
    "duck": Duck,
    "unduck": Unduck,
    "cut": Cut,
    "citation": Citation,
    "resp.end": RespEnd,
    "lat": Lat,
    "state": State,
    "err": Err,
    "warn": Warn,
    "bye": Bye,
    "draining": Draining,
    "pong": Pong,
}
EVENT_NAMES: dict[type[_Event], str] = {model: name for name, model in SERVER_EVENTS.items()}

ServerEvent = _Event
ClientEvent = _Strict


def json_schema() -> dict[str, Any]:
    """One JSON Schema document: `$defs` holds every event, `x-events` maps direction and name to its definition."""
    names = {**{f"C:{n}": m for n, m in CLIENT_EVENTS.items()}, **{f"S:{n}": m for n, m in SERVER_EVENTS.items()}}
    keyed = [
        (key, "validation" if key.startswith("C:") else "serialization", TypeAdapter(m)) for key, m in names.items()
    ]
    keyed.append(("A:say", "serialization", TypeAdapter(SayAck)))
    refs, schema = TypeAdapter.json_schemas(keyed, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    target = {key: ref["$ref"].rsplit("/", 1)[1] for (key, _), ref in refs.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "MachineAvatars wire, namespace /chat",
        "version": VERSION,
        "$defs": schema["$defs"],
        "x-events": {
            "client": {key[2:]: name for key, name in target.items() if key.startswith("C:")},
            "server": {key[2:]: name for key, name in target.items() if key.startswith("S:")},
            "ack": {key[2:]: name for key, name in target.items() if key.startswith("A:")},
        },
        "x-binary-header": "<u8 version, u8 kind, u8 flags, u8 channels, u32 seq, u32 rid, u32 rate, u64 t",
    }


__all__ = ["CLIENT_EVENTS", "EVENT_NAMES", "SERVER_EVENTS", "ClientEvent", "Media", "ServerEvent", "json_schema"]
