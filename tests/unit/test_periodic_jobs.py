"""Jobs that come back by themselves, and what they prune."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, insert, select

from api._kit.events import ANY, Announcer
from api._kit.jobs import RunningJob
from api._kit.store import PLATFORM, Database, cancel_job, events, jobs
from api.auth.store import revoked_tokens
from server.infra import retention
from server.infra.clock import Dice, Ids, SystemClock
from server.infra.jobs import Jobs
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
    """Remembers the jobs that it was given."""

    def __init__(self) -> None:
        self.seen: list[RunningJob] = []

    async def __call__(self, job: RunningJob) -> None:
        self.seen.append(job)


async def test_a_periodic_job_is_one_row_that_comes_back(database: Database, opened: Open, clock: HandClock) -> None:
    handler = Handler()
    runners = [opened(), opened()]
    for runner in runners:
        runner.every("tidy", 60, handler)
    for round_ in range(1, 4):
        for runner in runners:
            assert (await runner._take(4))[0] == []
        clock.seconds += 61
        works = [work for runner in runners for work in (await runner._take(4))[0]]
        for work in works:
            await work
        assert len(handler.seen) == round_
    async with database.view(PLATFORM) as tx:
        (row,) = await tx.all(select(jobs))
    assert (row["organization_id"], row["status"], row["attempts"]) == ("", "queued", 0)
    assert handler.seen[0].tenant is PLATFORM


async def test_a_shorter_period_counts_from_the_next_start(database: Database, opened: Open, clock: HandClock) -> None:
    for seconds in (3600, 60):
        runner = opened()
        runner.every("tidy", seconds, Handler())
        await runner._take(4)
    async with database.view(PLATFORM) as tx:
        run_at = await tx.scalar(select(jobs.c.run_at))
    assert run_at == int(clock.now() * 1000) + 60_000


async def test_only_what_is_old_and_done_with_is_pruned(database: Database, opened: Open, clock: HandClock) -> None:
    database.subscriptions.add("ear", [ANY])
    await database.write("org_1", lambda tx: tx.enqueue("crawl", {}, key="unfinished"))
    await database.write("org_1", lambda tx: tx.record("told.late"))
    database.subscriptions._wanted.clear()
    await database.write("org_1", lambda tx: tx.record("told"))
    database.subscriptions.add("ear", [ANY])
    async with database.uow("org_1") as tx:
        finished = await tx.enqueue("crawl", {})
        await cancel_job(tx, finished, now=int(clock.now() * 1000))
        await tx.run(insert(revoked_tokens).values(id="t", refused_from=0, expires_at=int(clock.now() * 1000)))
        await tx.commit()
    runner = opened()
    runner.every("retention", 1, retention.pruning(database, clock))
    assert (await runner._take(4))[0] == []

    async def prune() -> dict[str, int]:
        clock.seconds += 2
        for work in (await runner._take(4))[0]:
            await work
        async with database.view(PLATFORM) as tx:
            found = await tx.scalar(select(jobs.c.result).where(jobs.c.type == "retention"))
        return {name: n for name, n in found.items() if n}

    assert await prune() == {}
    clock.seconds += 8 * 24 * 3600
    assert await prune() == {"revoked_tokens": 1, "events": 1}
    clock.seconds += 30 * 24 * 3600
    assert await prune() == {"jobs": 1}
    async with database.view(PLATFORM) as tx:
        assert await tx.all(select(events.c.name)) == [{"name": "told.late"}]
        assert await tx.scalar(select(func.count()).select_from(jobs)) == 2
