"""The unit of work: one transaction of one organisation, rolled back unless it is committed.

The organisation is a required argument and the statements that a transaction makes are filtered by it, so that a
forgotten filter is an error and not a leak. `PLATFORM` is for what belongs to no organisation or finds out which one
it is; a transaction of the platform refuses to make a filtered statement.

A unit of work (`Database.uow`) has its transaction to itself. A write (`Database.write`) is a function that shares one
with all that wait at the same time: one commit for many, which is what a conversation's messages need.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Engine,
    Executable,
    Insert,
    MetaData,
    Select,
    Table,
    Update,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api._kit.batches import Batches, Full, Outcome
from api._kit.errors import Conflict, Unavailable
from api._kit.events import Event
from api._kit.paging import PageQuery
from api._kit.values import milliseconds
from pipelines.ports import JournalUnavailable

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
WAIT_FOR_WRITER: Final = 5.0


class Platform:
    """The tenant of what belongs to no organisation."""


PLATFORM: Final = Platform()
Tenant = str | Platform
Row = dict[str, Any]
T = TypeVar("T")


class StoreUnavailable(Unavailable, JournalUnavailable):
    """The database did not take the transaction: nothing of it was kept."""


class NoTenant(RuntimeError):
    """A statement about an organisation's rows was made in a transaction of the platform: a mistake of ours."""


class Statements:
    """Makes statements about the tenant's own rows only, and takes down what happened."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.events: list[Event] = []

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

    def record(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Say that something happened; nobody hears of it unless the transaction commits."""
        self.events.append(Event(name, self.organization_id, dict(data or {})))


class Transaction(Statements):
    """One transaction of its own."""

    def __init__(self, connection: AsyncConnection, tenant: Tenant) -> None:
        super().__init__(tenant)
        self._connection = connection
        self.committed = False

    async def run(self, statement: Executable) -> int:
        """Execute and return how many rows were touched."""
        return (await self._connection.execute(statement)).rowcount

    async def one(self, statement: Executable) -> Row | None:
        found = (await self._connection.execute(statement)).mappings().first()
        return None if found is None else dict(found)

    async def all(self, statement: Executable) -> list[Row]:
        return [dict(row) for row in (await self._connection.execute(statement)).mappings()]

    async def scalar(self, statement: Executable) -> Any:
        return (await self._connection.execute(statement)).scalar()

    async def try_insert(self, statement: Insert) -> bool:
        """False when a unique constraint refuses the row; the transaction goes on."""
        try:
            async with self._connection.begin_nested():
                await self._connection.execute(statement)
        except IntegrityError:
            return False
        return True

    async def page(
        self,
        statement: Select[Any],
        query: PageQuery,
        *,
        table: Table,
        search: Sequence[ColumnElement[Any]] = (),
        by: ColumnElement[Any] | None = None,
    ) -> tuple[list[Row], int]:
        """One page's rows and how many there are in all, ordered by `by` or the query's field. Ties break on `id`."""
        if query.search:
            statement = statement.where(or_(*(c.icontains(query.search, autoescape=True) for c in search)))
        if query.created_after:
            statement = statement.where(table.c.created_at >= milliseconds(query.created_after.timestamp()))
        if query.created_before:
            statement = statement.where(table.c.created_at < milliseconds(query.created_before.timestamp()))
        total = await self.scalar(select(func.count()).select_from(statement.order_by(None).subquery()))
        keys = (table.c[query.sort_by] if by is None else by, table.c.id)
        ordered = statement.order_by(*(k.asc() if query.order == "asc" else k.desc() for k in keys))
        rows = await self.all(ordered.limit(query.limit).offset((query.page - 1) * query.limit))
        return rows, int(total or 0)

    async def commit(self) -> None:
        await self._connection.commit()
        self.committed = True


class Write(Statements):
    """One caller's part of a shared transaction. Its methods do not wait: they run beside the event loop."""

    def __init__(self, connection: Connection, tenant: Tenant) -> None:
        super().__init__(tenant)
        self._connection = connection

    def run(self, statement: Executable) -> int:
        """Execute and return how many rows were touched."""
        return self._connection.execute(statement).rowcount

    def add(self, table: Table, **values: Any) -> None:
        """Insert one row. The values are parameters, so that the statement is built only once for all rows."""
        self._connection.execute(insert(table), {"organization_id": self.organization_id, **values})

    def scalar(self, statement: Executable) -> Any:
        return self._connection.execute(statement).scalar()

    def try_insert(self, statement: Insert) -> bool:
        """False when a unique constraint refuses the row; the transaction goes on."""
        try:
            with self._connection.begin_nested():
                self._connection.execute(statement)
        except IntegrityError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Kept(Outcome):
    """What a write came to, and what has happened thereby."""

    events: Sequence[Event] = ()


