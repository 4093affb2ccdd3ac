"""Durable consumers: each is told of every event that it wants, at least once, in order for each key, across crashes.

The rows of `deliveries` are written in the transaction that records the event and deleted when the consumer has
returned, so a crash between the two means one more delivery and never one less; `Event.id` tells the copies.

What may fail:
- The consumer raises or takes longer than `SECONDS`: tried again with growing pauses, `TRIES` times, then set aside
  with an error in the log. Later events of the same key wait for it; other keys and other consumers do not.
- The process dies: what it was telling is told again, by any process, when its lease is over.
- The database does not answer: nothing is taken until it does. What was delivered meanwhile is delivered again.
- Several processes: whoever locks a row has it (`SKIP LOCKED` on PostgreSQL), and only the oldest row of a key is ever
  taken, so no two processes tell one consumer of the same conversation at the same time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

import structlog
from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, select, update

from api._kit.events import ANY, Announcer, Event
from api._kit.store import PLATFORM, Database, Row, StoreUnavailable, Write, deliveries, events
from api._kit.values import milliseconds
from pipelines.ports import Clock
from server.core.backoff import backoff
from server.infra.clock import Dice
from server.infra.crew import POLL, Crew, Work

PARALLEL: Final = 8
"""Keys that one consumer is told of at the same time."""
SECONDS: Final = 15.0
"""How long a consumer may take for one event."""
LEASE: Final = 30.0
TRIES: Final = 50
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 600.0

Consume = Callable[[Event], Awaitable[None]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Held:
    """An event in a consumer's hands until `due` (milliseconds since the epoch)."""

    event: Event
    consumer: str
    attempt: int
    due: int

    @property
    def row(self) -> ColumnElement[bool]:
        """The delivery, as long as nobody else has taken it."""
        mine = (deliveries.c.event_id == self.event.id, deliveries.c.consumer == self.consumer)
        return and_(*mine, deliveries.c.due == self.due)


class Outbox:
    """Use as an async context manager, after all consumers have been named."""

    def __init__(
        self, database: Database, announcer: Announcer, *, clock: Clock, dice: Dice, lease: float = LEASE
    ) -> None:
        self._database, self._clock, self._dice = database, clock, dice
        self._lease = milliseconds(lease)
        self._crews: dict[str, Crew] = {}
        self._held: dict[tuple[str, str], _Held] = {}
        self._stack = AsyncExitStack()
        announcer.on(ANY, self._wake)

    def consumer(self, name: str, names: Collection[str], consume: Consume) -> None:
        """Tell `consume` of the events with these names (`ANY` for all) that are recorded from now on."""
        self._database.subscriptions.add(name, names)
        self._crews[name] = Crew(f"consumer {name}", partial(self._take, name, consume), parallel=PARALLEL)

    async def __aenter__(self) -> Self:
        for crew in self._crews.values():
            await self._stack.enter_async_context(crew)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        await self._give_back()

    def _wake(self, event: Event) -> None:
        if event.id:
            for name in self._database.subscriptions.of(event.name):
                self._crews[name].wake()

    async def _take(self, consumer: str, consume: Consume, free: int) -> tuple[Sequence[Work], float]:
        now = milliseconds(self._clock.now())
        lease = now + self._lease

        def take(tx: Write) -> tuple[list[Row], int | None]:
            rows = tx.all(_heads(consumer, now).limit(free))
            if rows:
                mine = deliveries.c.position.in_([row["position"] for row in rows])
                tx.run(update(deliveries).where(mine).values(due=lease, attempts=deliveries.c.attempts + 1))
            later = select(func.min(deliveries.c.due))
            return rows, tx.scalar(later.where(deliveries.c.consumer == consumer, deliveries.c.due > now))

        rows, later = await self._database.write(PLATFORM, take)
        held = [_Held(_event(row), consumer, row["attempts"] + 1, lease) for row in rows]
        self._held |= {(one.event.id, consumer): one for one in held}
        pause = POLL if later is None else (later - now) / 1000
        return [self._tell(one, consume) for one in held], pause

    async def _tell(self, held: _Held, consume: Consume) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                await consume(held.event)
        except Exception as error:  # the last resort: whatever a consumer does wrong, the others go on
            await self._settle(held, update(deliveries).where(held.row).values(self._later(held, error)))
        else:
            await self._settle(held, delete(deliveries).where(held.row))

    def _later(self, held: _Held, error: Exception) -> dict[str, Any]:
        about = {"consumer": held.consumer, "event_id": held.event.id, "name": held.event.name, "error": repr(error)}
        if held.attempt >= TRIES:
            log.error("event set aside", **about)
            return {"due": None, "error": repr(error)}
        log.warning("event not delivered", attempt=held.attempt, **about)
        chance = self._dice.uniform(0, 1)
        pause = backoff(held.attempt, first=FIRST_PAUSE, most=LONGEST_PAUSE, chance=chance)
        return {"due": milliseconds(self._clock.now() + pause), "error": repr(error)}

    async def _settle(self, held: _Held, statement: Any) -> None:
        try:
            await self._database.write(PLATFORM, lambda tx: tx.run(statement))
        except StoreUnavailable:
            log.warning("delivery not settled", consumer=held.consumer, event_id=held.event.id)
        self._held.pop((held.event.id, held.consumer), None)

    async def _give_back(self) -> None:
        """What could not end in time is told by whoever comes next, at once."""
        held, self._held = list(self._held.values()), {}
        again = {"due": milliseconds(self._clock.now()), "attempts": deliveries.c.attempts - 1}

        def give(tx: Write) -> None:
            for one in held:
                tx.run(update(deliveries).where(one.row).values(again))

        try:
            if held:
                await self._database.write(PLATFORM, give)
        except StoreUnavailable:
            log.warning("deliveries not given back", count=len(held))


def _heads(consumer: str, now: int) -> Select[Any]:
    """The oldest open delivery of each key, if it is due."""
    earlier = deliveries.alias()
    waits = exists().where(
        earlier.c.consumer == consumer,
        earlier.c.key == deliveries.c.key,
        earlier.c.position < deliveries.c.position,
        earlier.c.due.is_not(None),
    )
    return (
        select(deliveries.c.position, deliveries.c.attempts, *events.c)
        .join(events, events.c.id == deliveries.c.event_id)
        .where(deliveries.c.consumer == consumer, deliveries.c.due <= now, ~waits)
        .order_by(deliveries.c.position)
        .with_for_update(skip_locked=True, of=deliveries)
    )


def _event(row: Row) -> Event:
    return Event(**{name: row[name] for name in ("name", "organization_id", "data", "id", "key", "created_at")})
