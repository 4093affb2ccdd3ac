"""Maintenance: how far long work is."""

from api._kit.store import cancel_job, jobs
from tests.contract.house import House


async def test_a_job_says_how_far_it_is(house: House) -> None:
    owner = await house.owner()
    job_id = await house.job(owner)
    found = await house.json("GET", f"/api/v1/maintenance/jobs/{job_id}", 200, headers=owner)
    assert found == {
        "id": job_id,
        "type": "test",
        "status": "queued",
        "progress": 0,
        "counts": {},
        "error": None,
        "created_at": found["created_at"],
        "finished_at": None,
        "result": None,
    }


async def test_a_job_that_has_not_moved_is_not_sent_again(house: House) -> None:
    owner = await house.owner()
    path = f"/api/v1/maintenance/jobs/{await house.job(owner)}"
    async with house.client.get(path, headers=owner) as first:
        etag = first.headers["ETag"]
    async with house.client.get(path, headers={**owner, "If-None-Match": etag}) as again:
        assert again.status == 304


async def test_a_job_that_was_called_off_is_cancelled(house: House) -> None:
    owner = await house.owner()
    job_id = await house.job(owner)
    caller = await house.deps.tokens.verify(owner["Authorization"].split()[1])
    async with house.deps.database.uow(caller.organization_id) as tx:
        assert await cancel_job(tx, job_id, now=house.deps.now())
        assert not await cancel_job(tx, job_id, now=house.deps.now())
        await tx.commit()
    found = await house.json("GET", f"/api/v1/maintenance/jobs/{job_id}", 200, headers=owner)
    assert (found["status"], found["finished_at"]) == ("cancelled", found["created_at"])


async def test_the_platforms_own_jobs_are_nobodys(house: House) -> None:
    owner = await house.owner()
    job_id = await house.job(owner)
    async with house.deps.database.uow("") as tx:
        await tx.run(jobs.update().values(organization_id=""))
        await tx.commit()
    await house.refused("GET", f"/api/v1/maintenance/jobs/{job_id}", 404, "RESOURCE_NOT_FOUND", headers=owner)
