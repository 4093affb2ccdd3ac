"""Jobs as the services see them: found, and called off."""

from typing import Final

from api._kit.events import Event
from api._kit.store.tables import jobs
from api._kit.store.transactions import Row, Transaction

CANCELLED: Final = "job.cancelled"
"""Announced in this process, so that a job that runs here hears of it at once; not an event that is kept."""


async def find_job(tx: Transaction, job_id: str) -> Row | None:
    """The organisation's own job with this id."""
    return await tx.one(tx.select(jobs).where(jobs.c.id == job_id))


async def cancel_job(tx: Transaction, job_id: str, *, now: int) -> bool:
    """Call the job off; False when it has already finished. One that runs hears of it at its next checkpoint."""
    unfinished = (jobs.c.id == job_id, jobs.c.status.in_(("queued", "running")))
    called_off = {"status": "cancelled", "finished_at": now, "lease_until": None, "runner": None}
    if not await tx.run(tx.update(jobs).where(*unfinished).values(called_off)):
        return False
    tx.signals.append(Event(CANCELLED, tx.organization_id, {"job_id": job_id}))
    return True
