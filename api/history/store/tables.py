"""The tables of conversations and messages, and of the calls and lines that were spoken."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from api._kit.store import metadata

TITLE: Final = 80
"""Characters of a title that was made from the first message."""

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
    Column("note", Text),
    Column("page_url", String(2048)),
    Column("page_title", String(300)),
    Column("utm", JSON, nullable=False),
    Column("custom", JSON),
    Index("ix_conversations_organization_id_created_at", "organization_id", "created_at"),
    Index("ix_conversations_chatbot_id_user_id", "chatbot_id", "user_id", "updated_at"),
    Index("ix_conversations_status_updated_at", "status", "updated_at"),
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
    Column("citations", JSON),
    Column("audio", JSON),
    Column("rating", String(10)),
    Column("feedback", JSON),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("conversation_id", "position"),
    UniqueConstraint("conversation_id", "client_id"),
)
calls = Table(
    "calls",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("conversation_id", String(64), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("chatbot_id", String(64), nullable=False),
    Column("user_id", String(128), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("connected_ms", BigInteger, nullable=False),
    Index("ix_calls_conversation_id", "conversation_id"),
)
"""Voice sessions that were opened by request; `connected_ms` is how long sockets were attached to them."""
