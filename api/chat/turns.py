"""One turn by request: whose it is, what the engine makes of it, and what is kept so that it is made once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from api._kit.endpoint import Ctx
from api._kit.errors import (
    ApiError,
    ChatbotUnavailable,
    Conflict,
    EmptyContent,
    Forbidden,
    InvalidFormat,
    NotFound,
    PayloadTooLarge,
    Unavailable,
    UnsupportedMediaType,
    UpstreamError,
)
from api._kit.idempotency import digest
from api._kit.ports import AudioFormat, Bot, Conversation, Modality, UnknownConversation
from api.chat import rendering, store
from api.chat.models import AudioFile, Context, Latency, Message, TextReply, Usage
from api.chat.talks import Talk
from pipelines.audio.decode import AudioRejected, Reason
from pipelines.engine import Answer, NothingSaid
from pipelines.frames import OUTPUT_RATE, SpeechChunk
from pipelines.ports import JournalUnavailable, Visit
from pipelines.providers.base import ProviderError

_REJECTED: Final[Mapping[Reason, type[ApiError]]] = {
    "format": UnsupportedMediaType,
    "empty": EmptyContent,
    "too_long": PayloadTooLarge,
    "too_large": PayloadTooLarge,
}
R = TypeVar("R", bound=TextReply)
Render = Callable[[Answer, dict[str, Any]], Awaitable[R]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What an answer is made of: `voice` synthesises it, `face` moves the mouth to it."""

    channel: Modality
    voice: bool = False
    face: bool = False


async def respond(ctx: Ctx, body: Message, wish: Wish, kind: type[R], render: Render[R], talk: Talk | None = None) -> R:
    """One answer for one message: the same `client_message_id` again gets the answer that there was.

    An `Idempotency-Key` stands for one, so that a turn that failed after its question was kept can be tried again.
    """
    if body.client_message_id is None and ctx.idempotency_key:
        said = ctx.upload.data if ctx.upload else b""
        made = f"key_{digest(ctx.idempotency_key, body.model_dump_json(), said)[:40]}"
        body = body.model_copy(update={"client_message_id": made})
    bot = await find_bot(ctx, body.chatbot_id, wish.channel)
    user_id = await _user(ctx, bot, body)
    resent = body.client_message_id
    if resent is None:
        return await _turn(ctx, bot, user_id or ctx.deps.ids.new("anonymous"), body, wish, render, talk)
    sender = user_id or f"of:{ctx.caller.user_id}"
    database = ctx.deps.database
    async with ctx.deps.turnstile.alone(bot.id, sender, resent):
        async with database.view(bot.organization_id) as tx:
            kept = await store.kept(tx, bot.id, sender, resent, now=ctx.deps.now())
        if kept is not None:
            return kind.model_validate(kept)
        reply = await _turn(ctx, bot, user_id or ctx.deps.ids.new("anonymous"), body, wish, render, talk)
        async with database.uow(bot.organization_id) as tx:
            await store.keep(tx, bot.id, sender, resent, reply.model_dump(), now=ctx.deps.now())
            await tx.commit()
    return reply


async def _turn(ctx: Ctx, bot: Bot, user_id: str, body: Message, wish: Wish, render: Render[R], talk: Talk | None) -> R:
    conversation = await _conversation(ctx, bot, user_id, body, wish.channel)
    if talk:
        talk.of(bot, conversation)
    try:
        answer = await ctx.deps.engine.respond(
            bot,
            conversation,
            text=body.message,
            audio=await decoded(ctx),
            client_message_id=body.client_message_id,
            voice=wish.voice,
            face=wish.face,
            listener=talk,
        )
    except NothingSaid:
        raise EmptyContent("No speech was heard in the audio.") from None
    except ProviderError as error:
        raise UpstreamError(error.public) from None
    except JournalUnavailable:
        raise Unavailable(details="the message was not kept") from None
    except UnknownConversation:
        raise Conflict("The conversation has just ended. Please send the message again.") from None
    if not answer.text and answer.finish_reason != "cancelled":
        raise UpstreamError("The model gave no answer. Please try again.")
    reply = await render(answer, _common(ctx, bot, conversation, answer))
    sound = getattr(reply, "audio", None)
    if isinstance(sound, AudioFile):
        kept = {"media_id": sound.media_id, **sound.model_dump(include={"format", "sample_rate", "duration_ms"})}
        await ctx.deps.conversations.sounded(conversation, answer.message_id, kept)
    return reply


