"""Talking to a chatbot by request and response, or by a stream: one turn engine behind three rows of the catalogue."""

from typing import Any, Final

import structlog

from api._kit.endpoint import Ctx, Handler, Service, Upload
from api._kit.errors import (
    ApiError,
    Conflict,
    InternalError,
    InvalidFormat,
    MissingField,
    NotFound,
    Problem,
    Unavailable,
)
from api._kit.sse import Streamed
from api.chat import rendering
from api.chat.models import (
    FaceMessage,
    FaceReply,
    LipSync,
    Message,
    Stopped,
    Stopping,
    TextMessage,
    TextReply,
    VoiceMessage,
    VoiceReply,
)
from api.chat.talks import Talk
from api.chat.turns import R, Render, Wish, respond, sound_file
from pipelines.engine import Answer
from pipelines.frames import OUTPUT_RATE

chat_3d = Service("chat-3d", 8011, "Response 3D", "3D chatbot responses")
chat_text = Service("chat-text", 8012, "Response Text", "text responses")
chat_voice = Service("chat-voice", 8013, "Response Voice", "voice responses")

AUDIO_BYTES: Final = 10 * 1024 * 1024
QUESTION: Final = Upload("audio", AUDIO_BYTES, "What the user said, a minute at most: WAV, MP3, Ogg or WebM")
_ERRORS: Final = (404, 409)
_EXAMPLES: Final = {
    "request": {"chatbot_id": "cb_12345", "message": "Hello, how can you help me?", "user_id": "test_user"}
}
_VOICE_EXAMPLES: Final = {"request": {"chatbot_id": "cb_12345", "message": "Hello"}}

log = structlog.get_logger("api.chat")


@chat_text.post(
    "/respond", who="V,E,K", body=TextMessage, returns=TextReply, errors=_ERRORS, examples=_EXAMPLES, harmless=True
)
async def respond_text(ctx: Ctx, body: TextMessage) -> TextReply:
    """Ask a text chatbot and get its whole answer."""
    return await respond(ctx, body, Wish("text"), TextReply, _as_text)


@chat_text.post(
    "/stream",
    who="V,E,K",
    body=TextMessage,
    returns=TextReply,
    errors=_ERRORS,
    examples=_EXAMPLES,
    harmless=True,
    streams=True,
)
async def stream_text(ctx: Ctx, body: TextMessage) -> Streamed:
    """Ask a text chatbot and read its answer while it is written."""
    return await _streamed(
        ctx, body, Wish("text"), TextReply, _as_text, Talk(ctx.deps.streams, sound=False, face=False)
    )


async def _as_text(answer: Answer, common: dict[str, Any]) -> TextReply:
    return TextReply(**common)


@chat_3d.post(
    "/respond", who="V,E,K", body=FaceMessage, returns=FaceReply, errors=_ERRORS, examples=_EXAMPLES, harmless=True
)
async def respond_3d(ctx: Ctx, body: FaceMessage) -> FaceReply:
    """Ask a 3D chatbot and get its whole answer: text, sound, mouth, emotion and gestures."""
    return await respond(ctx, body, _face_wish(body), FaceReply, _as_face(ctx, body))


@chat_3d.post(
    "/stream",
    who="V,E,K",
    body=FaceMessage,
    returns=FaceReply,
    errors=_ERRORS,
    examples=_EXAMPLES,
    harmless=True,
    streams=True,
)
async def stream_3d(ctx: Ctx, body: FaceMessage) -> Streamed:
    """Ask a 3D chatbot and get its answer while it is made: text, sound, mouth, emotions and gestures."""
    sound = body.audio is None or body.audio.format != "none"
    talk = Talk(ctx.deps.streams, sound=sound, face=body.lipsync == "visemes")
    return await _streamed(ctx, body, _face_wish(body), FaceReply, _as_face(ctx, body), talk)


def _face_wish(body: FaceMessage) -> Wish:
    silent = body.audio is not None and body.audio.format == "none"
    return Wish("3d", voice=not silent or body.lipsync == "visemes", face=True)


def _as_face(ctx: Ctx, body: FaceMessage) -> Render[FaceReply]:
    format = body.audio.format if body.audio else "mp3"
    lips = body.lipsync == "visemes"

    async def render(answer: Answer, common: dict[str, Any]) -> FaceReply:
        return FaceReply(
            **common,
            audio=await sound_file(ctx, answer.speech, None if format == "none" else format),
            lipsync=LipSync(cues=rendering.visemes(answer.speech)) if lips and answer.speech else None,
            emotion=rendering.emotion(answer.cues),
            gestures=rendering.gestures(answer.cues),
        )

    return render


