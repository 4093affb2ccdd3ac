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


def downgrade() -> None:
    with op.batch_alter_table("chatbot_versions", schema=None) as batch_op:
        batch_op.drop_column("changed")
    with op.batch_alter_table("chatbots", schema=None) as batch_op:
        batch_op.drop_column("template_id")
        batch_op.drop_column("parts")
