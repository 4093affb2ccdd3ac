"""Conversations and messages. A conversation's row is written with its first user message."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    select,
    update,
)

from api._kit.ports import Bot, Clock, Conversation, Ids, Modality, UnknownConversation
from api._kit.store import Database, Row, Transaction, Write, metadata
from api._kit.values import milliseconds, rfc3339
from api.history.models import ConversationQuery, MessageQuery
from pipelines.ports import FinishReason, Recorded
from pipelines.providers.base import ChatMessage

RESUMED_MS: Final = 24 * 3_600_000
"""How old an open conversation may be for its user to go on with it unasked."""
TITLE: Final = 80

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("chatbot_id", String(64), nullable=False),
    Column("user_id", String(128), nullable=False),
    Column("channel", String(10), nullable=False),
    Column("status", String(10), nullable=False),
    Column("title", String(TITLE)),
    Column("language", String(35), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("end_reason", String(200)),
    Column("message_count", Integer, nullable=False),
    Column("rating", String(10)),
    Column("tags", JSON, nullable=False),
    Column("assigned_to", String(64)),
    Column("summary", Text),
    Column("page_url", String(2048)),
    Column("utm", JSON, nullable=False),
    Index("ix_conversations_organization_id_created_at", "organization_id", "created_at"),
    Index("ix_conversations_chatbot_id_user_id", "chatbot_id", "user_id", "updated_at"),
)
messages = Table(
    "messages",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("conversation_id", String(64), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("client_id", String(128)),
    Column("role", String(10), nullable=False),
    Column("content", Text, nullable=False),
    Column("heard", Text),
    Column("spoken", Boolean, nullable=False),
    Column("finish_reason", String(10)),
    Column("latency", JSON),
    Column("rating", String(10)),
    Column("feedback", JSON),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("conversation_id", "position"),
    UniqueConstraint("conversation_id", "client_id"),
)


_ADVANCE: Final = (
    update(conversations)
    .where(
        conversations.c.organization_id == bindparam("organization"), conversations.c.id == bindparam("conversation")
    )
    .values(message_count=conversations.c.message_count + 1, updated_at=bindparam("now"))
    .returning(conversations.c.message_count)
)
_KNOWN: Final = select(messages.c.id).where(
    messages.c.organization_id == bindparam("organization"),
    messages.c.conversation_id == bindparam("conversation"),
    messages.c.client_id == bindparam("client"),
)
_asked: Final = messages.alias()
_ANSWERED: Final = (
    select(messages.c.id)
    .join(_asked, _asked.c.conversation_id == messages.c.conversation_id)
    .where(
        messages.c.organization_id == bindparam("organization"),
        messages.c.conversation_id == bindparam("conversation"),
        messages.c.role != "user",
        _asked.c.id == bindparam("message"),
        messages.c.position > _asked.c.position,
    )
    .limit(1)
)


async def find(tx: Transaction, conversation_id: str) -> Row | None:
    return await tx.one(tx.select(conversations).where(conversations.c.id == conversation_id))


async def find_message(tx: Transaction, message_id: str) -> Row | None:
    """The message, with the chatbot and the user that its conversation belongs to."""
    return await tx.one(
        tx.select(messages, *messages.c, conversations.c.chatbot_id, conversations.c.user_id)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .where(messages.c.id == message_id)
    )


async def page(
    tx: Transaction, query: ConversationQuery, *, chatbot_id: str | None, user_id: str | None
) -> tuple[list[Row], int]:
    """`chatbot_id` and `user_id` bind a visitor to what is the visitor's own."""
    statement = tx.select(conversations)
    for column, own in ((conversations.c.chatbot_id, chatbot_id), (conversations.c.user_id, user_id)):
        if own is not None:
            statement = statement.where(column == own)
    for column, wanted in (
        (conversations.c.chatbot_id, query.chatbot_id),
        (conversations.c.user_id, query.user_id),
        (conversations.c.status, query.status),
        (conversations.c.language, query.language),
        (conversations.c.rating, query.rating),
    ):
        if wanted is not None:
            statement = statement.where(column.in_(wanted))
    if query.search:
        said = tx.select(messages, messages.c.conversation_id).where(
            messages.c.content.icontains(query.search, autoescape=True)
        )
        statement = statement.where(conversations.c.id.in_(said))
        query = query.model_copy(update={"search": None})
    return await tx.page(statement, query, table=conversations)


