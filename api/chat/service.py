"""Talking to a chatbot by request and response: one turn engine behind three rows of the catalogue."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from api._kit.endpoint import Ctx, Service, Upload
from api._kit.errors import (
    ApiError,
    ChatbotUnavailable,
    Conflict,
    EmptyContent,
    Forbidden,
    InvalidFormat,
    MissingField,
    NotFound,
    PayloadTooLarge,
    Problem,
    Unavailable,
    UnsupportedMediaType,
    UpstreamError,
)
from api._kit.idempotency import digest
from api._kit.ports import AudioFormat, Bot, Conversation, Modality, UnknownConversation
from api.chat import rendering, store
from api.chat.models import (
    AudioFile,
    CitationRecord,
    FaceMessage,
    FaceReply,
    Latency,
    LipSync,
    Message,
    TextMessage,
    TextReply,
    Usage,
    VoiceMessage,
    VoiceReply,
)
from pipelines.audio.decode import AudioRejected, Reason
from pipelines.engine import Answer, NothingSaid
from pipelines.frames import OUTPUT_RATE
from pipelines.ports import JournalUnavailable
from pipelines.providers.base import ProviderError

chat_3d = Service("chat-3d", 8011, "Response 3D", "3D chatbot responses")
chat_text = Service("chat-text", 8012, "Response Text", "text responses")
chat_voice = Service("chat-voice", 8013, "Response Voice", "voice responses")

AUDIO_BYTES: Final = 10 * 1024 * 1024
_ERRORS: Final = (404, 409)
_EXAMPLES: Final = {
    "request": {"chatbot_id": "cb_12345", "message": "Hello, how can you help me?", "user_id": "test_user"}
}
_REJECTED: Final[Mapping[Reason, type[ApiError]]] = {
    "format": UnsupportedMediaType,
    "empty": EmptyContent,
    "too_long": PayloadTooLarge,
    "too_large": PayloadTooLarge,
}
R = TypeVar("R", bound=TextReply)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an answer is made of: `voice` synthesises it, `face` moves the mouth to it."""

    channel: Modality
    voice: bool = False
    face: bool = False


@chat_text.post(
    "/respond", who="V,E,K", body=TextMessage, returns=TextReply, errors=_ERRORS, examples=_EXAMPLES, harmless=True
)
async def respond_text(ctx: Ctx, body: TextMessage) -> TextReply:
    """Ask a text chatbot and get its whole answer."""

    async def render(answer: Answer, common: dict[str, Any]) -> TextReply:
        return TextReply(**common)

    return await _respond(ctx, body, Wish("text"), TextReply, render)


@chat_3d.post(
    "/respond", who="V,E,K", body=FaceMessage, returns=FaceReply, errors=_ERRORS, examples=_EXAMPLES, harmless=True
)
async def respond_3d(ctx: Ctx, body: FaceMessage) -> FaceReply:
    """Ask a 3D chatbot and get its whole answer: text, sound, mouth, emotion and gestures."""
    format = body.audio.format if body.audio else "mp3"
    lips = body.lipsync == "visemes"

    async def render(answer: Answer, common: dict[str, Any]) -> FaceReply:
        return FaceReply(
            **common,
            audio=await _audio(ctx, answer, None if format == "none" else format),
            lipsync=LipSync(cues=rendering.visemes(answer.speech)) if lips and answer.speech else None,
            emotion=rendering.emotion(answer.cues),
            gestures=rendering.gestures(answer.cues),
        )

    return await _respond(ctx, body, Wish("3d", lips or format != "none", face=True), FaceReply, render)


@chat_voice.post(
    "/respond",
    who="V,E,K",
    body=VoiceMessage,
    returns=VoiceReply,
    errors=_ERRORS,
    harmless=True,
    examples={"request": {"chatbot_id": "cb_12345", "message": "Hello"}},
    upload=Upload("audio", AUDIO_BYTES, "What the user said, a minute at most: WAV, MP3, Ogg or WebM"),
)
async def respond_voice(ctx: Ctx, body: VoiceMessage) -> VoiceReply:
    """Ask a voice chatbot, by text or by speech, and get its whole answer as text and sound."""
    if (ctx.upload is None) == (body.message is None):
        text = "Send either message or audio."
        raise MissingField(text, fields=[Problem("message", "MISSING_FIELD", text)])

    async def render(answer: Answer, common: dict[str, Any]) -> VoiceReply:
        transcript = answer.transcript if answer.transcript is not None else body.message or ""
        return VoiceReply(**common, audio=await _audio(ctx, answer, body.format), transcript=transcript)

    return await _respond(ctx, body, Wish("voice", voice=True), VoiceReply, render)


