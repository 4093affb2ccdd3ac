"""Greetings, words to sound and back, and voice sessions: what the chat services do beside answering."""

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel

from api._kit.auth import LIFETIME
from api._kit.endpoint import Ctx, Upload
from api._kit.errors import Conflict, EmptyContent, InvalidFormat, MissingField, NotFound, Problem, UpstreamError
from api._kit.idempotency import digest
from api._kit.ports import AudioFormat, Bot, CallRow
from api.chat import rendering, store
from api.chat.models import (
    AudioFile,
    Call,
    CallAudio,
    CallEnded,
    CallRequest,
    Gesture,
    Greeting,
    GreetRequest,
    Latency,
    LipSync,
    PcmFormat,
    Synthesis,
    SynthesisRequest,
    TranscribeRequest,
    TranscriptRecord,
    TranscriptSegment,
    Usage,
    VisemeCue,
)
from api.chat.service import AUDIO_BYTES, chat_3d, chat_text, chat_voice
from api.chat.turns import decoded, find_bot, link, named_user, sound_file, visit
from pipelines.engine import NothingSaid
from pipelines.frames import INPUT_RATE, OUTPUT_RATE, SpeechChunk
from pipelines.providers.base import ProviderError

__all__ = ["chat_3d", "chat_text", "chat_voice"]

SPEECH: Final = Upload("audio", AUDIO_BYTES, "Speech, a minute at most: WAV, MP3, Ogg or WebM")
_ERRORS: Final = (404, 409)


class Line(BaseModel):
    """A line as it was spoken."""

    media_id: str
    format: AudioFormat
    duration_ms: int
    cues: list[VisemeCue]
    emotion: str
    gestures: list[Gesture]

    def file(self, ctx: Ctx) -> AudioFile:
        url = link(ctx, self.media_id)
        return AudioFile(url=url, format=self.format, sample_rate=OUTPUT_RATE, duration_ms=self.duration_ms)


@chat_3d.post("/greet", who="V,E,K", body=GreetRequest, returns=Greeting, errors=_ERRORS, harmless=True)
async def greet(ctx: Ctx, body: GreetRequest) -> Greeting:
    """What the chatbot says when somebody comes. It is spoken once, and given again for a day."""
    started = ctx.deps.clock.monotonic()
    bot = await find_bot(ctx, body.chatbot_id, "3d")
    user_id = named_user(ctx, body.user_id)
    before = await ctx.deps.conversations.newest(bot, user_id) if user_id else None
    text = _greeting(bot, body, returning=before is not None)
    wanted = body.audio.format if body.audio else "mp3"
    line = None
    voiced = bool(text) and (wanted != "none" or body.lipsync == "visemes")
    if voiced:
        line = await _line(ctx, text, ctx.deps.engine.voice_of(bot), "mp3" if wanted == "none" else wanted)
    sound = line.file(ctx) if line and wanted != "none" else None
    elapsed = round((ctx.deps.clock.monotonic() - started) * 1000, 1)
    return Greeting(
        message_id=ctx.deps.ids.new("msg"),
        conversation_id=before,
        chatbot_id=bot.id,
        user_id=user_id,
        response=text,
        language=bot.language,
        citations=[],
        suggestions=[],
        finish_reason="stop",
        usage=Usage(audio_seconds=sound.duration_ms / 1000 if sound else 0.0),
        latency=Latency(retrieval_ms=None, first_token_ms=None, first_audio_ms=None, total_ms=elapsed),
        degraded=["tts"] if voiced and line is None else [],
        created_at=ctx.deps.now(),
        audio=sound,
        lipsync=LipSync(cues=line.cues) if line and body.lipsync == "visemes" else None,
        emotion=line.emotion if line else rendering.NEUTRAL,
        gestures=line.gestures if line else [],
    )


def _greeting(bot: Bot, body: GreetRequest, *, returning: bool) -> str:
    utm = body.context.utm if body.context else {}
    fitting = (s.text for s in bot.salutes if s.fits(body.language or bot.language, utm, returning=returning))
    return next(fitting, bot.greeting)


async def _line(ctx: Ctx, text: str, voice: str, format: AudioFormat) -> Line | None:
    """The words as this voice speaks them, made when they are first asked for; None when it cannot."""
    deps, name = ctx.deps, digest(text, voice, format)
    async with deps.turnstile.alone("line", ctx.tenant, name):
        async with deps.database.view(ctx.tenant) as tx:
            kept = await store.line(tx, name)
        if kept is not None:
            line = Line.model_validate(kept)
            if await deps.media.renew(line.media_id):
                return line
        spoken = await deps.engine.say(text, voice, face=True)
        sound = await sound_file(ctx, spoken.speech, format)
        if sound is None or spoken.degraded:
            return None
        line = Line(
            media_id=sound.media_id,
            format=format,
            duration_ms=sound.duration_ms,
            cues=rendering.visemes(spoken.speech),
            emotion=rendering.emotion(spoken.cues),
            gestures=rendering.gestures(spoken.cues),
        )
        async with deps.database.uow(ctx.tenant) as tx:
            await store.keep_line(tx, name, line.model_dump(), now=deps.now())
            await tx.commit()
    return line


