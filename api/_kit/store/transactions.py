"""What a transaction can do: statements about one organisation's rows, events to record, jobs to enqueue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict, Unpack

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Executable,
    Insert,
    Result,
    Select,
    Table,
    Update,
    column,
    delete,
    func,
    insert,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from api._kit.errors import Conflict
from api._kit.events import Event, Subscriptions, ordering_key
from api._kit.paging import PageQuery
from api._kit.store.claims import ClaimLost, staking
from api._kit.store.tables import NOBODY, deliveries, events, jobs
from api._kit.values import milliseconds
from pipelines.ports import Clock, Ids

ENQUEUED: Final = "job.enqueued"
"""Announced in this process, so that its runner need not poll; not an event that is kept."""
ATTEMPTS: Final = 5
"""How often a job is begun before it has failed, unless it is enqueued with another number."""


_ORGANIZATIONS: Final = table("organizations", column("id"))
"""Whose rows stand for their organisations, to be locked."""


class Platform:
    """The tenant of what belongs to no organisation."""


PLATFORM: Final = Platform()
Tenant = str | Platform
Row = dict[str, Any]


class NoTenant(RuntimeError):
    """A statement about an organisation's rows was made in a transaction of the platform: a mistake of ours."""


class JobOptions(TypedDict, total=False):
    """`run_at` is in milliseconds since the epoch; now if it is absent. While a job with the same type and `key` is
    unfinished, it stands for the new one."""

    run_at: int | None
    key: str | None
    chatbot_id: str | None
    request_id: str | None
    max_attempts: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where events and jobs get their ids and times from, and who is to be told of which event."""

    clock: Clock
    ids: Ids
    subscriptions: Subscriptions = field(default_factory=Subscriptions)

    def now(self) -> int:
        return milliseconds(self.clock.now())


class Statements:
    """Makes statements about the tenant's own rows only, and takes down what happened and what is to be done."""

    def __init__(self, tenant: Tenant, stamp: Stamp) -> None:
        self.tenant, self._stamp = tenant, stamp
        self.events: list[Event] = []
        self.signals: list[Event] = []

    @property
    def organization_id(self) -> str:
        if isinstance(self.tenant, Platform):
            raise NoTenant
        return self.tenant

    def select(self, table: Table, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(*(columns or (table,))).where(table.c.organization_id == self.organization_id)

    def insert(self, table: Table, **values: Any) -> Insert:
        return insert(table).values(organization_id=self.organization_id, **values)

    def update(self, table: Table) -> Update:
        return update(table).where(table.c.organization_id == self.organization_id)

    def delete(self, table: Table) -> Delete:
        return delete(table).where(table.c.organization_id == self.organization_id)

    def record(self, name: str, data: Mapping[str, Any] | None = None, *, key: str | None = None) -> None:
        """Say that something happened, before the commit; nobody hears of it unless the transaction commits.

        Whoever is told of it durably hears of events with one `key` in their order. Without a key it is the
        conversation, chatbot or user that the data names first, else the organisation.
        """
        said = dict(data or {})
        key = key or ordering_key(said) or self.organization_id
        ids = self._stamp.ids
        self.events.append(Event(name, self.organization_id, said, ids.new("evt"), key, self._stamp.now()))

    def _job(self, type: str, payload: Mapping[str, Any], options: JobOptions) -> Row:
        now = self._stamp.now()
        run_at = options.get("run_at")
        return {
            "id": self._stamp.ids.new("job"),
            "organization_id": NOBODY if isinstance(self.tenant, Platform) else self.tenant,
            "type": type,
            "key": options.get("key"),
            "chatbot_id": options.get("chatbot_id"),
            "request_id": options.get("request_id"),
            "payload": dict(payload),
            "status": "queued",
            "progress": 0,
            "counts": {},
            "attempts": 0,
            "max_attempts": options.get("max_attempts", ATTEMPTS),
            "run_at": now if run_at is None else run_at,
            "created_at": now,
        }

    def _taken(self, job: Row) -> str:
        self.signals.append(Event(ENQUEUED, job["organization_id"], {"job_id": job["id"], "type": job["type"]}))
        return str(job["id"])


class Transaction(Statements):
    """One transaction of its own."""

    def __init__(self, connection: AsyncConnection, tenant: Tenant, stamp: Stamp) -> None:
        super().__init__(tenant, stamp)
        self._connection = connection
        self.committed = False

    async def run(self, statement: Executable) -> int:
        """Execute and return how many rows were touched."""
        return (await self._connection.execute(statement)).rowcount

    async def one(self, statement: Executable, **values: Any) -> Row | None:
        """`values` are those of a statement's parameters: to make a statement takes longer than to execute it."""
        found = (await self._read(statement, values)).mappings().first()
        return None if found is None else dict(found)

    async def all(self, statement: Executable) -> list[Row]:
        return [dict(row) for row in (await self._read(statement)).mappings()]

    async def scalar(self, statement: Executable) -> Any:
        return (await self._read(statement)).scalar()

    async def alone(self) -> None:
        """Wait until no other transaction of this organisation is past here, and keep others out to this one's end, so
        that what is counted from now on stays so. SQLite has one writer anyway."""
        mine = select(_ORGANIZATIONS.c.id).where(_ORGANIZATIONS.c.id == self.organization_id)
        await self._connection.execute(mine.with_for_update(key_share=True))

    async def _read(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Result[Any]:
        return await self._connection.execute(statement, values)

    async def try_insert(self, statement: Insert) -> bool:
        """False when a unique constraint refuses the row; the transaction goes on."""
        try:
            async with self._connection.begin_nested():
                await self._connection.execute(statement)
        except IntegrityError:
            return False
        return True

    async def enqueue(self, type: str, payload: Mapping[str, Any], **options: Unpack[JobOptions]) -> str:
        """A job for the runner, if the transaction commits; returns its id. Raises Conflict."""
        job = self._job(type, payload, options)
        if job["key"] is None:
            await self._connection.execute(insert(jobs), job)
        elif not await self.try_insert(insert(jobs).values(job)):
            return _found(await self.scalar(_same(job)))
        return self._taken(job)

    async def page(
        self,
        statement: Select[Any],
        query: PageQuery,
        *,
        table: Table,
        search: Sequence[ColumnElement[Any]] = (),
        by: ColumnElement[Any] | None = None,
        tie: ColumnElement[Any] | None = None,
    ) -> tuple[list[Row], int]:
        """One page's rows and how many there are in all, ordered by `by` or the query's field. Ties break on `tie`,
        which is `id` unless it is given."""
        if query.search:
            statement = statement.where(or_(*(c.icontains(query.search, autoescape=True) for c in search)))
        if query.created_after:
            statement = statement.where(table.c.created_at >= milliseconds(query.created_after.timestamp()))
        if query.created_before:
            statement = statement.where(table.c.created_at < milliseconds(query.created_before.timestamp()))
        total = await self.scalar(select(func.count()).select_from(statement.order_by(None).subquery()))
        keys = (table.c[query.sort_by] if by is None else by, table.c.id if tie is None else tie)
        ordered = statement.order_by(*(k.asc() if query.order == "asc" else k.desc() for k in keys))
        rows = await self.all(ordered.limit(query.limit).offset((query.page - 1) * query.limit))
        return rows, int(total or 0)

    async def commit(self) -> None:
        """Keep everything, and the events that were recorded with it. Raises ClaimLost."""
        with staking() as claim:
            if claim is not None and not await self.try_insert(claim):
                raise ClaimLost
            for statement, rows in event_rows(self.events, self._stamp.subscriptions):
                await self._connection.execute(statement, rows)
            await self._connection.commit()
        self.committed = True


class Write(Statements):
    """One caller's part of a shared transaction. Its methods do not wait: they run beside the event loop."""

    def __init__(self, connection: Connection, tenant: Tenant, stamp: Stamp) -> None:
        super().__init__(tenant, stamp)
        self._connection = connection

    def run(self, statement: Executable) -> int:
        """Execute and return how many rows were touched."""
        return self._connection.execute(statement).rowcount

    def add(self, table: Table, **values: Any) -> None:
        """Insert one row. The values are parameters, so that the statement is built only once for all rows."""
        self._connection.execute(insert(table), {"organization_id": self.organization_id, **values})

    def all(self, statement: Executable) -> list[Row]:
        return [dict(row) for row in self._connection.execute(statement).mappings()]

    def scalar(self, statement: Executable) -> Any:
        return self._connection.execute(statement).scalar()

    def ask(self, statement: Executable, **values: Any) -> Any:
        """What a statement with parameters finds first: to make one takes longer than to execute it. It must compare
        `organization_id` with the parameter `organization`, which is the tenant's."""
        return self._connection.execute(statement, {"organization": self.organization_id, **values}).scalar()

    def try_insert(self, statement: Insert) -> bool:
        """False when a unique constraint refuses the row; the transaction goes on."""
        try:
            with self._connection.begin_nested():
                self._connection.execute(statement)
        except IntegrityError:
            return False
        return True

    def enqueue(self, type: str, payload: Mapping[str, Any], **options: Unpack[JobOptions]) -> str:
        """A job for the runner, if the transaction commits; returns its id. Raises Conflict."""
        job = self._job(type, payload, options)
        if job["key"] is None:
            self._connection.execute(insert(jobs), job)
        elif not self.try_insert(insert(jobs).values(job)):
            return _found(self.scalar(_same(job)))
        return self._taken(job)


def _same(job: Row) -> Select[Any]:
    """The unfinished job that stands for this one."""
    same = (jobs.c[name] == job[name] for name in ("organization_id", "type", "key"))
    return select(jobs.c.id).where(*same, jobs.c.status.in_(("queued", "running")))


def _found(job_id: Any) -> str:
    """Raises Conflict when the job that stood in the way has just finished."""
    if job_id is None:
        raise Conflict(details="the job before this one has just finished")
    return str(job_id)


def event_rows(happened: Sequence[Event], subscriptions: Subscriptions) -> list[tuple[Insert, list[Row]]]:
    """What a transaction writes for its events: a row for each, and one for every consumer that is to hear of it."""
    if not happened:
        return []
    names = ("id", "organization_id", "name", "key", "data", "created_at")
    kept = [(insert(events), [{name: getattr(event, name) for name in names} for event in happened])]
    told = [
        {"event_id": event.id, "consumer": consumer, "key": event.key, "attempts": 0, "due": event.created_at}
        for event in happened
        for consumer in subscriptions.of(event.name)
    ]
    return [*kept, (insert(deliveries), told)] if told else kept
