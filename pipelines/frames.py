"""Everything that flows through a pipeline. Frames are values: frozen, slotted, no behaviour.

Times are samples. `Utterance` and words of a `Transcript` count input samples (16 kHz); everything that is spoken or
seen counts output samples of one response, at `OUTPUT_RATE`, from the response's first sample.
"""

from dataclasses import dataclass
from typing import Literal

INPUT_RATE = 16_000
OUTPUT_RATE = 24_000


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the user said, as mono 16-bit little-endian PCM at `INPUT_RATE`; `t0` is its first sample's session time."""

    turn: int
    t0: int
    pcm: bytes
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Word:
    """A word on the audio clock: samples [t0, t1) and the characters [c0, c1) of the text it belongs to."""

    t0: int
    t1: int
    c0: int
    c1: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """Recognised speech. `confidence` is 0 to 1; an empty `text` means that nothing was said. `segments` are the parts
    that were recognised one by one."""

    turn: int
    text: str
    language: str = "en"
    words: tuple[Word, ...] = ()
    confidence: float = 1.0
    segments: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class UserText:
    """What the user says to the model, typed or transcribed."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """Something the bot knows that may answer the question. `verbatim` passages are answers as they stand; one without
    a `document_id` comes from the owner and is not cited."""

    document_id: str
    title: str
    text: str
    score: float
    url: str | None = None
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """The user's words with what the bot knows about them."""

    turn: int
    text: str
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the reply's text, as the model produces it."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The reply's text is complete: which model wrote it, and why it ended. Tokens are None where nobody counted."""

    turn: int
    model: str
    finish_reason: Literal["stop", "length", "blocked"] = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Clause:
    """A speakable piece of the reply; `c0` is its first character's place in the reply's text."""

    turn: int
    index: int
    text: str
    c0: int


@dataclass(frozen=True, slots=True)
class Phone:
    """One sound in IPA, on the audio clock; `stress` is 0 none, 1 primary, 2 secondary (carried by vowels)."""

    symbol: str
    t0: int
    t1: int
    stress: int = 0


@dataclass(frozen=True, slots=True)
class Viseme:
    """A key of the mouth's curve: viseme `id` (index into `pipelines.core.visemes.OCULUS_15`) has `weight` at `t`."""

    t: int
    id: int
    weight: float


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """Audio and the mouth that belongs to it in one value, so that they cannot drift.

    `pcm` is mono 16-bit little-endian at `OUTPUT_RATE`. `t0` is the chunk's first sample in the response; the times of
    `phones`, `words` and `visemes` are relative to `t0`, the characters of `words` are relative to the clause's text.
    """

    turn: int
    clause: int
    t0: int
    pcm: bytes
    phones: tuple[Phone, ...] = ()
    words: tuple[Word, ...] = ()
    visemes: tuple[Viseme, ...] = ()
    text: str = ""
    c0: int = 0

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2


CueType = Literal["emotion", "gesture", "gaze", "pose", "blink", "animation"]


@dataclass(frozen=True, slots=True)
class Cue:
    """Something the body does at output sample `t` of the response, for `dur` samples, with strength `amp` 0 to 1."""

    turn: int
    t: int
    type: CueType
    name: str
    amp: float = 1.0
    dur: int = 0


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage the answer stands on, as shown to the user."""

    turn: int
    n: int
    document_id: str
    title: str
    url: str | None = None
    snippet: str = ""
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A stage gave up; the turn goes on with what is left of it (text without voice, say)."""

    turn: int
    part: Literal["stt", "llm", "tts", "retrieval"]
    message: str
    retryable: bool


Frame = (
    Utterance | Transcript | UserText | Question | TextDelta | Written | Clause | SpeechChunk | Cue | Citation | Failed
)