@chat_voice.post(
    "/respond",
    who="V,E,K",
    body=VoiceMessage,
    returns=VoiceReply,
    errors=_ERRORS,
    harmless=True,
    examples=_VOICE_EXAMPLES,
    upload=QUESTION,
)
async def respond_voice(ctx: Ctx, body: VoiceMessage) -> VoiceReply:
    """Ask a voice chatbot, by text or by speech, and get its whole answer as text and sound."""
    return await respond(ctx, body, Wish("voice", voice=True), VoiceReply, _as_voice(ctx, body))


@chat_voice.post(
    "/stream",
    who="V,E,K",
    body=VoiceMessage,
    returns=VoiceReply,
    errors=_ERRORS,
    harmless=True,
    examples=_VOICE_EXAMPLES,
    upload=QUESTION,
    streams=True,
)
async def stream_voice(ctx: Ctx, body: VoiceMessage) -> Streamed:
    """Ask a voice chatbot, by text or by speech, and hear its answer while it is made."""
    talk = Talk(ctx.deps.streams, sound=True, face=False)
    return await _streamed(ctx, body, Wish("voice", voice=True), VoiceReply, _as_voice(ctx, body), talk)


def _as_voice(ctx: Ctx, body: VoiceMessage) -> Render[VoiceReply]:
    """Raises MissingField unless there is either text or sound."""
    if (ctx.upload is None) == (body.message is None):
        text = "Send either message or audio."
        raise MissingField(text, fields=[Problem("message", "MISSING_FIELD", text)])

    async def render(answer: Answer, common: dict[str, Any]) -> VoiceReply:
        transcript = answer.transcript if answer.transcript is not None else body.message or ""
        return VoiceReply(**common, audio=await sound_file(ctx, answer.speech, body.format), transcript=transcript)

    return render


async def _streamed(ctx: Ctx, body: Message, wish: Wish, kind: type[R], render: Render[R], talk: Talk) -> Streamed:
    """The answer goes on being made when nobody reads it any more."""

    async def make() -> None:
        try:
            talk.finish(await respond(ctx, body, wish, kind, render, talk))
        except ApiError as error:
            talk.fail(error)
        except Exception:  # the last resort of an answer: who reads it is told that there will be none
            log.exception("stream.failed", request_id=ctx.request_id)
            talk.fail(InternalError(details="contact support with the request_id"))
        finally:
            if not talk.events.over:  # it was broken off
                talk.fail(Unavailable("The answer took too long. Please try again."))

    ctx.deps.background.start(make(), f"{wish.channel} stream", ctx.tenant)
    await talk.opened()
    return Streamed(talk.events, talk.whole)


def _resume(kind: type[TextReply]) -> Handler:
    async def resume(ctx: Ctx) -> Streamed:
        """Read an answer again, from after `Last-Event-ID` on. It is kept for ten minutes."""
        talk = _find(ctx)
        after = ctx.last_event_id or "0"
        if not after.isdecimal() or len(after) > 9 or int(after) > talk.events.last:
            raise InvalidFormat("Last-Event-ID is the id of an event of this stream.")
        return Streamed(talk.events, talk.whole, int(after))

    return resume


async def stop(ctx: Ctx, body: Stopping) -> Stopped:
    """Stop an answer: what there is of it is kept, or what was heard of it.

    One that is already complete can still be cut at what was heard, as long as it was not heard to its end.
    """
    talk = _find(ctx)
    played = None if body.played_ms is None else body.played_ms * OUTPUT_RATE // 1000
    if not talk.events.over:
        talk.stop(played)
        reply = await talk.whole()
        if reply.finish_reason == "cancelled":
            return Stopped(message_id=talk.id, response=reply.response)
    if played is None or played >= talk.samples or talk.conversation is None:
        raise Conflict("The answer is already complete.")
    heard = talk.heard(played)
    await ctx.deps.conversations.cut(talk.conversation, talk.id, heard)
    return Stopped(message_id=talk.id, response=heard)


def _find(ctx: Ctx) -> Talk:
    """The caller's own. Raises NotFound."""
    talk, caller = ctx.deps.streams.find(ctx.path["message_id"]), ctx.caller
    if not isinstance(talk, Talk) or talk.organization_id != ctx.tenant:
        raise NotFound("There is no such answer, or it is more than ten minutes old.")
    if caller.kind == "visitor" and (talk.chatbot_id, talk.user_id) != (caller.chatbot_id, caller.user_id):
        raise NotFound("There is no such answer, or it is more than ten minutes old.")
    return talk


for _service, _kind in ((chat_text, TextReply), (chat_3d, FaceReply), (chat_voice, VoiceReply)):
    _service.get("/stream/{message_id}", who="V,E,K", returns=_kind, streams=True, name="resume")(_resume(_kind))
    _service.post(
        "/messages/{message_id}/stop", who="V,E,K", body=Stopping, returns=Stopped, errors=(409,), harmless=True
    )(stop)