async def page_of_messages(tx: Transaction, query: MessageQuery, conversation_id: str) -> tuple[list[Row], int]:
    """In the order they were said; the cursors `after` and `before` are messages' ids."""
    statement = tx.select(messages).where(messages.c.conversation_id == conversation_id)
    for cursor, after in ((query.after, True), (query.before, False)):
        if cursor is not None:
            place = (
                tx.select(messages, messages.c.position)
                .where(messages.c.id == cursor, messages.c.conversation_id == conversation_id)
                .scalar_subquery()
            )
            statement = statement.where(messages.c.position > place if after else messages.c.position < place)
    return await tx.page(statement, query, table=messages, search=(messages.c.content,), by=messages.c.position)


async def end(tx: Transaction, conversation: Row, *, reason: str, now: int) -> None:
    await tx.run(
        tx.update(conversations)
        .where(conversations.c.id == conversation["id"])
        .values(status="ended", ended_at=now, end_reason=reason, updated_at=now)
    )
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


async def rate(tx: Transaction, message: Row, rating: str, feedback: dict[str, Any]) -> None:
    """A message's rating is also its conversation's latest."""
    await tx.run(tx.update(messages).where(messages.c.id == message["id"]).values(rating=rating, feedback=feedback))
    talk = conversations.c.id == message["conversation_id"]
    await tx.run(tx.update(conversations).where(talk).values(rating=rating))


class Journal:
    """Where conversations are kept while they go on.

    Every method returns only after the commit, and raises JournalUnavailable when the database does not answer.
    """

    def __init__(self, database: Database, *, clock: Clock, ids: Ids) -> None:
        self._database, self._clock, self._ids = database, clock, ids

    async def open(
        self,
        bot: Bot,
        user_id: str,
        channel: Modality,
        *,
        conversation_id: str | None = None,
        language: str | None = None,
    ) -> Conversation:
        """The named conversation, else the user's newest open one, else a new one that is not yet written."""
        if conversation_id is not None:
            return await self.resume(bot, user_id, conversation_id)
        if newest := await self.newest(bot, user_id):
            return await self.resume(bot, user_id, newest)
        return Conversation(
            self._ids.new("conv"), bot.organization_id, bot.id, user_id, channel, language or bot.language
        )

    async def newest(self, bot: Bot, user_id: str) -> str | None:
        """The id of the user's open conversation of the last 24 hours."""
        since = milliseconds(self._clock.now()) - RESUMED_MS
        async with self._database.view(bot.organization_id) as tx:
            found = await tx.scalar(
                _own(tx, bot, user_id)
                .with_only_columns(conversations.c.id)
                .where(conversations.c.updated_at >= since)
                .order_by(conversations.c.updated_at.desc(), conversations.c.id.desc())
                .limit(1)
            )
        return None if found is None else str(found)

    async def user_of(self, bot: Bot, conversation_id: str) -> str | None:
        """The end user whose open conversation with this bot this is."""
        async with self._database.view(bot.organization_id) as tx:
            found = await tx.scalar(
                _open(tx, bot).with_only_columns(conversations.c.user_id).where(conversations.c.id == conversation_id)
            )
        return None if found is None else str(found)

    async def resume(self, bot: Bot, user_id: str, conversation_id: str) -> Conversation:
        """The user's open conversation with this id. Raises UnknownConversation."""
        async with self._database.view(bot.organization_id) as tx:
            row = await tx.one(_own(tx, bot, user_id).where(conversations.c.id == conversation_id))
        if row is None:
            raise UnknownConversation(conversation_id)
        return Conversation(row["id"], bot.organization_id, bot.id, user_id, row["channel"], row["language"])

    async def user_message(
        self, conversation: Conversation, text: str, *, client_id: str | None = None, spoken: bool = False
    ) -> Recorded:
        """Creates the conversation with its first message."""
        values = {"role": "user", "content": text, "spoken": spoken, "client_id": client_id}
        message_id, now = self._ids.new("msg"), milliseconds(self._clock.now())

        def work(tx: Write) -> Recorded:
            if client_id is not None and (known := _known(tx, conversation, client_id)):
                later = tx.ask(_ANSWERED, conversation=conversation.id, message=known)
                return Recorded(known, duplicate=True, answered=later is not None)
            _append(tx, conversation, message_id, values, now=now)
            return Recorded(message_id, duplicate=False)

        return await self._database.write(conversation.organization_id, work)

    async def assistant_message(
        self,
        conversation: Conversation,
        message_id: str,
        text: str,
        *,
        finish_reason: FinishReason,
        heard: str | None = None,
        latency_ms: dict[str, float] | None = None,
    ) -> None:
        """Keeps the reply."""
        values = {
            "role": "assistant",
            "content": text,
            "heard": heard,
            "spoken": heard is not None,
            "finish_reason": finish_reason,
            "latency": latency_ms,
        }
        now = milliseconds(self._clock.now())

        def work(tx: Write) -> None:
            _append(tx, conversation, message_id, values, now=now)

        await self._database.write(conversation.organization_id, work)

    async def recent(self, conversation: Conversation, limit: int) -> Sequence[ChatMessage]:
        """The last `limit` messages, oldest first; an interrupted reply counts as what was heard of it."""
        async with self._database.view(conversation.organization_id) as tx:
            rows = await tx.all(
                tx.select(messages)
                .where(messages.c.conversation_id == conversation.id, messages.c.role.in_(("user", "assistant")))
                .order_by(messages.c.position.desc())
                .limit(limit)
            )
        said = [(row["role"], row["content"] if row["heard"] is None else row["heard"]) for row in reversed(rows)]
        return [ChatMessage(role, content) for role, content in said if content]


