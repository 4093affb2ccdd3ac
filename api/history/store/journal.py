"""The journal: where conversations are kept while they go on.

A conversation's row is written with its first user message, or with its first call.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from sqlalchemy import Select, Update, bindparam, select, update

from api._kit.ports import Bot, CallRow, Clock, Conversation, Ids, Modality, UnknownConversation
from api._kit.store import Database, Transaction, Write
from api._kit.values import milliseconds, rfc3339
from api.history.store import queries, search
from api.history.store.tables import TITLE, calls, conversations, messages
from pipelines.frames import Citation
from pipelines.ports import NOWHERE, FinishReason, Recorded, Replied, Visit
from pipelines.providers.base import ChatMessage

RESUMED_MS: Final = 24 * 3_600_000
"""How old an open conversation may be for its user to go on with it unasked."""


def _advance(statement: Update) -> Any:
    own = conversations.c.organization_id == bindparam("organization")
    counted = {"message_count": conversations.c.message_count + 1, "updated_at": bindparam("now")}
    return (
        statement.where(own, conversations.c.id == bindparam("conversation"))
        .values(counted)
        .returning(conversations.c.message_count)
    )


_ASK: Final = _advance(update(conversations).where(conversations.c.status != "ended"))
_ANSWER: Final = _advance(update(conversations))
"""What a conversation was asked before it ended is answered."""
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
        visit: Visit = NOWHERE,
    ) -> Conversation:
        """The named conversation, else the user's newest open one, else a new one that is not yet written."""
        if conversation_id is not None:
            return replace(await self.resume(bot, user_id, conversation_id), visit=visit)
        if newest := await self.newest(bot, user_id):
            return replace(await self.resume(bot, user_id, newest), visit=visit)
        return self.begin(bot, user_id, channel, language=language, visit=visit)

    def begin(
        self, bot: Bot, user_id: str, channel: Modality, *, language: str | None = None, visit: Visit = NOWHERE
    ) -> Conversation:
        """A new conversation, which is not yet written."""
        return Conversation(
            self._ids.new("conv"), bot.organization_id, bot.id, user_id, channel, language or bot.language, visit
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
        talk = Conversation(row["id"], bot.organization_id, bot.id, user_id, row["channel"], row["language"])
        return replace(talk, kept=True)

    async def user_message(
        self, conversation: Conversation, text: str, *, client_id: str | None = None, spoken: bool = False
    ) -> Recorded:
        """Creates the conversation with its first message. Raises UnknownConversation when it has ended or was
        deleted."""
        values = {"role": "user", "content": text, "spoken": spoken, "client_id": client_id}
        message_id, now = self._ids.new("msg"), milliseconds(self._clock.now())

        def work(tx: Write) -> Recorded:
            if client_id is not None and (known := _known(tx, conversation, client_id)):
                later = tx.ask(_ANSWERED, conversation=conversation.id, message=known)
                return Recorded(known, duplicate=True, answered=later is not None)
            self._append(tx, conversation, message_id, values, now=now)
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
        spoken: bool = False,
        latency_ms: dict[str, float] | None = None,
        citations: Sequence[Citation] = (),
    ) -> None:
        """Keeps the reply. Raises UnknownConversation when the conversation was deleted."""
        values = {
            "role": "assistant",
            "content": text,
            "heard": heard,
            "spoken": spoken,
            "finish_reason": finish_reason,
            "latency": latency_ms,
            "citations": [_citation(citation) for citation in citations] or None,
        }
        now = milliseconds(self._clock.now())

        def work(tx: Write) -> None:
            self._append(tx, conversation, message_id, values, now=now)

        await self._database.write(conversation.organization_id, work)

    async def begin_call(self, conversation: Conversation) -> str:
        """A voice session of this conversation, which begins with it if it is new; returns the session's id."""
        call_id, now = self._ids.new("call"), milliseconds(self._clock.now())

        def work(tx: Write) -> None:
            _create(tx, conversation, title="", now=now)
            values = {"chatbot_id": conversation.chatbot_id, "user_id": conversation.user_id}
            tx.add(calls, id=call_id, conversation_id=conversation.id, created_at=now, connected_ms=0, **values)

        await self._database.write(conversation.organization_id, work)
        return call_id

    async def call(self, organization_id: str, call_id: str) -> CallRow | None:
        async with self._database.view(organization_id) as tx:
            row = await tx.one(tx.select(calls).where(calls.c.id == call_id))
        return CallRow(**{name: row[name] for name in CallRow.__slots__}) if row else None

    async def end_call(self, organization_id: str, call: CallRow) -> int | None:
        """Ends a voice session and its conversation; for how many milliseconds a client was connected, None when it
        has ended before."""
        now = milliseconds(self._clock.now())
        async with self._database.uow(organization_id) as tx:
            if not await queries.end_call(tx, call.id, now=now):
                return None
            row = await queries.find_call(tx, call.id)
            talk = await queries.find(tx, call.conversation_id)
            if talk is not None:
                await queries.end(tx, talk, reason="hung_up", now=now)
            await tx.commit()
        return int(row["connected_ms"]) if row else 0

    async def connected(self, conversation: Conversation, milliseconds: int) -> None:
        """For so long a client was connected to the conversation's open voice sessions, if it has any."""
        more = {"connected_ms": calls.c.connected_ms + milliseconds}
        mine = calls.c.conversation_id == conversation.id, calls.c.ended_at.is_(None)
        await self._database.write(
            conversation.organization_id, lambda tx: tx.run(tx.update(calls).where(*mine).values(more))
        )

    async def cut(self, conversation: Conversation, message_id: str, heard: str) -> None:
        """Of a reply that was kept whole, the listener has heard only so much."""
        mine = messages.c.id == message_id, messages.c.conversation_id == conversation.id
        values = {"heard": heard, "finish_reason": "cancelled"}
        await self._database.write(
            conversation.organization_id, lambda tx: tx.run(tx.update(messages).where(*mine).values(values))
        )

    async def sounded(self, conversation: Conversation, message_id: str, audio: dict[str, Any]) -> None:
        """The reply has a sound file: `media_id`, `format`, `sample_rate` and `duration_ms`."""
        mine = messages.c.id == message_id, messages.c.conversation_id == conversation.id
        await self._database.write(
            conversation.organization_id, lambda tx: tx.run(tx.update(messages).where(*mine).values(audio=audio))
        )

    async def reply_to(self, conversation: Conversation, message_id: str) -> Replied | None:
        """The reply that follows this message."""
        async with self._database.view(conversation.organization_id) as tx:
            asked = tx.select(messages, messages.c.position).where(messages.c.id == message_id).scalar_subquery()
            row = await tx.one(
                tx.select(messages)
                .where(messages.c.conversation_id == conversation.id, messages.c.position > asked)
                .order_by(messages.c.position)
                .limit(1)
            )
        if row is None or row["role"] != "assistant":
            return None
        text = row["content"] if row["heard"] is None else row["heard"]
        citations = tuple(Citation(0, **citation) for citation in row["citations"] or ())
        return Replied(row["id"], text, row["finish_reason"], citations)

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

    def _append(
        self, tx: Write, conversation: Conversation, message_id: str, values: dict[str, Any], *, now: int
    ) -> None:
        place = _place(tx, conversation, values, now=now)
        tx.add(messages, id=message_id, conversation_id=conversation.id, position=place, created_at=now, **values)
        dialect = self._database.dialect
        tx.add(search.INDEX[dialect], **search.row(dialect, conversation.id, message_id, values["content"]))
        tx.record(
            "message.created",
            {"message_id": message_id, "conversation_id": conversation.id, "role": values["role"]},
        )


