"""What a bot is built from."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("chatbots", schema=None) as batch_op:
        batch_op.add_column(sa.Column("parts", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("template_id", sa.String(length=64), nullable=True))
    with op.batch_alter_table("chatbot_versions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("changed", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "selection_current",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.String(length=64), nullable=False),
        sa.Column("chatbot_id", sa.String(length=64), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "organization_id", name=op.f("pk_selection_current")),
    )
    op.create_table(
        "selection_sites",
        sa.Column("organization_id", sa.String(length=64), nullable=False),
        sa.Column("site_key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("default_chatbot_id", sa.String(length=64), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_selection_sites")),
        sa.UniqueConstraint("site_key", name=op.f("uq_selection_sites_site_key")),
    )
    op.create_table(
        "state_setups",
        sa.Column("chatbot_id", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.String(length=64), nullable=False),
        sa.Column("skipped", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chatbot_id", name=op.f("pk_state_setups")),
    )
    op.create_table(
        "state_sessions",
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.String(length=64), nullable=False),
        sa.Column("chatbot_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("shown", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_state_sessions")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_state_sessions_conversation_id"),
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    for table in ("state_sessions", "state_setups", "selection_sites", "selection_current"):
        op.drop_table(table)
    with op.batch_alter_table("chatbot_versions", schema=None) as batch_op:
        batch_op.drop_column("changed")
    with op.batch_alter_table("chatbots", schema=None) as batch_op:
        batch_op.drop_column("template_id")
        batch_op.drop_column("parts")
