"""The metadata that all tables share, and the kit's own: what happened, who has yet to hear of it, what is to do."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

events = Table(
    "events",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("key", String(128), nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)
"""One row for everything that was recorded, written with the change itself."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_id", String(64), ForeignKey("events.id", ondelete="CASCADE"), nullable=False),
    Column("consumer", String(64), nullable=False),
    Column("key", String(128), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", BigInteger),
    Column("error", Text),
    UniqueConstraint("event_id", "consumer"),
    Index("ix_deliveries_consumer_due", "consumer", "due"),
    Index("ix_deliveries_consumer_key_position", "consumer", "key", "position"),
)
"""One row for each consumer that has yet to hear of an event. `due` is when it may next be tried: now, after a pause,
or after the lease of whoever tries at the moment; null once nobody will try again."""

UNFINISHED: Final = text("key IS NOT NULL AND status IN ('queued', 'running')")
NOBODY: Final = ""
"""The organisation of the platform's own jobs; not null, so that the unique index holds for them too."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("type", String(64), nullable=False),
    Column("key", String(128)),
    Column("chatbot_id", String(64)),
    Column("request_id", String(128)),
    Column("payload", JSON, nullable=False),
    Column("status", String(10), nullable=False),
    Column("progress", Integer, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("result", JSON),
    Column("error", Text),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("run_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger),
    Column("runner", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Index("ix_jobs_status_run_at", "status", "run_at"),
    Index("ix_jobs_organization_id_created_at", "organization_id", "created_at"),
    Index(
        "uq_jobs_organization_id_type_key",
        "organization_id",
        "type",
        "key",
        unique=True,
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    ),
)
"""`runner` is who holds the lease: every change that a run makes to its row is fenced by it."""
