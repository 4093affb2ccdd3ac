"""The runner: does the jobs that services enqueue, each by exactly one process at a time, and again after a crash.

What may fail:
- The handler raises: tried again with growing pauses up to the job's `max_attempts`, then failed. `JobFailed` says
  what a person may read, and whether to try again.
- The process dies: the job is begun again, by any process, when its lease is over; one that dies `max_attempts` times
  has failed. A handler therefore bears being run again from the start.
- The job is called off, or a lease is lost because the database did not answer for long: the handler is told at its
  next checkpoint, and cancelled a heartbeat later.
- The database does not answer: nothing is taken, progress is not kept, and a job that has ended is settled when the
  database is back, or run again if its lease was over by then.
- The server stops: jobs get `LEAVE` seconds, then they are cancelled and given back, to be begun again at once.
"""

import asyncio  # create_task only inside the runner's TaskGroup
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Self

import structlog
from sqlalchemy import ColumnElement, and_, case, func, or_, select, update

from api._kit.events import Announcer, Event
from api._kit.jobs import JobCancelled, JobFailed, JobHandler
from api._kit.store import CANCELLED, ENQUEUED, PLATFORM, Database, Row, StoreUnavailable, Tenant, Write, jobs
from api._kit.values import milliseconds
from pipelines.ports import Clock, Ids
from server.core.backoff import backoff
from server.infra.clock import Dice
from server.infra.crew import POLL, Crew, Work

