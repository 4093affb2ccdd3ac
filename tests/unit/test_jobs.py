"""The runner on a real database: every job by one process at a time, to its end, also after a crash."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import update

from api._kit.events import Announcer
from api._kit.jobs import Job, JobCancelled, JobFailed, RunningJob
from api._kit.store import PLATFORM, Database, Row, cancel_job, find_job, jobs
from server.infra import crew
from server.infra import jobs as runner_of
from server.infra.clock import Dice, Ids, SystemClock
from server.infra.jobs import CRASHED, LEASE, ON_OUR_SIDE, Jobs
from tests.contract.house import HandClock

Open = Callable[[], Jobs]


@pytest.fixture
def clock() -> HandClock:
    """Ahead of the clock that the database fixture stamps its rows with, so that what is enqueued is due."""
    return HandClock(SystemClock().now() + 60)


@pytest.fixture
def opened(database: Database, clock: HandClock) -> Open:
    """Makes a runner as one process has it; several are several processes."""
    announcer = Announcer()
    database.announce = announcer.announce
    return lambda: Jobs(database, announcer, clock=clock, ids=Ids(), dice=Dice(1))


class Handler:
    """Does what it is told, and counts how often."""

    def __init__(self, work: Callable[[RunningJob], Any] | None = None, *, runs: int = 1) -> None:
        self._work, self._runs = work, runs
        self.seen: list[RunningJob] = []
        self.begun, self.ran = asyncio.Event(), asyncio.Event()

    async def __call__(self, job: RunningJob) -> Mapping[str, Any] | None:
        self.seen.append(job)
        self.begun.set()
        try:
            return await self._work(job) if self._work else None
        finally:
            if len(self.seen) >= self._runs:
                self.ran.set()

    async def done(self) -> None:
        async with asyncio.timeout(10):
            await self.ran.wait()


async def enqueue(database: Database, type: str = "crawl", **options: Any) -> str:
    return await database.write("org_1", lambda tx: tx.enqueue(type, {"url": "https://a.example"}, **options))


async def row_of(database: Database, job_id: str) -> Row:
    async with database.view("org_1") as tx:
        found = await find_job(tx, job_id)
    assert found is not None
    return found


async def crash(runner: Jobs) -> list[Any]:
    """Take what is due and die: what is left is a lease, and nobody who works."""
    works, _ = await runner._take(4)
    for work in works:
        work.close()
    return list(works)


async def test_a_job_is_done_and_its_result_kept(database: Database, opened: Open) -> None:
    async def work(job: RunningJob) -> dict[str, Any]:
        await job.progress(50, {"pages": 3})
        return {"url": job.payload["url"], "tenant": job.tenant, "request": job.request_id, "bot": job.chatbot_id}

    handler, runner = Handler(work), opened()
    runner.handle("crawl", handler)
    async with runner:
        job_id = await enqueue(database, request_id="req_1", chatbot_id="cb_1")
        await handler.done()
    row = await row_of(database, job_id)
    assert (row["status"], row["progress"], row["counts"]) == ("succeeded", 100, {"pages": 3})
    assert row["result"] == {"url": "https://a.example", "tenant": "org_1", "request": "req_1", "bot": "cb_1"}
    assert Job.of(row).finished_at is not None


async def test_a_job_is_there_if_its_change_is_committed_and_only_then(database: Database) -> None:
    async with database.uow("org_1") as tx:
        await tx.enqueue("crawl", {})
    async with database.uow("org_1") as tx:
        job_id = await tx.enqueue("crawl", {})
        await tx.commit()
    async with database.view("org_1") as tx:
        assert [row["id"] for row in await tx.all(tx.select(jobs))] == [job_id]
    async with database.view("org_2") as tx:
        assert await find_job(tx, job_id) is None


async def test_while_a_job_is_unfinished_its_key_stands_for_it(database: Database, opened: Open) -> None:
    async with database.uow("org_1") as tx:
        first = await tx.enqueue("crawl", {}, key="src_1")
        assert await tx.enqueue("crawl", {}, key="src_1") == first
        await tx.commit()
    assert await enqueue(database, key="src_1") == first
    assert await enqueue(database, key="src_2") != first
    async with database.uow("org_2") as tx:
        assert await tx.enqueue("crawl", {}, key="src_1") != first
    async with database.uow("org_1") as tx:
        await cancel_job(tx, first, now=1)
        await tx.commit()
    assert await enqueue(database, key="src_1") != first


async def test_a_job_waits_for_its_time(database: Database, opened: Open, clock: HandClock) -> None:
    handler, runner = Handler(), opened()
    runner.handle("crawl", handler)
    later = int(clock.now() * 1000) + 5_000
    async with runner:
        await enqueue(database, run_at=later)
        works, pause = await runner._take(4)
        assert (list(works), 4 < pause <= 5) == ([], True)
        clock.seconds += 6
        await enqueue(database, "unknown")
        await handler.done()
    assert len(handler.seen) == 1


async def test_a_mistake_is_tried_again_and_then_has_failed(database: Database, opened: Open, clock: HandClock) -> None:
    async def work(job: RunningJob) -> None:
        raise KeyError("secret detail")

    handler, runner = Handler(work), opened()
    runner.handle("crawl", handler)
    job_id = await enqueue(database, max_attempts=2)
    for attempt, status in ((1, "queued"), (2, "failed")):
        for run in (await runner._take(4))[0]:
            await run
        row = await row_of(database, job_id)
        assert (row["status"], row["attempts"], row["error"]) == (status, attempt, ON_OUR_SIDE)
        assert (await runner._take(4))[0] == []
        clock.seconds += 3
    assert row["finished_at"] is not None


async def test_a_failure_that_a_person_may_read_is_told_at_once(database: Database, opened: Open) -> None:
    async def work(job: RunningJob) -> None:
        raise JobFailed("The site does not answer.")

    handler, runner = Handler(work), opened()
    runner.handle("crawl", handler)
    async with runner:
        job_id = await enqueue(database)
        await handler.done()
    row = await row_of(database, job_id)
    assert (row["status"], row["error"]) == ("failed", "The site does not answer.")


async def test_a_job_that_a_crash_cut_off_is_done_again_when_its_lease_is_over(
    database: Database, opened: Open, clock: HandClock
) -> None:
    dead, alive, handler = opened(), opened(), Handler()
    for runner in (dead, alive):
        runner.handle("crawl", handler)
    job_id = await enqueue(database)
    assert len(await crash(dead)) == 1
    assert await crash(alive) == []
    clock.seconds += LEASE + 1
    async with alive:
        await handler.done()
    row = await row_of(database, job_id)
    assert (row["status"], row["attempts"]) == ("succeeded", 2)


async def test_a_job_that_kills_its_process_every_time_has_failed(
    database: Database, opened: Open, clock: HandClock
) -> None:
    runner = opened()
    runner.handle("crawl", Handler())
    job_id = await enqueue(database, max_attempts=2)
    for _ in range(2):
        assert len(await crash(runner)) == 1
        runner._runs.clear()
        clock.seconds += LEASE + 1
    assert await crash(runner) == []
    row = await row_of(database, job_id)
    assert (row["status"], row["error"]) == ("failed", CRASHED)


async def test_a_heartbeat_keeps_the_lease(database: Database, opened: Open, clock: HandClock) -> None:
    runner, other, go = opened(), opened(), asyncio.Event()

    async def work(job: RunningJob) -> None:
        await go.wait()

    handler = Handler(work)
    for each in (runner, other):
        each.handle("crawl", handler)
    async with runner:
        job_id = await enqueue(database)
        await handler.begun.wait()
        for _ in range(3):
            clock.seconds += LEASE * 0.8
            await runner.beat()
        assert await crash(other) == []
        go.set()
        await handler.done()
    assert (await row_of(database, job_id))["attempts"] == 1


async def test_a_job_that_is_called_off_hears_of_it_at_its_next_checkpoint(database: Database, opened: Open) -> None:
    runner, go = opened(), asyncio.Event()

    async def work(job: RunningJob) -> None:
        await go.wait()
        assert job.cancelled()
        await job.progress(50)

    handler = Handler(work)
    runner.handle("crawl", handler)
    async with runner:
        job_id = await enqueue(database)
        await handler.begun.wait()
        async with database.uow("org_1") as tx:
            assert await cancel_job(tx, job_id, now=7)
            await tx.commit()
        go.set()
        await handler.done()
    row = await row_of(database, job_id)
    assert (row["status"], row["finished_at"]) == ("cancelled", 7)


async def test_another_process_calls_a_job_off_and_one_that_never_looks_is_stopped(
    database: Database, opened: Open
) -> None:
    async def work(job: RunningJob) -> None:
        await asyncio.Event().wait()

    handler, runner = Handler(work), opened()
    runner.handle("crawl", handler)
    async with runner:
        job_id = await enqueue(database)
        await handler.begun.wait()
        over = update(jobs).where(jobs.c.id == job_id).values(status="cancelled", finished_at=7)
        await database.write(PLATFORM, lambda tx: tx.run(over))
        await runner.beat()
        assert handler.seen[0].cancelled()
        await runner.beat()
        await handler.done()
    assert (await row_of(database, job_id))["status"] == "cancelled"


async def test_a_run_that_was_stopped_leaves_its_place_to_the_next(database: Database, opened: Open) -> None:
    async def work(job: RunningJob) -> None:
        if len(handler.seen) == 1:
            await asyncio.Event().wait()

    handler, runner = Handler(work, runs=2), opened()
    runner.handle("crawl", handler, each=1)
    async with runner:
        job_id = await enqueue(database)
        await handler.begun.wait()
        async with database.uow("org_1") as tx:
            assert await cancel_job(tx, job_id, now=7)
            await tx.commit()
        await runner.beat()
        await enqueue(database)
        await handler.done()


async def test_a_run_that_is_stopped_may_tidy_up_in_peace(database: Database, opened: Open) -> None:
    tidied, go = asyncio.Event(), asyncio.Event()

    async def work(job: RunningJob) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await go.wait()
            tidied.set()

    handler, runner = Handler(work), opened()
    runner.handle("crawl", handler)
    async with runner:
        await enqueue(database)
        await handler.begun.wait()
        await database.write(PLATFORM, lambda tx: tx.run(update(jobs).values(status="cancelled")))
        for _ in range(3):
            await runner.beat()
        go.set()
        await asyncio.wait_for(tidied.wait(), 10)


async def test_a_run_that_has_lost_its_lease_changes_nothing(
    database: Database, opened: Open, clock: HandClock
) -> None:
    slow, fast, go = opened(), opened(), asyncio.Event()
    raised: list[Exception] = []

    async def late(job: RunningJob) -> dict[str, Any]:
        await go.wait()
        try:
            await job.progress(10)
        except JobCancelled as error:
            raised.append(error)
        return {"by": "slow"}

    async def soon(job: RunningJob) -> dict[str, Any]:
        return {"by": "fast"}

    slow.handle("crawl", late)
    fast.handle("crawl", soon)
    job_id = await enqueue(database)
    (stuck,), _ = await slow._take(4)
    clock.seconds += LEASE + 1
    (work,), _ = await fast._take(4)
    await work
    go.set()
    await stuck
    assert (await row_of(database, job_id))["result"] == {"by": "fast"}
    assert len(raised) == 1


async def test_progress_is_kept_once_a_second_at_most(database: Database, opened: Open, clock: HandClock) -> None:
    shown: list[int] = []

    async def work(job: RunningJob) -> None:
        for percent in range(0, 100, 10):
            await job.progress(percent, {"pages": percent})
            shown.append((await row_of(database, job.id))["progress"])
            clock.seconds += 0.5

    handler, runner = Handler(work), opened()
    runner.handle("crawl", handler)
    async with runner:
        await enqueue(database)
        await handler.done()
    assert shown == [0, 0, 20, 20, 40, 40, 60, 60, 80, 80]


async def test_two_processes_share_the_jobs_and_do_each_once(database: Database, opened: Open) -> None:
    handler = Handler(runs=40)
    runners = [opened(), opened()]
    for runner in runners:
        runner.handle("crawl", handler)
    async with runners[0], runners[1]:
        await asyncio.gather(*(enqueue(database) for _ in range(40)))
        await handler.done()
    assert len({job.id for job in handler.seen}) == len(handler.seen) == 40


async def test_one_type_does_not_take_every_place(database: Database, opened: Open) -> None:
    runner = opened()
    runner.handle("crawl", Handler(), each=2)
    runner.handle("export", Handler())
    for type in ("crawl", "crawl", "crawl", "export"):
        await enqueue(database, type)
    assert len(await crash(runner)) == 3
    assert sorted(run.type for run in runner._runs.values()) == ["crawl", "crawl", "export"]


async def test_what_cannot_end_in_time_is_given_back(
    database: Database, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "LEAVE", 0.01)

    async def work(job: RunningJob) -> None:
        await asyncio.Event().wait()

    handler, runner = Handler(work), opened()
    runner.handle("crawl", handler)
    async with runner:
        job_id = await enqueue(database)
        await handler.begun.wait()
    row = await row_of(database, job_id)
    assert (row["status"], row["attempts"], row["lease_until"]) == ("queued", 0, None)


async def test_the_end_of_a_job_is_written_when_the_database_is_back(
    database: Database, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = opened()
    runner.handle("crawl", Handler())
    job_id = await enqueue(database)
    (work,), _ = await runner._take(4)
    write, failures = database.write, [1, 2]

    async def sometimes(*arguments: Any) -> Any:
        if failures:
            failures.pop()
            raise runner_of.StoreUnavailable(details="gone")
        return await write(*arguments)

    monkeypatch.setattr(database, "write", sometimes)
    await work
    assert (await row_of(database, job_id))["status"] == "succeeded"
