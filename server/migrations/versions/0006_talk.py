"""What is kept of talks."""

import hashlib
import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BATCH = 500
LONGEST = 60
"""Characters of a word that count."""
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")
INSERT = {
    "sqlite": "INSERT INTO message_words (rowid, words, organization_id, conversation_id, message_id) "
    "VALUES (:number, :words, :organization, :conversation, :id)",
    "postgresql": "INSERT INTO message_words (words, organization_id, conversation_id, message_id) "
    "VALUES (array_to_tsvector(string_to_array(:words, ' ')), :organization, :conversation, :id)",
}


def upgrade() -> None:
    with op.batch_alter_table("chat_replies", schema=None) as batch_op:
        batch_op.add_column(sa.Column("conversation_id", sa.String(length=64), nullable=True))
        batch_op.create_index(batch_op.f("ix_chat_replies_conversation_id"), ["conversation_id"], unique=False)
        batch_op.create_foreign_key(
            batch_op.f("fk_chat_replies_conversation_id"),
            "conversations",
            ["conversation_id"],
            ["id"],
            ondelete="CASCADE",
        )

    with op.batch_alter_table("conversations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("note", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("page_title", sa.String(length=300), nullable=True))
        batch_op.add_column(sa.Column("custom", sa.JSON(), nullable=True))
        batch_op.create_index("ix_conversations_status_updated_at", ["status", "updated_at"], unique=False)

    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("citations", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("audio", sa.JSON(), nullable=True))

    op.create_table(
        "calls",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.String(length=64), nullable=False),
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("chatbot_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("connected_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("fk_calls_conversation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
    )
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.create_index("ix_calls_conversation_id", ["conversation_id"], unique=False)

    op.create_table(
        "spoken_lines",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", "organization_id", name=op.f("pk_spoken_lines")),
    )
    with op.batch_alter_table("spoken_lines", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_spoken_lines_created_at"), ["created_at"], unique=False)

    _make_words_findable(op.get_bind())


def _make_words_findable(connection: sa.Connection) -> None:
    """The index of words, which each engine has in a form of its own, with the messages that are there."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE message_words USING fts5(words, organization_id UNINDEXED, "
            "conversation_id UNINDEXED, message_id UNINDEXED, tokenize = 'unicode61 remove_diacritics 0')"
        )
    else:
        op.execute(
            "CREATE TABLE message_words (words tsvector NOT NULL, organization_id varchar(64) NOT NULL, "
            "conversation_id varchar(64) NOT NULL, "
            "message_id varchar(64) PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE)"
        )
        op.execute("CREATE INDEX ix_message_words_words ON message_words USING gin (words)")
    old = sa.text(
        "SELECT id, organization_id, conversation_id, content FROM messages WHERE id > :last ORDER BY id LIMIT :n"
    )
    last = ""
    while found := connection.execute(old, {"last": last, "n": BATCH}).all():
        rows = []
        for id, organization, conversation, content in found:
            row = {"words": _words(content), "organization": organization, "conversation": conversation, "id": id}
            rows.append(row | ({"number": _number(id)} if dialect == "sqlite" else {}))
        connection.execute(sa.text(INSERT[dialect]), rows)
        last = found[-1][0]


def _words(said: str) -> str:
    """Letters and digits without case and accents, with spaces between the words."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", said.casefold()) if not unicodedata.combining(c))
    return " ".join(word[:LONGEST] for word in _WORD.findall(unicodedata.normalize("NFC", plain)))


def _number(message_id: str) -> int:
    """The message's row in SQLite's index."""
    return int.from_bytes(hashlib.sha256(message_id.encode()).digest()[:8]) >> 1


def downgrade() -> None:
    op.execute("DROP TABLE message_words")
    with op.batch_alter_table("spoken_lines", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_spoken_lines_created_at"))

    op.drop_table("spoken_lines")
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_index("ix_calls_conversation_id")

    op.drop_table("calls")
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_column("audio")
        batch_op.drop_column("citations")

    with op.batch_alter_table("conversations", schema=None) as batch_op:
        batch_op.drop_index("ix_conversations_status_updated_at")
        batch_op.drop_column("custom")
        batch_op.drop_column("page_title")
        batch_op.drop_column("note")

    with op.batch_alter_table("chat_replies", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_chat_replies_conversation_id"), type_="foreignkey")
        batch_op.drop_index(batch_op.f("ix_chat_replies_conversation_id"))
        batch_op.drop_column("conversation_id")
