"""Chat history: conversations and their messages. Visitors see their own."""

from typing import Any, Final

from api._kit.endpoint import Ctx, Service
from api._kit.errors import Conflict, InvalidFormat, NotFound
from api._kit.http import etag_of
from api._kit.jobs import Job
from api._kit.paging import Page, pagination
from api._kit.store import Row, Transaction, find_job
from api.history.models import (
    ConversationPatch,
    ConversationQuery,
    ConversationRecord,
    Deleted,
    Ending,
    ExportRequest,
    Feedback,
    FeedbackKept,
    MessageQuery,
    MessageRecord,
    SoundRecord,
)
from api.history.store import queries

history = Service("history", 8014, "Chat History", "conversation history")

EXPORT: Final = "history.export"
"""The job that writes an export's file."""
SOUND_MS: Final = 24 * 3_600_000
"""How long the sound of an answer is kept."""
TIDY: Final = "history.tidy"
"""The job that removes deleted words from the database's files."""


@history.get("/conversations", who="V,M,K", query=ConversationQuery, returns=Page[ConversationRecord])
async def conversations(ctx: Ctx, query: ConversationQuery) -> Page[ConversationRecord]:
    """List conversations.

    `search` finds conversations of which one message has all the words, or words that begin so.
    """
    caller = ctx.caller
    own = caller.user_id if caller.kind == "visitor" else None
    async with ctx.deps.database.view(ctx.tenant) as tx:
        found = queries.wanted(tx, ctx.deps.database.dialect, query, chatbot_id=caller.chatbot_id, user_id=own)
        rows, total = await queries.page(tx, found, query)
    data = [_conversation(ctx, row) for row in rows]
    return Page[ConversationRecord](data=data, pagination=pagination(query, total))


