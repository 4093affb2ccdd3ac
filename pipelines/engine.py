"""The one turn engine behind chat REST and behind the sockets: same prompts, same history, same stages."""

from dataclasses import dataclass, field

from pipelines.frames import Citation, Cue, SpeechChunk
from pipelines.ports import FinishReason


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole reply, collected. Times of `speech` and `cues` are output samples since the response's first sample."""

    message_id: str
    conversation_id: str
    user_message_id: str
    text: str
    finish_reason: FinishReason
    transcript: str | None = None
    speech: tuple[SpeechChunk, ...] = ()
    cues: tuple[Cue, ...] = ()
    citations: tuple[Citation, ...] = ()
    degraded: tuple[str, ...] = ()
    latency_ms: dict[str, float] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
