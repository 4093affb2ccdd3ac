"""The unit of work: one transaction of one organisation, rolled back unless it is committed.

The organisation is a required argument and the statements that a transaction makes are filtered by it, so that a
forgotten filter is an error and not a leak. `PLATFORM` is for what belongs to no organisation or finds out which one
it is; a transaction of the platform refuses to make a filtered statement.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Delete,
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


class StoreUnavailable(Unavailable, JournalUnavailable):
    """The database did not take the transaction: nothing of it was kept."""


class NoTenant(RuntimeError):
    """A statement about an organisation's rows was made in a transaction of the platform: a mistake of ours."""


class Transaction:
    """One transaction. `select`, `insert`, `update` and `delete` make statements about the tenant's own rows only."""

    def __init__(self, connection: AsyncConnection, tenant: Tenant) -> None:
        self._connection = connection
        self.tenant = tenant
        self.events: list[Event] = []
        self.committed = False

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

    def record(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Say that something happened; nobody hears of it unless the transaction commits."""
        self.events.append(Event(name, self.organization_id, dict(data or {})))

    async def commit(self) -> None:
        await self._connection.commit()
        self.committed = True


class Database:
    """Opens units of work. Where the engine can take one writer only, writers queue here and not in the database."""

    def __init__(self, engine: AsyncEngine, *, announce: Callable[[Event], None] = lambda event: None) -> None:
        self.engine = engine
        self._announce = announce
        self._writer = asyncio.Lock() if engine.dialect.name == "sqlite" else None

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    @asynccontextmanager
    async def uow(self, tenant: Tenant) -> AsyncIterator[Transaction]:
        """A transaction that may write. Raises StoreUnavailable."""
        if self._writer is None:
            async with self._transaction(tenant, writes=True) as tx:
                yield tx
        else:
            try:
                await asyncio.wait_for(self._writer.acquire(), WAIT_FOR_WRITER)
            except TimeoutError:
                raise StoreUnavailable(details="too many writers wait") from None
            try:
                async with self._transaction(tenant, writes=True) as tx:
                    yield tx
            finally:
                self._writer.release()
        if tx.committed:
            for event in tx.events:
                self._announce(event)

    @asynccontextmanager
    async def view(self, tenant: Tenant) -> AsyncIterator[Transaction]:
        """A transaction that only reads; it never waits for a writer."""
        async with self._transaction(tenant, writes=False) as tx:
            yield tx

    @asynccontextmanager
    async def _transaction(self, tenant: Tenant, *, writes: bool) -> AsyncIterator[Transaction]:
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(writes=writes)
                yield Transaction(connection, tenant)
        except IntegrityError as error:
            raise Conflict(details="another request changed the same thing") from error
        except (OperationalError, PoolTimeout, OSError) as error:
            raise StoreUnavailable(details="the database did not answer") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise StoreUnavailable(details="the database went away") from error
            raise

    async def close(self) -> None:
        await self.engine.dispose()
