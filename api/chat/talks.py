"""An answer that is streamed while it is made: its frames become events, which are kept for who comes back."""

import asyncio
import base64
from typing import Any, Final

from api._kit.errors import ApiError
from api._kit.sse import EventLog, Streams
from api.chat import rendering
from api.chat.models import TextReply
from pipelines.core.heard import Segment, heard
from pipelines.engine import Listener
from pipelines.frames import OUTPUT_RATE, Citation, Cue, Failed, Frame, SpeechChunk, TextDelta
from pipelines.ports import Bot, Conversation

PIECE: Final = OUTPUT_RATE
"""Bytes of sound in one event: half a second."""


class Talk(Listener):
    """`sound` and `face` say whether its events have sound and the mouth's movements."""

    def __init__(self, streams: Streams, *, sound: bool, face: bool) -> None:
        super().__init__()
        self.events = EventLog(streams)
        self.id = self.conversation_id = self.user_id = self.chatbot_id = self.organization_id = ""
        self._streams, self._sound, self._face = streams, sound, face
        self._conversation: Conversation | None = None
        self._segments: list[Segment] = []
        self._speaking = False
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._whole: asyncio.Future[TextReply] = asyncio.get_running_loop().create_future()
        self._opened.add_done_callback(_seen)
        self._whole.add_done_callback(_seen)

    @property
    def conversation(self) -> Conversation | None:
        """None when nothing was made: the answer was there already."""
        return self._conversation

    @property
    def samples(self) -> int:
        return max((segment.t0 + segment.length for segment in self._segments), default=0)

    def of(self, bot: Bot, conversation: Conversation) -> None:
        """Whose it is."""
        self._conversation = conversation
        self.conversation_id, self.user_id = conversation.id, conversation.user_id
        self.chatbot_id, self.organization_id = bot.id, bot.organization_id

    async def opened(self) -> None:
        """Until there is something to read. Raises what went wrong before."""
        await asyncio.shield(self._opened)

    async def whole(self) -> TextReply:
        """The whole answer, once it is there. Raises ApiError."""
        return await asyncio.shield(self._whole)

    def heard(self, played: int) -> str:
        """What `played` samples say."""
        return heard(self._segments, played).text

    def begun(self, message_id: str, transcript: str | None) -> None:
        self.id = message_id
        self._streams.add(self)
        self._start(transcript)
        self.events.push("state", {"status": "thinking"})

    def _start(self, transcript: str | None = None) -> None:
        started = {name: getattr(self, name) for name in ("conversation_id", "chatbot_id", "user_id")}
        said = {} if transcript is None else {"transcript": transcript}
        self.events.push("message.start", {"message_id": self.id, **started, **said})
        if not self._opened.done():
            self._opened.set_result(None)

    def hear(self, frame: Frame) -> None:
        match frame:
            case TextDelta():
                self._speak()
                self.events.push("text.delta", {"text": frame.text})
            case Citation():
                self.events.push("citation", rendering.citation(frame))
            case SpeechChunk():
                self._segments.append(Segment.of(frame))
                if self._sound:
                    self._push_sound(frame)
                if self._face:
                    cues = [cue.model_dump() for cue in rendering.visemes([frame])]
                    self.events.push("viseme", {"format": "oculus15", "cues": cues})
            case Cue(type="emotion" | "gesture") if self._face:
                self.events.push("state", {"t": rendering.milliseconds(frame.t), frame.type: frame.name})
            case Failed(part="llm" | "tts"):
                code = "UPSTREAM_ERROR"
                self.events.push("error", {"code": code, "message": frame.message, "part": frame.part})
            case _:
                pass

    def _speak(self) -> None:
        if not self._speaking:
            self._speaking = True
            self.events.push("state", {"status": "speaking"})

    def _push_sound(self, chunk: SpeechChunk) -> None:
        for start in range(0, len(chunk.pcm), PIECE):
            piece = chunk.pcm[start : start + PIECE]
            at = rendering.milliseconds(chunk.t0 + start // 2)
            data = base64.b64encode(piece).decode()
            self.events.push("audio.chunk", {"t": at, "format": "pcm16", "sample_rate": OUTPUT_RATE, "data": data})

    def finish(self, reply: TextReply) -> None:
        """The answer is complete; one that was there already is given in one piece."""
        if not self.id:
            self.id, self.conversation_id = reply.message_id, reply.conversation_id
            self.chatbot_id, self.user_id = reply.chatbot_id, reply.user_id
            self._start()
            self.events.push("text.delta", {"text": reply.response})
        self.events.push("message.end", reply)
        self.events.close()
        self._whole.set_result(reply)

    def fail(self, error: ApiError) -> None:
        """There is no answer."""
        if not self._opened.done():
            self._opened.set_exception(error)
        else:
            self.events.push("error", {"code": error.code, "message": error.message})
        self.events.close()
        self._whole.set_exception(error)


def _seen(future: "asyncio.Future[Any]") -> None:
    """An answer that nobody waits for may fail."""
    if not future.cancelled():
        future.exception()