async def _respond(
    ctx: Ctx,
    body: Message,
    wish: Wish,
    kind: type[R],
    render: Callable[[Answer, dict[str, Any]], Awaitable[R]],
) -> R:
    """One answer for one message: the same `client_message_id` again gets the answer that there was.

    An `Idempotency-Key` stands for one, so that a turn that failed after its question was kept can be tried again.
    """
    if body.client_message_id is None and ctx.idempotency_key:
        said = ctx.upload.data if ctx.upload else b""
        made = f"key_{digest(ctx.idempotency_key, body.model_dump_json(), said)[:40]}"
        body = body.model_copy(update={"client_message_id": made})
    bot = await _bot(ctx, body.chatbot_id, wish.channel)
    user_id = await _user(ctx, bot, body)
    resent = body.client_message_id
    if resent is None:
        return await _turn(ctx, bot, user_id or ctx.deps.ids.new("anonymous"), body, wish, render)
    sender = user_id or f"of:{ctx.caller.user_id}"
    database = ctx.deps.database
    async with ctx.deps.turnstile.alone(bot.id, sender, resent):
        async with database.view(bot.organization_id) as tx:
            kept = await store.kept(tx, bot.id, sender, resent, now=ctx.deps.now())
        if kept is not None:
            return kind.model_validate(kept)
        reply = await _turn(ctx, bot, user_id or ctx.deps.ids.new("anonymous"), body, wish, render)
        async with database.uow(bot.organization_id) as tx:
            await store.keep(tx, bot.id, sender, resent, reply.model_dump(), now=ctx.deps.now())
            await tx.commit()
    return reply


async def _turn(
    ctx: Ctx,
    bot: Bot,
    user_id: str,
    body: Message,
    wish: Wish,
    render: Callable[[Answer, dict[str, Any]], Awaitable[R]],
) -> R:
    conversation = await _conversation(ctx, bot, user_id, body, wish.channel)
    try:
        answer = await ctx.deps.engine.respond(
            bot,
            conversation,
            text=body.message,
            audio=await _decoded(ctx),
            client_message_id=body.client_message_id,
            voice=wish.voice,
            face=wish.face,
        )
    except NothingSaid:
        raise EmptyContent("No speech was heard in the audio.") from None
    except ProviderError as error:
        raise UpstreamError(error.public) from None
    except JournalUnavailable:
        raise Unavailable(details="the message was not kept") from None
    if not answer.text:
        raise UpstreamError("The model gave no answer. Please try again.")
    return await render(answer, _common(ctx, bot, conversation, answer))


async def _bot(ctx: Ctx, chatbot_id: str, channel: Modality) -> Bot:
    """Visitors talk to what is published on their own chatbot, members to their organisation's drafts."""
    caller = ctx.caller
    visitor = caller.kind == "visitor"
    bot = await ctx.deps.bots.find(chatbot_id, draft=not visitor)
    if bot is None or bot.organization_id != ctx.tenant or (visitor and bot.id != caller.chatbot_id):
        raise NotFound
    if visitor and bot.status != "active":
        raise ChatbotUnavailable
    if bot.type != channel:
        raise Conflict(f"This is a {bot.type} chatbot.", details=f"use /api/v1/chat-{bot.type}/respond")
    return bot


async def _user(ctx: Ctx, bot: Bot, body: Message) -> str | None:
    """The end user who talks. A visitor is who the token says; without a name, whoever owns the conversation."""
    if ctx.caller.kind == "visitor":
        if body.user_id not in (None, ctx.caller.user_id):
            raise Forbidden("You may not speak for another user.")
        return ctx.caller.user_id
    if body.user_id is None and body.conversation_id is not None:
        return await ctx.deps.conversations.user_of(bot, body.conversation_id)
    return body.user_id


async def _conversation(ctx: Ctx, bot: Bot, user_id: str, body: Message, channel: Modality) -> Conversation:
    try:
        return await ctx.deps.conversations.open(
            bot, user_id, channel, conversation_id=body.conversation_id, language=body.language
        )
    except UnknownConversation:
        raise NotFound("There is no such open conversation.") from None


async def _decoded(ctx: Ctx) -> bytes | None:
    if ctx.upload is None:
        return None
    try:
        return await ctx.deps.speech.decode(ctx.upload.data)
    except AudioRejected as error:
        raise _REJECTED.get(error.reason, InvalidFormat)("The audio was not accepted.", details=str(error)) from None


async def _audio(ctx: Ctx, answer: Answer, format: AudioFormat | None) -> AudioFile | None:
    if format is None or not answer.speech:
        return None
    pcm = rendering.sound(answer.speech)
    media_id = await ctx.deps.media.save(await ctx.deps.speech.encode(pcm, OUTPUT_RATE, format), format)
    return AudioFile(
        url=f"{ctx.deps.origin}{ctx.deps.media.url(media_id)}",
        format=format,
        sample_rate=OUTPUT_RATE,
        duration_ms=rendering.milliseconds(len(pcm) // 2),
    )


def _common(ctx: Ctx, bot: Bot, conversation: Conversation, answer: Answer) -> dict[str, Any]:
    """The fields that every kind of answer has."""
    samples = max((chunk.t0 + chunk.samples for chunk in answer.speech), default=0)
    return {
        "message_id": answer.message_id,
        "conversation_id": answer.conversation_id,
        "chatbot_id": bot.id,
        "user_id": conversation.user_id,
        "response": answer.text,
        "language": conversation.language,
        "citations": [
            CitationRecord(n=c.n, document_id=c.document_id, title=c.title, url=c.url, snippet=c.snippet, score=c.score)
            for c in answer.citations
        ],
        "suggestions": [],
        "finish_reason": answer.finish_reason,
        "usage": Usage(audio_seconds=round(samples / OUTPUT_RATE, 3)),
        "latency": Latency(**{name: answer.latency_ms.get(name) for name in Latency.model_fields}),
        "degraded": list(answer.degraded),
        "created_at": ctx.deps.now(),
    }
