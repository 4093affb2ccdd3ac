"""The history's jobs: files of conversations, endings of those that went quiet, and the last traces of deleted ones.

An export that is cut off begins again with a new file; the half of the old one is swept away within a day.
"""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import orjson

from api._kit.jobs import JobHandler, RunningJob
from api._kit.ports import Bots, Clock, Media
from api._kit.store import PLATFORM, Database, Row
from api._kit.values import milliseconds, rfc3339
from api.history.models import ExportRequest
from api.history.redaction import redacted
from api.history.store import queries, search

IDLE_EVERY: Final = 60.0
"""Seconds between two looks at what went quiet."""
IDLE_MINUTES: Final = 30
"""Silence that ends a conversation whose chatbot is gone."""
SHORTEST_MINUTES: Final = 1
PAGE: Final = 100
"""Conversations that are read at once for an export."""
COLUMNS: Final = (
    "conversation_id",
    "chatbot_id",
    "user_id",
    "channel",
    "conversation_status",
    "title",
    "message_id",
    "role",
    "content",
    "interrupted",
    "finish_reason",
    "rating",
    "created_at",
)


def exporting(database: Database, media: Media, origin: str) -> JobHandler:
    """The result has the file's `url`, which opens for a day, its `format` and how much is in it."""

    async def export(job: RunningJob) -> Mapping[str, Any]:
        request = ExportRequest.model_validate_json(orjson.dumps(dict(job.payload)))
        counts = {"conversations": 0, "messages": 0}
        media_id = await media.save_all(_lines(database, job, request, counts), request.format)
        async with database.uow(str(job.tenant)) as tx:
            tx.record("export.completed", {"job_id": job.id, "format": request.format, **counts})
            await tx.commit()
        return {"url": f"{origin}{media.url(media_id)}", "format": request.format, **counts}

    return export


async def _lines(
    database: Database, job: RunningJob, request: ExportRequest, counts: dict[str, int]
) -> AsyncIterator[bytes]:
    if request.format == "csv":
        yield _csv(dict(zip(COLUMNS, COLUMNS, strict=True)))
    after, total = "", 0
    while True:
        async with database.view(str(job.tenant)) as tx:
            found = queries.wanted(tx, database.dialect, request.filters)
            if not total:
                total = await queries.count(tx, found)
            page = await queries.next_page(tx, found, after=after, limit=PAGE)
            said = [(talk, row) for talk in page for row in await queries.whole(tx, talk["id"])]
        if not page:
            return
        written = [line(talk, row, redact=request.redact_pii) for talk, row in said]
        yield b"".join(_csv(values) if request.format == "csv" else orjson.dumps(values) + b"\n" for values in written)
        after = page[-1]["id"]
        counts["conversations"] += len(page)
        counts["messages"] += len(said)
        await job.progress(min(99, 100 * counts["conversations"] // max(1, total)), counts)


def line(talk: Row, message: Row, *, redact: bool) -> dict[str, Any]:
    """One message with what is known of its conversation, named as in COLUMNS."""
    content = message["content"] if message["heard"] is None else message["heard"]
    return {
        "conversation_id": talk["id"],
        "chatbot_id": talk["chatbot_id"],
        "user_id": redacted(talk["user_id"]) if redact else talk["user_id"],
        "channel": talk["channel"],
        "conversation_status": talk["status"],
        "title": redacted(talk["title"]) if redact and talk["title"] else talk["title"],
        "message_id": message["id"],
        "role": message["role"],
        "content": redacted(content) if redact else content,
        "interrupted": content != message["content"],
        "finish_reason": message["finish_reason"],
        "rating": message["rating"],
        "created_at": rfc3339(message["created_at"]),
    }


def _csv(values: Mapping[str, Any]) -> bytes:
    """One row. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    cells = ["" if values[name] is None else str(values[name]) for name in COLUMNS]
    csv.writer(out).writerow(f"'{cell}" if cell[:1] in tuple("=+-@\t\r") and len(cell) > 1 else cell for cell in cells)
    return out.getvalue().encode()


def tidying(database: Database, media: Media) -> JobHandler:
    """Removes what a deleted conversation has left in files: its sound, and its words in the index."""

    async def tidy(job: RunningJob) -> None:
        for media_id in job.payload.get("media", ()):
            await media.delete(media_id)
        await search.tidy(database)

    return tidy


def ending_idle(database: Database, bots: Bots, clock: Clock) -> JobHandler:
    """Ends the conversations in which nobody has said anything for as long as their chatbot allows."""

    async def end(job: RunningJob) -> Mapping[str, Any]:
        now, after, ended = milliseconds(clock.now()), "", 0
        patience: dict[str, int] = {}
        while True:
            async with database.view(PLATFORM) as tx:
                rows = await queries.idle(tx, before=now - SHORTEST_MINUTES * 60_000, after_id=after)
            if not rows:
                return {"ended": ended}
            for row in rows:
                since = now - await _patience(bots, row["chatbot_id"], patience) * 60_000
                if row["updated_at"] <= since:
                    async with database.uow(row["organization_id"]) as own:
                        ended += await queries.end(own, row, reason="idle", now=now, since=since)
                        await own.commit()
            after = rows[-1]["id"]
            await job.progress(50, {"ended": ended})

    return end


async def _patience(bots: Bots, chatbot_id: str, known: dict[str, int]) -> int:
    """Minutes of silence that the chatbot allows; where it is gone, what others have by default."""
    if chatbot_id not in known:
        bot = await bots.find(chatbot_id)
        known[chatbot_id] = max(SHORTEST_MINUTES, bot.idle_minutes) if bot else IDLE_MINUTES
    return known[chatbot_id]