def _place(tx: Write, conversation: Conversation, values: dict[str, Any], *, now: int) -> int:
    """The next message's place. Locks the conversation's row until the transaction ends."""
    asks = values["role"] == "user"
    advance = _ASK if asks else _ANSWER
    place = tx.ask(advance, conversation=conversation.id, now=now)
    if place is None and asks and not conversation.kept:
        _create(tx, conversation, title=values["content"], now=now)
        place = tx.ask(advance, conversation=conversation.id, now=now)
    if place is None:
        raise UnknownConversation(conversation.id)
    return int(place)


def _create(tx: Write, conversation: Conversation, *, title: str, now: int) -> None:
    """The conversation's row, if there is none."""
    visit = conversation.visit
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
        page_url=visit.page_url or None,
        page_title=visit.page_title or None,
        utm=dict(visit.utm),
        custom=dict(visit.custom) or None,
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


def _citation(citation: Citation) -> dict[str, Any]:
    return {name: value for name, value in asdict(citation).items() if name != "turn"}


def _open(tx: Transaction, bot: Bot) -> Select[Any]:
    return tx.select(conversations).where(conversations.c.chatbot_id == bot.id, conversations.c.status != "ended")


def _own(tx: Transaction, bot: Bot, user_id: str) -> Select[Any]:
    return _open(tx, bot).where(conversations.c.user_id == user_id)


def _known(tx: Write, conversation: Conversation, client_id: str) -> str | None:
    return tx.ask(_KNOWN, conversation=conversation.id, client=client_id)  # type: ignore[no-any-return]
