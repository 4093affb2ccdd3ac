"""What the history service asks: lists, changes, endings, and what of a conversation is to be deleted."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, false, func, or_, select

from api._kit.paging import PageQuery
from api._kit.store import Row, Transaction
from api._kit.values import milliseconds, rfc3339
from api.history.models import ConversationFilters, MessageQuery
from api.history.store import search
from api.history.store.tables import calls, conversations, messages

BATCH: Final = 500
"""Rows that are touched in one statement."""


async def find(tx: Transaction, conversation_id: str) -> Row | None:
    return await tx.one(tx.select(conversations).where(conversations.c.id == conversation_id))


async def find_message(tx: Transaction, message_id: str) -> Row | None:
    """The message, with the chatbot and the user that its conversation belongs to."""
    return await tx.one(
        tx.select(messages, *messages.c, conversations.c.chatbot_id, conversations.c.user_id)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .where(messages.c.id == message_id)
    )


def wanted(
    tx: Transaction,
    dialect: str,
    filters: ConversationFilters,
    *,
    chatbot_id: str | None = None,
    user_id: str | None = None,
) -> Select[Any]:
    """`chatbot_id` and `user_id` bind a visitor to what is the visitor's own."""
    statement = tx.select(conversations)
    for column, own in ((conversations.c.chatbot_id, chatbot_id), (conversations.c.user_id, user_id)):
        if own is not None:
            statement = statement.where(column == own)
    for column, values in (
        (conversations.c.chatbot_id, filters.chatbot_id),
        (conversations.c.user_id, filters.user_id),
        (conversations.c.status, filters.status),
        (conversations.c.language, filters.language),
        (conversations.c.rating, filters.rating),
        (conversations.c.assigned_to, filters.assigned_to),
    ):
        if values is not None:
            statement = statement.where(column.in_(values))
    if filters.tag is not None:
        statement = statement.where(or_(*(_tagged(dialect, tag) for tag in filters.tag)))
    if filters.has_feedback is not None:
        rated = conversations.c.rating.is_not(None)
        statement = statement.where(rated if filters.has_feedback else ~rated)
    if filters.search:
        said = search.matching(tx, dialect, filters.search, "conversation_id")
        statement = statement.where(false() if said is None else conversations.c.id.in_(said))
    if filters.created_after:
        statement = statement.where(conversations.c.created_at >= milliseconds(filters.created_after.timestamp()))
    if filters.created_before:
        statement = statement.where(conversations.c.created_at < milliseconds(filters.created_before.timestamp()))
    return statement


def _tagged(dialect: str, tag: str) -> Any:
    each = func.json_each if dialect == "sqlite" else func.json_array_elements_text
    found = each(conversations.c.tags).table_valued("value")
    return select(found.c.value).where(found.c.value == tag).exists()


async def page(tx: Transaction, statement: Select[Any], query: PageQuery) -> tuple[list[Row], int]:
    plain = query.model_copy(update={"search": None, "created_after": None, "created_before": None})
    return await tx.page(statement, plain, table=conversations)


async def count(tx: Transaction, statement: Select[Any]) -> int:
    return int(await tx.scalar(select(func.count()).select_from(statement.subquery())))


async def next_page(tx: Transaction, statement: Select[Any], *, after: str, limit: int) -> list[Row]:
    """The conversations that follow `after`, by id."""
    following = statement.where(conversations.c.id > after)
    return await tx.all(following.order_by(conversations.c.id).limit(limit))


async def page_of_messages(
    tx: Transaction, dialect: str, query: MessageQuery, conversation_id: str
) -> tuple[list[Row], int]:
    """In the order they were said; the cursors `after` and `before` are messages' ids. The page before a cursor is the
    one that ends there."""
    statement = tx.select(messages).where(messages.c.conversation_id == conversation_id)
    for cursor, after in ((query.after, True), (query.before, False)):
        if cursor is not None:
            place = (
                tx.select(messages, messages.c.position)
                .where(messages.c.id == cursor, messages.c.conversation_id == conversation_id)
                .scalar_subquery()
            )
            statement = statement.where(messages.c.position > place if after else messages.c.position < place)
    if query.search:
        said = search.matching(tx, dialect, query.search, "message_id")
        statement = statement.where(false() if said is None else messages.c.id.in_(said))
    backwards = query.before is not None and query.after is None and query.order == "asc"
    plain = query.model_copy(update={"search": None, "order": "desc" if backwards else query.order})
    rows, total = await tx.page(statement, plain, table=messages, by=messages.c.position)
    return rows[::-1] if backwards else rows, total