def _append(tx: Write, conversation: Conversation, message_id: str, values: dict[str, Any], *, now: int) -> None:
    place = _place(tx, conversation, title=values["content"], now=now)
    tx.add(messages, id=message_id, conversation_id=conversation.id, position=place, created_at=now, **values)
    tx.record(
        "message.created",
        {"message_id": message_id, "conversation_id": conversation.id, "role": values["role"]},
    )


def _place(tx: Write, conversation: Conversation, *, title: str, now: int) -> int:
    """The next message's place. Locks the conversation's row until the transaction ends."""
    if (place := tx.ask(_ADVANCE, conversation=conversation.id, now=now)) is not None:
        return int(place)
    first = tx.insert(
        conversations,
        id=conversation.id,
        chatbot_id=conversation.chatbot_id,
        user_id=conversation.user_id,
        channel=conversation.channel,
        status="open",
        title=" ".join(title.split())[:TITLE] or None,
        language=conversation.language,
        created_at=now,
        updated_at=now,
        message_count=0,
        tags=[],
        utm={},
    )
    if tx.try_insert(first):
        tx.record(
            "conversation.started",
            {
                "conversation_id": conversation.id,
                "chatbot_id": conversation.chatbot_id,
                "user_id": conversation.user_id,
                "started_at": rfc3339(now),
            },
        )
    return int(tx.ask(_ADVANCE, conversation=conversation.id, now=now))


def _open(tx: Transaction, bot: Bot) -> Select[Any]:
    return tx.select(conversations).where(conversations.c.chatbot_id == bot.id, conversations.c.status != "ended")


def _own(tx: Transaction, bot: Bot, user_id: str) -> Select[Any]:
    return _open(tx, bot).where(conversations.c.user_id == user_id)


def _known(tx: Write, conversation: Conversation, client_id: str) -> str | None:
    return tx.ask(_KNOWN, conversation=conversation.id, client=client_id)  # type: ignore[no-any-return]
