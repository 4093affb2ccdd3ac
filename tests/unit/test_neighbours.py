"""What other processes recorded is told here, once, however much of it there is."""

import asyncio
from functools import partial

import pytest
from sqlalchemy import update

from api._kit.events import ANY, Announcer, Event
from api._kit.store import PLATFORM, Database, Write, events
from server.infra import neighbours
from server.infra.clock import SystemClock
from server.infra.neighbours import Neighbours
from tests.contract.house import HandClock


def record(number: int, tx: Write) -> None:
    tx.record("told", {"n": number})


async def test_more_events_of_one_millisecond_than_are_read_at_once_are_all_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "BATCH", 4)
    clock, announcer, told = HandClock(SystemClock().now()), Announcer(), list[Event]()
    announcer.on("told", told.append)
    database.subscriptions.add("ear", [ANY])
    heard = Neighbours(database, announcer, ["told"], clock=clock)
    for number in range(10):
        await database.write("org_1", partial(record, number))
    now = int(clock.now() * 1000)
    await database.write(PLATFORM, lambda tx: tx.run(update(events).values(created_at=now)))

    async def look_through() -> None:
        async with asyncio.timeout(10):
            while await heard.look():
                pass

    await look_through()
    assert sorted(event.data["n"] for event in told) == list(range(10))
    await database.write("org_1", partial(record, 10))
    await look_through()
    assert [event.data["n"] for event in told[10:]] == [10]
