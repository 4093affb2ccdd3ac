"""What is kept only for a while: a periodic job deletes it when its time is over, a bounded number of rows at once."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, delete, exists, select, tuple_

from api._kit.idempotency import KEPT as ANSWER_SECONDS
from api._kit.jobs import JobHandler, RunningJob
from api._kit.store import PLATFORM, Database, deliveries, events, idempotency_keys, jobs
from api._kit.values import milliseconds
from api.auth.store import KEPT_MS as REVOCATION_MS
from api.auth.store import mail_tokens, revoked_tokens
from api.chat.store import KEPT_MS as REPLY_MS
from api.chat.store import lines, replies
from api.state.store import KEPT_MS as SHOWN_MS
from api.state.store import sessions
from pipelines.ports import Clock

EVERY: Final = 3600.0
"""Seconds between two prunings."""
DAY_MS: Final = 24 * 3_600_000
EVENT_MS: Final = 7 * DAY_MS
JOB_MS: Final = 30 * DAY_MS
BATCH: Final = 500
"""Rows in one transaction, so that no writer waits long for it."""

Outdated = Mapping[str, tuple[Table, ColumnElement[bool]]]


def outdated(database: Database, now: int) -> Outdated:
    """What may go: a name for the count, the table, and which of its rows. `now` is in milliseconds."""
    awaited = exists().where(
        deliveries.c.event_id == events.c.id,
        deliveries.c.due.is_not(None),
        deliveries.c.consumer.in_(list(database.subscriptions.consumers)),
    )
    done = jobs.c.status.in_(("succeeded", "failed", "cancelled"))
    return {
        "revoked_tokens": (revoked_tokens, revoked_tokens.c.expires_at < now - REVOCATION_MS),
        "mail_tokens": (mail_tokens, mail_tokens.c.expires_at < now),
        "chat_replies": (replies, replies.c.created_at < now - REPLY_MS),
        "spoken_lines": (lines, lines.c.created_at < now - REPLY_MS),
        "state_sessions": (sessions, sessions.c.updated_at < now - SHOWN_MS),
        "idempotency_keys": (idempotency_keys, idempotency_keys.c.created_at < now - milliseconds(ANSWER_SECONDS)),
        "events": (events, (events.c.created_at < now - EVENT_MS) & ~awaited),
        "jobs": (jobs, done & (jobs.c.finished_at < now - JOB_MS)),
    }


def pruning(database: Database, clock: Clock) -> JobHandler:
    """The handler of the periodic job; its counts say how many rows of each table went."""

    async def prune(job: RunningJob) -> dict[str, Any]:
        tables = outdated(database, milliseconds(clock.now()))
        counts = dict.fromkeys(tables, 0)
        for number, (name, (table, old)) in enumerate(tables.items()):
            while gone := await _delete(database, table, old):
                counts[name] += gone
                await job.progress(100 * number // len(tables), counts)
        return dict(counts)

    return prune


async def _delete(database: Database, table: Table, old: ColumnElement[bool]) -> int:
    key = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(old).limit(BATCH)
    return await database.write(PLATFORM, lambda tx: tx.run(delete(table).where(key.in_(some))))
