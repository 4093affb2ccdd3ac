"""Maintenance: how far long work is."""

from api._kit.endpoint import Ctx, Service
from api._kit.errors import NotFound
from api._kit.jobs import Job
from api._kit.store import find_job
from api.maintenance.models import JobReport

maintenance = Service("maintenance", 8010, "Maintenance", "chatbot maintenance")


@maintenance.get("/jobs/{job_id}", who="M,K", returns=JobReport, etag=True)
async def job(ctx: Ctx) -> JobReport:
    """How far a job is, and what came of it.

    Any service that answers with a job can be asked about it here.
    """
    async with ctx.deps.database.view(ctx.tenant) as tx:
        row = await find_job(tx, ctx.path["job_id"])
    if row is None:
        raise NotFound("No such job.")
    return JobReport(**Job.of(row).model_dump(), result=row["result"])
