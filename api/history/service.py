"""Chat history: conversations and their messages. Visitors see their own."""

from typing import Any

from api._kit.endpoint import Ctx, Service
from api._kit.errors import Conflict, NotFound
from api._kit.paging import Page, pagination
from api._kit.store import Row, Transaction
from api.history import store
from api.history.models import (
    ConversationQuery,
    ConversationRecord,
    Ending,
    Feedback,
    FeedbackKept,
    MessageQuery,
    MessageRecord,
)

history = Service("history", 8014, "Chat History", "conversation history")


@history.get("/conversations", who="V,M,K", query=ConversationQuery, returns=Page[ConversationRecord])
async def conversations(ctx: Ctx, query: ConversationQuery) -> Page[ConversationRecord]:
    """List conversations."""
    caller = ctx.caller
    own = caller.user_id if caller.kind == "visitor" else None
    async with ctx.deps.database.view(ctx.tenant) as tx:
        rows, total = await store.page(tx, query, chatbot_id=caller.chatbot_id, user_id=own)
    data = [_conversation(row) for row in rows]
    return Page[ConversationRecord](data=data, pagination=pagination(query, total))


@history.get("/conversations/{conversation_id}", who="V,M,K", returns=ConversationRecord, etag=True)
async def conversation(ctx: Ctx) -> ConversationRecord:
    """One conversation."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        return _conversation(await _find(ctx, tx))


@history.get("/conversations/{conversation_id}/messages", who="V,M,K", query=MessageQuery, returns=Page[MessageRecord])
async def messages(ctx: Ctx, query: MessageQuery) -> Page[MessageRecord]:
    """The messages of a conversation, oldest first."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        found = await _find(ctx, tx)
        rows, total = await store.page_of_messages(tx, query, found["id"])
    return Page[MessageRecord](data=[_message(row) for row in rows], pagination=pagination(query, total))


@history.post(
    "/conversations/{conversation_id}/end", who="V,E,G,K", body=Ending, returns=ConversationRecord, errors=(409,)
)
async def end(ctx: Ctx, body: Ending) -> ConversationRecord:
    """End a conversation."""
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        found = await _find(ctx, tx)
        if found["status"] == "ended":
            raise Conflict("The conversation has ended.")
        reason = body.reason or ("visitor" if ctx.caller.kind == "visitor" else "member")
        await store.end(tx, found, reason=reason, now=ctx.deps.now())
        ended = _conversation(await _find(ctx, tx))
        await tx.commit()
    return ended


@history.post("/messages/{message_id}/feedback", who="V,M", body=Feedback, returns=FeedbackKept, status=201)
async def feedback(ctx: Ctx, body: Feedback) -> FeedbackKept:
    """Rate an answer. A second rating replaces the first."""
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        message = await store.find_message(tx, ctx.path["message_id"])
        if message is None or message["role"] == "user" or not _visible(ctx, message):
            raise NotFound
        await store.rate(tx, message, body.thumb, body.model_dump(exclude_none=True))
        tx.record("message.feedback", {"message_id": message["id"], "rating": body.thumb})
        await tx.commit()
    return FeedbackKept(message_id=message["id"], rating=body.thumb)


async def _find(ctx: Ctx, tx: Transaction) -> Row:
    row = await store.find(tx, ctx.path["conversation_id"])
    if row is None or not _visible(ctx, row):
        raise NotFound
    return row


def _visible(ctx: Ctx, row: Row) -> bool:
    """Members see what is their organisation's, a visitor what is the visitor's own with this chatbot."""
    caller = ctx.caller
    return caller.kind != "visitor" or (row["chatbot_id"], row["user_id"]) == (caller.chatbot_id, caller.user_id)


def _conversation(row: Row) -> ConversationRecord:
    values: dict[str, Any] = {name: row[name] for name in ConversationRecord.model_fields if name != "started_at"}
    return ConversationRecord(started_at=row["created_at"], **values)


def _message(row: Row) -> MessageRecord:
    cut = row["heard"] is not None and row["heard"] != row["content"]
    return MessageRecord(
        id=row["id"],
        conversation_id=row["conversation_id"],
        role=row["role"],
        content=row["heard"] if cut else row["content"],
        spoken=row["spoken"],
        interrupted=cut,
        finish_reason=row["finish_reason"],
        rating=row["rating"],
        created_at=row["created_at"],
    )
