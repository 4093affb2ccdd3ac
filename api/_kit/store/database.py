"""Opens units of work, and commits together what waits to be written together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Insert
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from api._kit.batches import Batches, Full, Outcome
from api._kit.errors import Conflict, Unavailable
from api._kit.events import Event, Subscriptions
from api._kit.store.claims import ClaimLost, staking
from api._kit.store.transactions import Stamp, Tenant, Transaction, Write, event_rows
from api._kit.store.views import READERS, VIEWS, View
from pipelines.ports import Clock, Ids, JournalUnavailable

WAIT: Final = 5.0
"""Seconds to wait for the right to write, or to read where only so many may."""
T = TypeVar("T")


class StoreUnavailable(Unavailable, JournalUnavailable):
    """The database did not take the transaction: nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class _Kept(Outcome):
    """What a write came to, and what has happened thereby."""

    events: Sequence[Event] = ()


@dataclass(frozen=True, slots=True)
class _Order:
    """A write that waits for its commit."""

    tenant: Tenant
    stamp: Stamp
    work: Callable[[Write], Any]


class Database:
    """Opens units of work. Where the engine can take one writer only, writers queue here and not in the database.

    `direct` reaches the same database without an event loop: writes then run in a thread of their own and views in some
    others, which spares the event loop many a hop. Without it they run on connections of `engine`. After a commit,
    `announce` is called for each of its events; `subscriptions` says who is told of them durably.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        clock: Clock,
        ids: Ids,
        direct: Engine | None = None,
        announce: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.engine = engine
        self.announce, self._direct = announce, direct
        self.subscriptions = Subscriptions()
        self._stamp = Stamp(clock, ids, self.subscriptions)
        self._writer = asyncio.Lock() if engine.dialect.name == "sqlite" else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writes") if direct else None
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reads") if direct else None
        self._views = asyncio.Semaphore(VIEWS)
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
        with staking() as claim:
            order = _Order(tenant, self._stamp, work if claim is None else _claimed(claim, work))
            try:
                return await self._batches.add(order)  # type: ignore[no-any-return]
            except Full:
                raise StoreUnavailable(details="too many writers wait") from None

    @asynccontextmanager
    async def uow(self, tenant: Tenant) -> AsyncIterator[Transaction]:
        """A transaction that may write, with nobody else in it. Raises StoreUnavailable."""
        async with _turn(self._writer), self._transaction(tenant, writes=True) as tx:
            yield tx
        if tx.committed:
            for event in (*tx.events, *tx.signals):
                self.announce(event)

    @asynccontextmanager
    async def view(self, tenant: Tenant) -> AsyncIterator[Transaction]:
        """A transaction that only reads; it never waits for a writer. Raises StoreUnavailable."""
        if self._direct is None or self._readers is None:
            async with self._transaction(tenant, writes=False) as tx:
                yield tx
            return
        async with _turn(self._views):
            with closing(View(self._direct, self._readers, tenant, self._stamp)) as view, _translated():
                yield view

    @asynccontextmanager
    async def _transaction(self, tenant: Tenant, *, writes: bool) -> AsyncIterator[Transaction]:
        with _translated():
            async with self.engine.connect() as connection:
                await connection.execution_options(writes=writes)
                yield Transaction(connection, tenant, self._stamp)

    async def _commit(self, orders: Sequence[_Order]) -> list[_Kept]:
        async with _turn(self._writer):
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
            if self._readers is not None:
                self._readers.shutdown()
            await asyncio.to_thread(self._direct.dispose)
        await self.engine.dispose()


def _claimed(claim: Insert, work: Callable[[Write], T]) -> Callable[[Write], T]:
    """The work, after the row of the request that does it. Raises ClaimLost."""

    def both(write: Write) -> T:
        if not write.try_insert(claim):
            raise ClaimLost
        return work(write)

    return both


@asynccontextmanager
async def _turn(right: asyncio.Lock | asyncio.Semaphore | None) -> AsyncIterator[None]:
    """The right to write or to read, where not everybody may have it at once. Raises StoreUnavailable."""
    if right is None:
        yield
        return
    try:
        async with asyncio.timeout(WAIT):
            await right.acquire()
    except TimeoutError:
        raise StoreUnavailable(details="too many wait for the database") from None
    try:
        yield
    finally:
        right.release()


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
        writes = [Write(connection, order.tenant, order.stamp) for order in orders]
        values = [order.work(write) for order, write in zip(orders, writes, strict=True)]
        happened = [event for write in writes for event in write.events]
        for statement, rows in event_rows(happened, orders[0].stamp.subscriptions):
            connection.execute(statement, rows)
    return [_Kept(v, events=(*write.events, *write.signals)) for v, write in zip(values, writes, strict=True)]


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
