"""What other processes did, told to the listeners of this one: each looks every `EVERY` seconds at what was recorded.

So a token that is revoked anywhere closes its sockets everywhere, with no broker between: the event is written with the
change itself, and nobody can miss it.

What may fail:
- The database does not answer: nothing is heard; when it is back, everything since the last look is.
- Clocks differ, or a commit takes long: looks go `BACK` into the past again, and drop what is known.
"""

from collections.abc import Collection
from typing import Any, Final

import structlog
from sqlalchemy import select, tuple_

from api._kit.events import Announcer, Event
from api._kit.store import PLATFORM, Database, StoreUnavailable, events
from api._kit.values import milliseconds
from pipelines.ports import Clock

EVERY: Final = 2.0
BACK: Final = 10_000
"""Milliseconds; longer than a statement may take."""
BATCH: Final = 500

log = structlog.get_logger("server.neighbours")


class Neighbours:
    """Announces the events of these names that this process has not announced itself. `run` until cancelled."""

    def __init__(self, database: Database, announcer: Announcer, names: Collection[str], *, clock: Clock) -> None:
        self._database, self._announcer, self._clock = database, announcer, clock
        self._names = list(names)
        self._known: dict[str, int] = {}
        self._read = (self._now() - BACK, "")
        for name in names:
            announcer.on(name, self._note)

    async def run(self) -> None:
        while True:
            try:
                more = await self.look()
            except StoreUnavailable:
                log.warning("neighbours not heard")
                more = False
            if not more:
                await self._clock.sleep(EVERY)

    async def look(self) -> bool:
        """Tell what is new; whether there is more. Raises StoreUnavailable."""
        start = self._now()
        place = tuple_(events.c.created_at, events.c.id)
        new = select(events).where(place > self._read, events.c.name.in_(self._names))
        async with self._database.view(PLATFORM) as tx:
            rows = await tx.all(new.order_by(*place).limit(BATCH))
        for row in rows:
            if row["id"] not in self._known:
                self._announcer.announce(_event(row))
        more = len(rows) == BATCH
        self._read = (rows[-1]["created_at"], rows[-1]["id"]) if more else (start - BACK, "")
        self._known = {id: at for id, at in self._known.items() if at >= self._read[0]}
        return more

    def _note(self, event: Event) -> None:
        self._known[event.id] = event.created_at

    def _now(self) -> int:
        return milliseconds(self._clock.now())


def _event(row: dict[str, Any]) -> Event:
    return Event(**{name: row[name] for name in ("name", "organization_id", "data", "id", "key", "created_at")})
