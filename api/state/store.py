"""What was skipped while a chatbot was set up, and what conversations showed when they ended."""

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Integer, String, Table

from api._kit.store import Row, Transaction, metadata

setups = Table(
    "state_setups",
    metadata,
    Column("chatbot_id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("skipped", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
sessions = Table(
    "state_sessions",
    metadata,
    Column("conversation_id", String(64), ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("chatbot_id", String(64), nullable=False),
    Column("user_id", String(128), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("shown", JSON, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
KEPT_MS: Final = 30 * 24 * 3_600_000
"""How long what a conversation showed at its end is kept; with the conversation it goes at once."""


async def find_setup(tx: Transaction, chatbot_id: str) -> Row:
    """What was noted of setting the chatbot up; revision 0 when nothing was."""
    found = await tx.one(tx.select(setups).where(setups.c.chatbot_id == chatbot_id))
    return found or {"chatbot_id": chatbot_id, "skipped": [], "revision": 0, "updated_at": 0}


async def keep_setup(tx: Transaction, setup: Row, *, skipped: list[str], now: int) -> None:
    """The next revision. The caller has locked the chatbot."""
    values: dict[str, Any] = {"skipped": skipped, "revision": setup["revision"] + 1, "updated_at": now}
    if setup["revision"]:
        await tx.run(tx.update(setups).where(setups.c.chatbot_id == setup["chatbot_id"]).values(**values))
    else:
        await tx.run(tx.insert(setups, chatbot_id=setup["chatbot_id"], **values))


async def find_session(tx: Transaction, conversation_id: str) -> Row | None:
    """What a conversation showed when it ended."""
    return await tx.one(tx.select(sessions).where(sessions.c.conversation_id == conversation_id))


async def keep_session(tx: Transaction, conversation_id: str, values: dict[str, Any]) -> None:
    """Nothing is kept of a conversation that is gone."""
    await tx.run(tx.delete(sessions).where(sessions.c.conversation_id == conversation_id))
    await tx.try_insert(tx.insert(sessions, conversation_id=conversation_id, **values))