PARALLEL: Final = 4
"""Jobs that one process runs at the same time."""
EACH: Final = 2
"""How many of them may be of one type."""
SECONDS: Final = 3600.0
"""How long one run may take."""
LEASE: Final = 30.0
BEATS: Final = 3
"""Heartbeats in a lease."""
SAVE: Final = 1.0
"""Seconds between two savings of a job's progress."""
SETTLE: Final = 5
"""How often the end of a job is tried to be written down."""
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 600.0
ENDLESS: Final = 2**31 - 1
ON_OUR_SIDE: Final = "Something went wrong on our side."
CRASHED: Final = "The server stopped while this was being done, too often to try again."

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the runner knows of a type of job. `every` is the period of one that comes back by itself, in seconds."""

    handler: JobHandler
    each: int
    seconds: float
    every: float | None = None


@dataclass(slots=True)
class _Run:
    """One run of a job, as its handler sees it."""

    row: Row
    runner: str
    database: Database
    clock: Clock
    lost: bool = False
    task: "asyncio.Task[Any] | None" = None
    """None before the run, and when it has been told to stop: that is said once."""
    percent: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    saved: float = 0.0

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def type(self) -> str:
        return str(self.row["type"])

    @property
    def tenant(self) -> Tenant:
        return self.row["organization_id"] or PLATFORM

    @property
    def payload(self) -> Mapping[str, Any]:
        return dict(self.row["payload"])

    @property
    def chatbot_id(self) -> str | None:
        found: str | None = self.row["chatbot_id"]
        return found

    @property
    def request_id(self) -> str | None:
        found: str | None = self.row["request_id"]
        return found

    @property
    def attempt(self) -> int:
        return int(self.row["attempts"])

    @property
    def mine(self) -> ColumnElement[bool]:
        """The row, as long as this run holds its lease."""
        return and_(jobs.c.id == self.id, jobs.c.runner == self.runner, jobs.c.status == "running")

    def cancelled(self) -> bool:
        return self.lost

    async def progress(self, percent: int, counts: Mapping[str, int] | None = None) -> None:
        self.percent = max(0, min(100, percent))
        self.counts = dict(self.counts if counts is None else counts)
        now = self.clock.monotonic()
        if not self.lost and now - self.saved >= SAVE:
            self.saved = now
            state = update(jobs).where(self.mine).values(progress=self.percent, counts=self.counts)
            try:
                self.lost = not await self.database.write(PLATFORM, lambda tx: tx.run(state))
            except StoreUnavailable:
                log.warning("progress not kept", job_id=self.id)
        if self.lost:
            raise JobCancelled


class Jobs:
    """Use as an async context manager, after all handlers have been named."""

    def __init__(
        self,
        database: Database,
        announcer: Announcer,
        *,
        clock: Clock,
        ids: Ids,
        dice: Dice,
        parallel: int = PARALLEL,
        lease: float = LEASE,
    ) -> None:
        self._database, self._clock, self._ids, self._dice = database, clock, ids, dice
        self._lease = lease
        self._kinds: dict[str, _Kind] = {}
        self._runs: dict[str, _Run] = {}
        self._arranged = False
        self._crew = Crew("jobs", self._take, parallel=parallel)
        self._stack = AsyncExitStack()
        announcer.on(ENQUEUED, lambda event: self._crew.wake())
        announcer.on(CANCELLED, self._called_off)

    def handle(self, type: str, handler: JobHandler, *, each: int = EACH, seconds: float = SECONDS) -> None:
        """Jobs of this type are done by `handler`, at most `each` at a time in this process, each in `seconds`."""
        self._add(type, _Kind(handler, each, seconds))

    def every(self, type: str, seconds: float, handler: JobHandler) -> None:
        """Run `handler` for the platform every so many seconds, by one process among all. A failure waits for the next
        time."""
        self._add(type, _Kind(handler, 1, SECONDS, seconds))

    def _add(self, type: str, kind: _Kind) -> None:
        if type in self._kinds:
            raise ValueError(f"there is a handler of {type} already")
        self._kinds[type] = kind

    async def __aenter__(self) -> Self:
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        heart = group.create_task(self._beat(), name="jobs heartbeat")
        self._stack.callback(heart.cancel)
        await self._stack.enter_async_context(self._crew)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        await self._give_back()

    def _called_off(self, event: Event) -> None:
        if run := self._runs.get(event.data["job_id"]):
            run.lost = True

    def _until(self) -> int:
        return milliseconds(self._clock.now() + self._lease)

    async def _take(self, free: int) -> tuple[Sequence[Work], float]:
        if not self._arranged:
            await self._arrange()
            self._arranged = True
        now, until, runner = milliseconds(self._clock.now()), self._until(), self._ids.new("run")
        busy = Counter(run.type for run in self._runs.values())

        def take(tx: Write) -> tuple[list[Row], int | None]:
            _bury(tx, now)
            taken, count = [], Counter(busy)
            for _ in range(free):
                types = [type for type, kind in self._kinds.items() if count[type] < kind.each]
                row = _next(tx, types, now)
                if row is None:
                    break
                taken.append({**row, "attempts": row["attempts"] + 1})
                count[row["type"]] += 1
                values = {"status": "running", "runner": runner, "lease_until": until, "finished_at": None}
                values |= {"attempts": row["attempts"] + 1, "started_at": row["started_at"] or now}
                tx.run(update(jobs).where(jobs.c.id == row["id"]).values(values))
            due = case((jobs.c.status == "queued", jobs.c.run_at), else_=jobs.c.lease_until)
            mine = jobs.c.status.in_(("queued", "running")), jobs.c.type.in_(list(self._kinds)), due > now
            return taken, tx.scalar(select(func.min(due)).where(*mine))

        rows, later = await self._database.write(PLATFORM, take)
        runs = [_Run(row, runner, self._database, self._clock) for row in rows]
        self._runs |= {run.id: run for run in runs}
        return [self._do(run) for run in runs], POLL if later is None else (later - now) / 1000

    async def _arrange(self) -> None:
        """See that each periodic job has its one row, due no later than one period from now."""
        periods = {type: kind.every for type, kind in self._kinds.items() if kind.every is not None}
        now = milliseconds(self._clock.now())

        def arrange(tx: Write) -> None:
            for type, seconds in periods.items():
                first = now + milliseconds(seconds)
                job_id = tx.enqueue(type, {}, key="every", run_at=first, max_attempts=ENDLESS)
                tx.run(update(jobs).where(jobs.c.id == job_id, jobs.c.run_at > first).values(run_at=first))

        await self._database.write(PLATFORM, arrange)

    async def _do(self, run: _Run) -> None:
        """Run the handler and write down what came of it. What is cut off and not lost stays, to be given back."""
        kind, ended = self._kinds[run.type], False
        run.task = asyncio.current_task()
        try:
            values = await self._outcome(run, kind)
            if values and not run.lost:
                await self._settle(run, values, kind)
            ended = True
        finally:
            if ended or run.lost:
                self._runs.pop(run.id, None)

    async def _outcome(self, run: _Run, kind: _Kind) -> dict[str, Any]:
        """What is to be written down; nothing for a run that has nothing to say any more."""
        try:
            async with asyncio.timeout(kind.seconds):
                result = await kind.handler(run)
            return {"status": "succeeded", "progress": 100, "result": dict(result or {}), "error": None}
        except JobCancelled:
            return {}
        except JobFailed as error:
            return self._failed(run, error.message, again=error.again)
        except Exception as error:  # the last resort: whatever a handler does wrong, the runner goes on
            log.exception("job failed", job_id=run.id, type=run.type, attempt=run.attempt, error=repr(error))
            return self._failed(run, ON_OUR_SIDE, again=True)

    def _failed(self, run: _Run, message: str, *, again: bool) -> dict[str, Any]:
        if not again or run.attempt >= run.row["max_attempts"]:
            return {"status": "failed", "progress": run.percent, "error": message}
        chance = self._dice.uniform(0, 1)
        pause = backoff(run.attempt, first=FIRST_PAUSE, most=LONGEST_PAUSE, chance=chance)
        return {"status": "queued", "error": message, "run_at": milliseconds(self._clock.now() + pause)}

    async def _settle(self, run: _Run, values: dict[str, Any], kind: _Kind) -> None:
        now = self._clock.now()
        values |= {"counts": run.counts, "runner": None, "lease_until": None}
        if kind.every is not None:
            values |= {"status": "queued", "attempts": 0, "run_at": milliseconds(now + kind.every)}
        if values["status"] != "queued" or kind.every is not None:
            values["finished_at"] = milliseconds(now)
        statement = update(jobs).where(run.mine).values(values)
        for attempt in range(1, SETTLE + 1):
            try:
                await self._database.write(PLATFORM, lambda tx: tx.run(statement))
                return
            except StoreUnavailable:
                log.warning("job not settled", job_id=run.id, attempt=attempt)
                await self._clock.sleep(backoff(attempt, first=1.0, most=self._lease, chance=1.0))

    async def _beat(self) -> None:
        """Renew the leases of all that run here; stop what has been told a heartbeat ago that it is lost."""
        while True:
            await asyncio.sleep(self._lease / BEATS)
            await self.beat()

    async def beat(self) -> None:
        """One heartbeat."""
        runs = list(self._runs.values())
        for run in runs:
            if run.lost and run.task:
                run.task.cancel()
                run.task = None
        until = self._until()

        def renew(tx: Write) -> list[bool]:
            return [bool(tx.run(update(jobs).where(run.mine).values(lease_until=until))) for run in runs]

        try:
            held = await self._database.write(PLATFORM, renew) if runs else []
        except StoreUnavailable:
            log.warning("leases not renewed", count=len(runs))
            return
        for run, still in zip(runs, held, strict=True):
            run.lost = run.lost or (not still and run.id in self._runs)

    async def _give_back(self) -> None:
        """What could not end in time is begun again by whoever comes next, at once."""
        runs, self._runs = list(self._runs.values()), {}
        values: dict[str, Any] = {"status": "queued", "runner": None, "lease_until": None}
        values |= {"attempts": jobs.c.attempts - 1, "run_at": milliseconds(self._clock.now())}

        def give(tx: Write) -> None:
            for run in runs:
                tx.run(update(jobs).where(run.mine).values(values))

        try:
            if runs:
                await self._database.write(PLATFORM, give)
        except StoreUnavailable:
            log.warning("jobs not given back", count=len(runs))


def _next(tx: Write, types: Sequence[str], now: int) -> Row | None:
    """The job that has been due for longest, locked until the end of the transaction."""
    waiting = and_(jobs.c.status == "queued", jobs.c.run_at <= now)
    abandoned = and_(jobs.c.status == "running", jobs.c.lease_until <= now)
    due = select(jobs).where(jobs.c.type.in_(types), or_(waiting, abandoned)).order_by(jobs.c.run_at, jobs.c.id)
    return next(iter(tx.all(due.limit(1).with_for_update(skip_locked=True))), None)


def _bury(tx: Write, now: int) -> None:
    """Jobs whose every run ended with its process have failed."""
    dead = (jobs.c.status == "running", jobs.c.lease_until <= now, jobs.c.attempts >= jobs.c.max_attempts)
    values = {"status": "failed", "error": CRASHED, "finished_at": now, "lease_until": None, "runner": None}
    tx.run(update(jobs).where(*dead).values(values))