@chat_voice.post(
    "/transcribe", who="V,E,K", body=TranscribeRequest, returns=TranscriptRecord, upload=SPEECH, harmless=True
)
async def transcribe(ctx: Ctx, body: TranscribeRequest) -> TranscriptRecord:
    """What is said in a sound file. Nothing of it is kept."""
    pcm = await decoded(ctx)
    if pcm is None:
        raise MissingField("Send a form with audio.", fields=[Problem("audio", "MISSING_FIELD", "Field required")])
    try:
        heard = await ctx.deps.engine.transcribe(pcm, body.language)
    except NothingSaid:
        raise EmptyContent("No speech was heard in the audio.") from None
    except ProviderError as error:
        raise UpstreamError(error.public) from None
    return TranscriptRecord(
        text=heard.text,
        language=heard.language,
        confidence=heard.confidence,
        segments=[
            TranscriptSegment(
                start_ms=1000 * part.t0 // INPUT_RATE,
                end_ms=1000 * part.t1 // INPUT_RATE,
                text=heard.text[part.c0 : part.c1],
            )
            for part in heard.segments
        ],
        duration_ms=_ms(len(pcm) // 2),
    )


def _ms(samples: int) -> int:
    return 1000 * samples // INPUT_RATE


@chat_voice.post("/synthesize", who="E,K", body=SynthesisRequest, returns=Synthesis, errors=(404,), harmless=True)
async def synthesize(ctx: Ctx, body: SynthesisRequest) -> Synthesis:
    """Words as speech, in a chatbot's voice or another one."""
    engine = ctx.deps.engine
    if body.chatbot_id is not None:
        voice = engine.voice_of(await find_bot(ctx, body.chatbot_id, None))
    else:
        voice = body.voice_id or ""
        if voice not in {known.id for known in ctx.deps.choices.voices}:
            raise InvalidFormat("There is no such voice.", fields=[Problem("voice_id", "INVALID_FORMAT", "Unknown")])
    spoken = await engine.say(body.text, voice, face=body.lipsync == "visemes")
    sound = await sound_file(ctx, spoken.speech, body.format)
    if sound is None or spoken.degraded:
        raise UpstreamError("This voice does not answer just now. Please try again.", retry_after=5)
    return Synthesis(audio=sound, lipsync=_lips(spoken.speech) if body.lipsync == "visemes" else None)


def _lips(speech: Sequence[SpeechChunk]) -> LipSync:
    return LipSync(cues=rendering.visemes(speech))


@chat_voice.post("/sessions", who="V,E,K", body=CallRequest, returns=Call, status=201, errors=_ERRORS)
async def call(ctx: Ctx, body: CallRequest) -> Call:
    """Begin a conversation by voice over the websocket.

    Connect to the namespace with the token, and say `hello` with the `conversation_id`.
    """
    deps = ctx.deps
    bot = await find_bot(ctx, body.chatbot_id, "voice")
    user_id = named_user(ctx, body.user_id) or deps.ids.new("anonymous")
    talk = deps.conversations.begin(
        bot, user_id, "voice", language=body.language, visit=visit(body.context, body.language)
    )
    call_id = await deps.conversations.begin_call(talk)
    caller, lifetime = ctx.caller, LIFETIME
    if caller.kind == "visitor":
        lifetime = min(LIFETIME, max(0, caller.expires_at - deps.now() // 1000))
    origin = caller.origin or ctx.origin or deps.origin
    return Call(
        session_id=call_id,
        conversation_id=talk.id,
        token=deps.tokens.visitor(user_id, bot.organization_id, bot.id, origin, lifetime=lifetime),
        expires_in=lifetime,
        audio=CallAudio(microphone=PcmFormat(sample_rate=INPUT_RATE), speaker=PcmFormat(sample_rate=OUTPUT_RATE)),
    )


@chat_voice.delete("/sessions/{session_id}", who="V,E,K", returns=CallEnded, errors=(409,))
async def hang_up(ctx: Ctx) -> CallEnded:
    """End a voice session and its conversation; says how long a client was connected."""
    deps, caller = ctx.deps, ctx.caller
    found = await deps.conversations.call(ctx.tenant, ctx.path["session_id"])
    if found is None or not _own(found, caller.chatbot_id, caller.user_id if caller.kind == "visitor" else None):
        raise NotFound
    await deps.calls.hang_up(found.conversation_id)
    connected = await deps.conversations.end_call(ctx.tenant, found)
    if connected is None:
        raise Conflict("The session has ended.")
    return CallEnded(session_id=found.id, duration_ms=connected, billed_seconds=-(-connected // 1000))


def _own(found: CallRow, chatbot_id: str | None, user_id: str | None) -> bool:
    return user_id is None or (found.chatbot_id, found.user_id) == (chatbot_id, user_id)