@history.get("/conversations/{conversation_id}", who="V,M,K", returns=ConversationRecord, etag=True)
async def conversation(ctx: Ctx) -> ConversationRecord:
    """One conversation."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        return _conversation(ctx, await _find(ctx, tx))


@history.get("/conversations/{conversation_id}/messages", who="V,M,K", query=MessageQuery, returns=Page[MessageRecord])
async def messages(ctx: Ctx, query: MessageQuery) -> Page[MessageRecord]:
    """The messages of a conversation, oldest first.

    `after` and `before` are ids of messages: what follows one of them, or the page that ends before it.
    """
    async with ctx.deps.database.view(ctx.tenant) as tx:
        found = await _find(ctx, tx)
        rows, total = await queries.page_of_messages(tx, ctx.deps.database.dialect, query, found["id"])
    data = [_message(ctx, row, query) for row in rows]
    return Page[MessageRecord](data=data, pagination=pagination(query, total))


@history.patch(
    "/conversations/{conversation_id}", who="E,G", body=ConversationPatch, returns=ConversationRecord, etag=True
)
async def change(ctx: Ctx, body: ConversationPatch) -> ConversationRecord:
    """Note a title, tags, who sees to it, or a remark. What is not given stays as it is."""
    values = body.model_dump(exclude_unset=True)
    if "tags" in values:
        values["tags"] = list(dict.fromkeys(values["tags"] or []))
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        before = await _find(ctx, tx)
        ctx.expect(etag_of(_conversation(ctx, before)))
        assigned = values.get("assigned_to")
        if assigned is not None and await ctx.deps.accounts.by_id(assigned, ctx.tenant) is None:
            raise InvalidFormat("assigned_to is no member of this organisation.")
        values = {name: value for name, value in values.items() if before[name] != value}
        if not values:
            return _conversation(ctx, before)
        await queries.change(tx, before, values, now=ctx.deps.now())
        after = _conversation(ctx, await _find(ctx, tx))
        await tx.commit()
    return after


@history.post(
    "/conversations/{conversation_id}/end", who="V,E,G,K", body=Ending, returns=ConversationRecord, errors=(409,)
)
async def end(ctx: Ctx, body: Ending) -> ConversationRecord:
    """End a conversation."""
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        found = await _find(ctx, tx)
        reason = body.reason or ("visitor" if ctx.caller.kind == "visitor" else "member")
        if not await queries.end(tx, found, reason=reason, now=ctx.deps.now()):
            raise Conflict("The conversation has ended.")
        ended = _conversation(ctx, await _find(ctx, tx))
        await tx.commit()
    return ended


@history.delete("/conversations/{conversation_id}", who="A", returns=Deleted)
async def delete(ctx: Ctx) -> Deleted:
    """Delete a conversation for good: its messages, its sound, what finds them, and answers kept for repetitions.

    Files that were exported before live a day at most, like the links to them.
    """
    deps = ctx.deps
    async with deps.database.uow(ctx.tenant) as tx:
        found = await _find(ctx, tx)
        deps.streams.forget(found["id"])
        files = await queries.delete(tx, deps.database.dialect, found)
        await tx.enqueue(TIDY, {"media": list(files)})
        await tx.commit()
    for media_id in files:
        await deps.media.delete(media_id)
    return Deleted(id=found["id"])


@history.post("/messages/{message_id}/feedback", who="V,M", body=Feedback, returns=FeedbackKept, status=201)
async def feedback(ctx: Ctx, body: Feedback) -> FeedbackKept:
    """Rate an answer. A second rating replaces the first."""
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        message = await queries.find_message(tx, ctx.path["message_id"])
        if message is None or message["role"] == "user" or not _visible(ctx, message):
            raise NotFound
        await queries.rate(tx, message, body.thumb, body.model_dump(exclude_none=True))
        told = {name: message[name] for name in ("conversation_id", "chatbot_id", "user_id")}
        tx.record("message.feedback", {"message_id": message["id"], "rating": body.thumb, **told})
        await tx.commit()
    return FeedbackKept(message_id=message["id"], rating=body.thumb)


@history.post("/export", who="A,K", body=ExportRequest, returns=Job, status=201)
async def export(ctx: Ctx, body: ExportRequest) -> Job:
    """Export conversations as a file: one line, or row, for each message.

    Ask `GET /maintenance/jobs/{id}`: the result has the `url`, which opens for a day.
    """
    payload = body.model_dump(mode="json", exclude_none=True)
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        job_id = await tx.enqueue(EXPORT, payload, request_id=ctx.request_id)
        row = await find_job(tx, job_id)
        assert row is not None
        await tx.commit()
    return Job.of(row)


async def _find(ctx: Ctx, tx: Transaction) -> Row:
    row = await queries.find(tx, ctx.path["conversation_id"])
    if row is None or not _visible(ctx, row):
        raise NotFound
    return row


def _visible(ctx: Ctx, row: Row) -> bool:
    """Members see what is their organisation's, a visitor what is the visitor's own with this chatbot."""
    caller = ctx.caller
    return caller.kind != "visitor" or (row["chatbot_id"], row["user_id"]) == (caller.chatbot_id, caller.user_id)


def _conversation(ctx: Ctx, row: Row) -> ConversationRecord:
    values: dict[str, Any] = {name: row[name] for name in ConversationRecord.model_fields if name != "started_at"}
    if ctx.caller.kind == "visitor":
        values["note"] = None
    return ConversationRecord(started_at=row["created_at"], **values)


def _message(ctx: Ctx, row: Row, query: MessageQuery) -> MessageRecord:
    return MessageRecord(
        id=row["id"],
        conversation_id=row["conversation_id"],
        role=row["role"],
        content=said(row),
        spoken=row["spoken"],
        interrupted=said(row) != row["content"],
        finish_reason=row["finish_reason"],
        rating=row["rating"],
        created_at=row["created_at"],
        citations=row["citations"] or [] if "citations" in query.include else None,
        audio=_sound(ctx, row) if "audio" in query.include else None,
    )


def _sound(ctx: Ctx, row: Row) -> SoundRecord | None:
    kept = row["audio"]
    if not kept or row["created_at"] <= ctx.deps.now() - SOUND_MS:
        return None
    url = f"{ctx.deps.origin}{ctx.deps.media.url(kept['media_id'])}"
    return SoundRecord(url=url, **{name: kept[name] for name in ("format", "sample_rate", "duration_ms")})


def said(row: Row) -> str:
    """Of an interrupted reply, what was heard."""
    return str(row["content"] if row["heard"] is None else row["heard"])
