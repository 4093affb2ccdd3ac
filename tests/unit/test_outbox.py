"""Durable consumers on a real database: at least once, in order for each key, one at a time, across crashes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy import func, select

from api._kit.events import ANY, Announcer, Event, Subscriptions, ordering_key
from api._kit.store import PLATFORM, Database, Write, deliveries, events
from server.infra import crew, outbox
from server.infra.clock import Dice, SystemClock
from server.infra.outbox import LEASE, TRIES, Outbox
from tests.contract.house import HandClock


@dataclass
class Ear:
    """A consumer that takes note, and fails as often as it is told to."""

    wanted: int
    failures: int = 0
    heard: list[Event] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, event: Event) -> None:
        if self.failures:
            self.failures -= 1
            self.count()
            raise OSError("the other side is away")
        self.heard.append(event)
        self.count()

    def count(self) -> None:
        self.wanted -= 1
        if self.wanted <= 0:
            self.enough.set()

    @property
    def numbers(self) -> list[int]:
        return [event.data["n"] for event in self.heard]

    async def had(self) -> None:
        async with asyncio.timeout(10):
            await self.enough.wait()


@pytest.fixture
def clock() -> HandClock:
    """Ahead of the clock that the database fixture stamps its rows with, so that what is recorded is due."""
    return HandClock(SystemClock().now() + 60)


@pytest.fixture
def opened(database: Database, clock: HandClock) -> Callable[[], Outbox]:
    """Makes an outbox as one process has it; several are several processes."""
    announcer = Announcer()
    database.announce = announcer.announce

    def make() -> Outbox:
        return Outbox(database, announcer, clock=clock, dice=Dice(1))

    return make


async def record(database: Database, *numbers: int, key: str = "conv_1", name: str = "message.created") -> None:
    for number in numbers:
        await database.write("org_1", lambda tx, n=number: tx.record(name, {"n": n}, key=key))  # type: ignore[misc]


async def count(database: Database, table: object = deliveries) -> int:
    async with database.view(PLATFORM) as tx:
        return int(await tx.scalar(select(func.count()).select_from(table)))  # type: ignore[arg-type]


async def test_an_event_is_kept_when_its_change_is_committed_and_only_then(database: Database) -> None:
    async with database.uow("org_1") as tx:
        tx.record("chatbot.created", {"chatbot_id": "cb_1"})
    async with database.uow("org_1") as tx:
        tx.record("chatbot.updated", {"chatbot_id": "cb_1"})
        await tx.commit()
    async with database.view("org_1") as tx:
        (row,) = await tx.all(tx.select(events))
    assert (row["name"], row["key"], row["data"]) == ("chatbot.updated", "cb_1", {"chatbot_id": "cb_1"})
    assert row["id"].startswith("evt_")


async def test_a_write_that_fails_leaves_no_event(database: Database) -> None:
    def fails(tx: Write) -> None:
        tx.record("chatbot.created")
        raise ValueError

    results = await asyncio.gather(
        database.write("org_1", fails), record(database, 1), record(database, 2), return_exceptions=True
    )
    assert isinstance(results[0], ValueError)
    assert await count(database, events) == 2


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"user_id": "u", "chatbot_id": "cb", "conversation_id": "conv"}, "conv"),
        ({"user_id": "u", "chatbot_id": "cb"}, "cb"),
        ({"user_id": "u"}, "u"),
        ({"rating": "up"}, None),
    ],
)
def test_what_an_event_is_about_orders_it(data: dict[str, str], key: str | None) -> None:
    assert ordering_key(data) == key


def test_a_consumer_has_a_name_of_its_own() -> None:
    subscriptions = Subscriptions()
    subscriptions.add("webhooks", ["chatbot.created"])
    subscriptions.add("audit", [ANY])
    assert subscriptions.of("chatbot.created") == ["webhooks", "audit"]
    assert subscriptions.of("user.login") == ["audit"]
    with pytest.raises(ValueError, match="webhooks"):
        subscriptions.add("webhooks", [ANY])


async def test_a_consumer_hears_of_what_it_wants_in_order(database: Database, opened: Callable[[], Outbox]) -> None:
    ear = Ear(20)
    box = opened()
    box.consumer("ear", ["message.created"], ear)
    async with box:
        await record(database, 0, name="user.login")
        await record(database, *range(20))
        await ear.had()
    assert ear.numbers == list(range(20))
    assert len({event.id for event in ear.heard}) == 20
    assert await count(database) == 0


async def test_what_was_recorded_while_nobody_ran_is_told_later(
    database: Database, opened: Callable[[], Outbox]
) -> None:
    ear = Ear(2)
    box = opened()
    box.consumer("ear", [ANY], ear)
    await record(database, 1, 2)
    assert ear.heard == []
    async with box:
        await ear.had()
    assert ear.numbers == [1, 2]


async def test_a_failure_is_tried_again_after_a_pause_and_its_key_waits_but_no_other(
    database: Database, opened: Callable[[], Outbox], clock: HandClock
) -> None:
    ear, other = Ear(1, failures=1), Ear(1)
    box = opened()
    box.consumer("ear", [ANY], ear)
    box.consumer("other", [ANY], other)
    async with box:
        await record(database, 1)
        await ear.had()
        ear.wanted, ear.enough = 1, asyncio.Event()
        await record(database, 2)
        await record(database, 3, key="conv_2")
        await ear.had()
        await other.had()
        assert ear.numbers == [3]
        ear.wanted, ear.enough = 2, asyncio.Event()
        clock.seconds += 2
        await record(database, 4, key="conv_3", name="wake")
        ear.wanted += 1
        await ear.had()
    assert [n for n in ear.numbers if n < 3] == [1, 2]
    assert [n for n in other.numbers if n < 3] == [1, 2]


async def test_what_fails_for_ever_is_set_aside_and_its_key_goes_on(
    database: Database, opened: Callable[[], Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "TRIES", 1)
    ear = Ear(2, failures=1)
    box = opened()
    box.consumer("ear", [ANY], ear)
    async with box:
        await record(database, 1, 2)
        await ear.had()
    assert ear.numbers == [2]
    async with database.view(PLATFORM) as tx:
        (row,) = await tx.all(select(deliveries))
    assert (row["due"], row["attempts"]) == (None, 1)
    assert "away" in row["error"]
    assert TRIES > 1


async def test_what_a_dead_process_held_is_told_again_when_its_lease_is_over(
    database: Database, opened: Callable[[], Outbox], clock: HandClock
) -> None:
    ear = Ear(1)
    box = opened()
    box.consumer("ear", [ANY], ear)
    await record(database, 1)
    works, _ = await box._take("ear", ear, 8)
    for work in works:
        work.close()  # what a crash leaves: a lease, and nobody who works
    assert (await box._take("ear", ear, 8))[0] == []
    clock.seconds += LEASE + 1
    async with box:
        await ear.had()
    assert ear.numbers == [1]


async def test_two_processes_share_the_work_and_tell_each_event_once(
    database: Database, opened: Callable[[], Outbox]
) -> None:
    ear = Ear(60)
    boxes = [opened(), opened()]
    boxes[0].consumer("ear", [ANY], ear)
    boxes[1]._crews["ear"] = crew.Crew("the other process", lambda free: boxes[1]._take("ear", ear, free), parallel=8)
    async with boxes[0], boxes[1]:
        await asyncio.gather(*(record(database, *range(15), key=f"conv_{k}") for k in range(4)))
        await ear.had()
    for k in range(4):
        assert [e.data["n"] for e in ear.heard if e.key == f"conv_{k}"] == list(range(15))
    assert len(ear.heard) == 60


async def test_what_cannot_end_in_time_is_given_back(
    database: Database, opened: Callable[[], Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "LEAVE", 0.01)
    begun = asyncio.Event()

    async def never(event: Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    box = opened()
    box.consumer("ear", [ANY], never)
    async with box:
        await record(database, 1)
        await begun.wait()
    ear = Ear(1)
    works, _ = await box._take("ear", ear, 8)
    for work in works:
        await work
    assert ear.numbers == [1]


async def test_a_database_that_does_not_answer_is_asked_again(
    database: Database, opened: Callable[[], Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Ear(1)
    box = opened()
    box.consumer("ear", [ANY], ear)
    monkeypatch.setattr(crew, "POLL", 0.01)
    write, broken = database.write, [True, True]

    async def sometimes(*arguments: object) -> object:
        if broken:
            broken.pop()
            raise crew.StoreUnavailable(details="gone")
        return await write(*arguments)  # type: ignore[arg-type]

    await record(database, 1)
    monkeypatch.setattr(database, "write", sometimes)
    async with box:
        await ear.had()
    assert ear.numbers == [1]