@dataclass(frozen=True, slots=True)
class _Order:
    """A write that waits for its commit."""

    tenant: Tenant
    work: Callable[[Write], Any]


class Database:
    """Opens units of work. Where the engine can take one writer only, writers queue here and not in the database.

    `direct` reaches the same database without an event loop: writes then run in a thread of their own, which spares
    the event loop a hop for every statement. Without it they run on a connection of `engine`.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        direct: Engine | None = None,
        announce: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.engine = engine
        self.announce, self._direct = announce, direct
        self._writer = asyncio.Lock() if engine.dialect.name == "sqlite" else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writes") if direct else None
        self._batches = Batches(self._commit)

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    async def write(self, tenant: Tenant, work: Callable[[Write], T]) -> T:
        """Do `work` and return its result once that is committed, together with whatever else waits to be written.

        Writes are done in the order of the calls. `work` may be done a second time when something in its batch
        failed, so it must not touch anything but its argument. It is committed even if the caller is cancelled.
        Raises StoreUnavailable, Conflict, and what `work` raises; nothing of it was kept then.
        """
        try:
            return await self._batches.add(_Order(tenant, work))  # type: ignore[no-any-return]
        except Full:
            raise StoreUnavailable(details="too many writers wait") from None

    @asynccontextmanager
    async def uow(self, tenant: Tenant) -> AsyncIterator[Transaction]:
        """A transaction that may write, with nobody else in it. Raises StoreUnavailable."""
        async with self._turn(), self._transaction(tenant, writes=True) as tx:
            yield tx
        if tx.committed:
            for event in tx.events:
                self.announce(event)

    @asynccontextmanager
    async def view(self, tenant: Tenant) -> AsyncIterator[Transaction]:
        """A transaction that only reads; it never waits for a writer."""
        async with self._transaction(tenant, writes=False) as tx:
            yield tx

    @asynccontextmanager
    async def _transaction(self, tenant: Tenant, *, writes: bool) -> AsyncIterator[Transaction]:
        with _translated():
            async with self.engine.connect() as connection:
                await connection.execution_options(writes=writes)
                yield Transaction(connection, tenant)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """The right to write, where only one may have it."""
        if self._writer is None:
            yield
            return
        try:
            async with asyncio.timeout(WAIT_FOR_WRITER):
                await self._writer.acquire()
        except TimeoutError:
            raise StoreUnavailable(details="too many writers wait") from None
        try:
            yield
        finally:
            self._writer.release()

    async def _commit(self, orders: Sequence[_Order]) -> list[_Kept]:
        async with self._turn():
            if self._direct is not None and self._thread is not None:
                loop = asyncio.get_running_loop()
                outcomes = await loop.run_in_executor(self._thread, _commit_direct, self._direct, orders)
            else:
                with _translated():
                    async with self.engine.connect() as connection:
                        outcomes = await connection.run_sync(_commit_on, orders)
        for outcome in outcomes:
            for event in outcome.events:
                self.announce(event)
        return outcomes

    async def close(self) -> None:
        """Commit the writes that were accepted, and disconnect."""
        await self._batches.close()
        if self._thread is not None and self._direct is not None:
            self._thread.shutdown()
            await asyncio.to_thread(self._direct.dispose)
        await self.engine.dispose()


def _commit_direct(engine: Engine, orders: Sequence[_Order]) -> list[_Kept]:
    with _translated(), engine.connect() as connection:
        return _commit_on(connection, orders)


def _commit_on(connection: Connection, orders: Sequence[_Order]) -> list[_Kept]:
    """All orders in one transaction or, when one of them fails, each in its own. Raises StoreUnavailable if nothing
    was committed because the database did not answer."""
    try:
        return _together(connection, orders)
    except StoreUnavailable:
        raise
    except Exception:  # whatever an order did wrong, it is told so below, and alone
        pass
    outcomes: list[_Kept] = []
    for order in orders:
        try:
            outcomes += _together(connection, [order])
        except Exception as error:  # handed to the caller whose order it was
            outcomes.append(_Kept(error=error))
            if isinstance(error, StoreUnavailable):
                break
    lost = [_Kept(error=StoreUnavailable(details="the database did not answer")) for _ in orders[len(outcomes) :]]
    return outcomes + lost


def _together(connection: Connection, orders: Sequence[_Order]) -> list[_Kept]:
    with _translated(), connection.begin():
        writes = [Write(connection, order.tenant) for order in orders]
        values = [order.work(write) for order, write in zip(orders, writes, strict=True)]
    return [_Kept(value, events=write.events) for value, write in zip(values, writes, strict=True)]


@contextmanager
def _translated() -> Iterator[None]:
    """The driver's errors as ours."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(details="another request changed the same thing") from error
    except (OperationalError, PoolTimeout, OSError) as error:
        raise StoreUnavailable(details="the database did not answer") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable(details="the database went away") from error
        raise
