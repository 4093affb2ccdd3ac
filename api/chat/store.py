"""Answers kept for a day, so that a message that is sent again gets the same one; and lines, as they were spoken."""

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, String, Table

from api._kit.store import Transaction, metadata

KEPT_MS: Final = 24 * 3_600_000

replies = Table(
    "chat_replies",
    metadata,
    Column("chatbot_id", String(64), primary_key=True),
    Column("sender", String(140), primary_key=True),
    Column("client_message_id", String(128), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("conversation_id", String(64), ForeignKey("conversations.id", ondelete="CASCADE"), index=True),
    Column("body", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)
lines = Table(
    "spoken_lines",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), primary_key=True),
    Column("body", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)
"""Lines that are said again and again, such as greetings, as they were spoken."""


async def kept(tx: Transaction, chatbot_id: str, sender: str, client_message_id: str, *, now: int) -> Any | None:
    """The answer that this message got within the last day."""
    return await tx.scalar(
        tx.select(replies, replies.c.body).where(
            replies.c.chatbot_id == chatbot_id,
            replies.c.sender == sender,
            replies.c.client_message_id == client_message_id,
            replies.c.created_at >= now - KEPT_MS,
        )
    )


async def keep(
    tx: Transaction, chatbot_id: str, sender: str, client_message_id: str, body: dict[str, Any], *, now: int
) -> None:
    """Keep an answer, and forget those that are a day old."""
    await tx.run(tx.delete(replies).where(replies.c.created_at < now - KEPT_MS))
    await tx.try_insert(
        tx.insert(
            replies,
            chatbot_id=chatbot_id,
            sender=sender,
            client_message_id=client_message_id,
            conversation_id=body["conversation_id"],
            body=body,
            created_at=now,
        )
    )


async def line(tx: Transaction, line_id: str) -> Any | None:
    """A line as it was spoken before."""
    return await tx.scalar(tx.select(lines, lines.c.body).where(lines.c.id == line_id))


async def keep_line(tx: Transaction, line_id: str, body: dict[str, Any], *, now: int) -> None:
    """Keep a line in place of what was kept before, and forget those that are a day old."""
    await tx.run(tx.delete(lines).where((lines.c.id == line_id) | (lines.c.created_at < now - KEPT_MS)))
    await tx.try_insert(tx.insert(lines, id=line_id, body=body, created_at=now))