async def find_bot(ctx: Ctx, chatbot_id: str, channel: Modality | None) -> Bot:
    """Visitors talk to what is published on their own chatbot, members to their organisation's drafts."""
    caller = ctx.caller
    visitor = caller.kind == "visitor"
    bot = await ctx.deps.bots.find(chatbot_id, draft=not visitor)
    if bot is None or bot.organization_id != ctx.tenant or (visitor and bot.id != caller.chatbot_id):
        raise NotFound
    if visitor and bot.status != "active":
        raise ChatbotUnavailable
    if channel is not None and bot.type != channel:
        raise Conflict(f"This is a {bot.type} chatbot.", details=f"use /api/v1/chat-{bot.type}/respond")
    return bot


def named_user(ctx: Ctx, user_id: str | None) -> str | None:
    """The end user who talks. A visitor is who the token says. Raises Forbidden."""
    if ctx.caller.kind != "visitor":
        return user_id
    if user_id not in (None, ctx.caller.user_id):
        raise Forbidden("You may not speak for another user.")
    return ctx.caller.user_id


async def _user(ctx: Ctx, bot: Bot, body: Message) -> str | None:
    """Without a name, whoever owns the conversation."""
    user_id = named_user(ctx, body.user_id)
    if user_id is None and body.conversation_id is not None:
        return await ctx.deps.conversations.user_of(bot, body.conversation_id)
    return user_id


def visit(context: Context | None, language: str | None) -> Visit:
    context = context or Context()
    return Visit(
        locale=language or "",
        page_title=context.title or "",
        page_url=context.page_url or "",
        utm=context.utm,
        custom=context.custom,
    )


async def _conversation(ctx: Ctx, bot: Bot, user_id: str, body: Message, channel: Modality) -> Conversation:
    try:
        return await ctx.deps.conversations.open(
            bot,
            user_id,
            channel,
            conversation_id=body.conversation_id,
            language=body.language,
            visit=visit(body.context, body.language),
        )
    except UnknownConversation:
        raise NotFound("There is no such open conversation.") from None


async def decoded(ctx: Ctx) -> bytes | None:
    """The sound that was uploaded. Raises ApiError."""
    if ctx.upload is None:
        return None
    try:
        return await ctx.deps.speech.decode(ctx.upload.data)
    except AudioRejected as error:
        raise _REJECTED.get(error.reason, InvalidFormat)("The audio was not accepted.", details=str(error)) from None


def link(ctx: Ctx, media_id: str) -> str:
    """What opens the file for a day."""
    return f"{ctx.deps.origin}{ctx.deps.media.url(media_id)}"


async def sound_file(ctx: Ctx, speech: tuple[SpeechChunk, ...], format: AudioFormat | None) -> AudioFile | None:
    """The speech as a file with a link."""
    if format is None or not speech:
        return None
    pcm = rendering.sound(speech)
    media_id = await ctx.deps.media.save(await ctx.deps.speech.encode(pcm, OUTPUT_RATE, format), format)
    return AudioFile(
        url=link(ctx, media_id),
        format=format,
        sample_rate=OUTPUT_RATE,
        duration_ms=rendering.milliseconds(len(pcm) // 2),
    )


def _common(ctx: Ctx, bot: Bot, conversation: Conversation, answer: Answer) -> dict[str, Any]:
    """The fields that every kind of answer has."""
    samples = max((chunk.t0 + chunk.samples for chunk in answer.speech), default=0)
    written = answer.written
    return {
        "message_id": answer.message_id,
        "conversation_id": answer.conversation_id,
        "chatbot_id": bot.id,
        "user_id": conversation.user_id,
        "response": answer.text,
        "language": conversation.language,
        "citations": [rendering.citation(citation) for citation in answer.citations],
        "suggestions": [],
        "finish_reason": answer.finish_reason,
        "usage": Usage(
            input_tokens=written.input_tokens if written else None,
            output_tokens=written.output_tokens if written else None,
            audio_seconds=round(samples / OUTPUT_RATE, 3),
        ),
        "latency": Latency(**{name: answer.latency_ms.get(name) for name in Latency.model_fields}),
        "degraded": list(answer.degraded),
        "created_at": ctx.deps.now(),
    }