async def whole(tx: Transaction, conversation_id: str) -> list[Row]:
    """Every message of a conversation, in order."""
    said = tx.select(messages).where(messages.c.conversation_id == conversation_id)
    return await tx.all(said.order_by(messages.c.position))


async def change(tx: Transaction, conversation: Row, values: Mapping[str, Any], *, now: int) -> None:
    mine = conversations.c.id == conversation["id"]
    await tx.run(tx.update(conversations).where(mine).values(**values))
    tx.record("conversation.updated", {**_whose(conversation), "changed": sorted(values), "at": rfc3339(now)})


async def end(tx: Transaction, conversation: Row, *, reason: str, now: int, since: int | None = None) -> bool:
    """Once; False when it has ended already or, with `since`, when something was said after that."""
    mine = [conversations.c.id == conversation["id"], conversations.c.status != "ended"]
    if since is not None:
        mine.append(conversations.c.updated_at <= since)
    values = {"status": "ended", "ended_at": now, "end_reason": reason, "updated_at": now}
    if not await tx.run(tx.update(conversations).where(*mine).values(values)):
        return False
    tx.record(
        "conversation.ended",
        {
            "conversation_id": conversation["id"],
            "chatbot_id": conversation["chatbot_id"],
            "user_id": conversation["user_id"],
            "started_at": rfc3339(conversation["created_at"]),
            "ended_at": rfc3339(now),
            "end_reason": reason,
            "message_count": conversation["message_count"],
            "duration_seconds": (now - conversation["created_at"]) // 1000,
            "rating": conversation["rating"],
        },
    )
    return True


async def idle(tx: Transaction, *, before: int, after_id: str) -> list[Row]:
    """For the platform: open conversations of any organisation in which nothing was said since `before`, by id."""
    waiting = conversations.c.status == "open", conversations.c.updated_at <= before, conversations.c.id > after_id
    return await tx.all(select(conversations).where(*waiting).order_by(conversations.c.id).limit(BATCH))


async def delete(tx: Transaction, dialect: str, conversation: Row) -> Sequence[str]:
    """The conversation with its messages, calls and words; returns the ids of the media files that were its own."""
    mine = messages.c.conversation_id == conversation["id"]
    rows = await tx.all(tx.select(messages, messages.c.id, messages.c.audio).where(mine))
    ids = [row["id"] for row in rows]
    for start in range(0, len(ids), BATCH):
        await tx.run(search.dropping(tx, dialect, ids[start : start + BATCH]))
    await tx.run(tx.delete(messages).where(mine))
    await tx.run(tx.delete(calls).where(calls.c.conversation_id == conversation["id"]))
    await tx.run(tx.delete(conversations).where(conversations.c.id == conversation["id"]))
    tx.record("conversation.deleted", _whose(conversation))
    return [row["audio"]["media_id"] for row in rows if row["audio"]]


def _whose(conversation: Row) -> dict[str, Any]:
    return {"conversation_id": conversation["id"]} | {name: conversation[name] for name in ("chatbot_id", "user_id")}


async def rate(tx: Transaction, message: Row, rating: str, feedback: dict[str, Any]) -> None:
    """A message's rating is also its conversation's latest."""
    await tx.run(tx.update(messages).where(messages.c.id == message["id"]).values(rating=rating, feedback=feedback))
    talk = conversations.c.id == message["conversation_id"]
    await tx.run(tx.update(conversations).where(talk).values(rating=rating))


async def find_call(tx: Transaction, call_id: str) -> Row | None:
    return await tx.one(tx.select(calls).where(calls.c.id == call_id))


async def end_call(tx: Transaction, call_id: str, *, now: int) -> bool:
    """Once; False when it has ended."""
    mine = calls.c.id == call_id, calls.c.ended_at.is_(None)
    return bool(await tx.run(tx.update(calls).where(*mine).values(ended_at=now)))
