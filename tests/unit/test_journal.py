"""The journal's group commit on a real database: what is promised about one message holds for many at once."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from api._kit.errors import Conflict
from api._kit.events import Event
from api._kit.store import PLATFORM, Database, NoTenant, Write
from api.history.store import Journal, conversations, messages
from pipelines.ports import Conversation, JournalUnavailable, Recorded, UnknownConversation
from server.infra import db
from server.infra.clock import Ids
from tests.contract.house import HandClock, copy_of

Heard = list[Event]
TALK = Conversation("conv_1", "org_1", "cb_1", "anonymous_1", "text")


@pytest.fixture
def heard(database: Database) -> Heard:
    """Events that the database announces."""
    events: Heard = []
    database.announce = events.append
    return events


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database, clock=HandClock(), ids=Ids())


def talk(number: int) -> Conversation:
    return Conversation(f"conv_{number}", "org_1", "cb_1", f"user_{number}", "text")


def broken(tx: Write) -> None:
    """A message of a conversation that is not there."""
    row = {"id": "msg_x", "conversation_id": "nowhere", "position": 1, "role": "user", "content": "", "spoken": False}
    tx.run(tx.insert(messages, created_at=1, **row))


async def contents(journal: Journal, conversation: Conversation) -> list[str]:
    return [message.content for message in await journal.recent(conversation, 200)]


async def test_messages_of_many_conversations_at_once_keep_their_order(journal: Journal) -> None:
    said = [(talk(n % 4), f"message {n}") for n in range(80)]
    await asyncio.gather(*(journal.user_message(conversation, words) for conversation, words in said))
    for number in range(4):
        assert await contents(journal, talk(number)) == [f"message {n}" for n in range(number, 80, 4)]


async def test_a_write_that_fails_does_not_take_the_others_along(database: Database, journal: Journal) -> None:
    results = await asyncio.gather(
        journal.user_message(talk(1), "before"),
        database.write("org_1", broken),
        journal.user_message(talk(1), "after"),
        return_exceptions=True,
    )
    assert isinstance(results[1], Conflict)
    assert await contents(journal, talk(1)) == ["before", "after"]


async def test_a_mistake_in_one_write_is_told_to_its_caller_alone(database: Database, journal: Journal) -> None:
    def mistaken(tx: Write) -> None:
        tx.select(messages)

    results = await asyncio.gather(
        database.write(PLATFORM, mistaken), journal.user_message(talk(1), "Hello"), return_exceptions=True
    )
    assert isinstance(results[0], NoTenant)
    assert await contents(journal, talk(1)) == ["Hello"]


async def test_a_write_sees_its_own_organisation_only(database: Database, journal: Journal) -> None:
    await journal.user_message(talk(1), "Hello")

    def rename(tx: Write) -> int:
        return tx.run(tx.update(messages).values(content="Bye"))

    assert await database.write("org_2", rename) == 0
    assert await contents(journal, talk(1)) == ["Hello"]


async def test_both_copies_of_a_message_in_one_batch_are_kept_once(journal: Journal) -> None:
    await journal.user_message(TALK, "first")
    copies = await asyncio.gather(*(journal.user_message(TALK, "Hello", client_id="m1") for _ in range(2)))
    assert [copy.duplicate for copy in copies] == [False, True]
    assert copies[0].message_id == copies[1].message_id
    assert await contents(journal, TALK) == ["first", "Hello"]


async def test_a_message_that_comes_again_says_whether_it_was_answered(journal: Journal) -> None:
    first = await journal.user_message(TALK, "Hello", client_id="m1")
    assert not (await journal.user_message(TALK, "Hello", client_id="m1")).answered
    await journal.assistant_message(TALK, "msg_a", "Hi.", finish_reason="stop")
    await journal.user_message(TALK, "How are you?", client_id="m2")
    assert (await journal.user_message(TALK, "Hello", client_id="m1")) == Recorded(
        first.message_id, True, answered=True
    )
    assert not (await journal.user_message(TALK, "How are you?", client_id="m2")).answered


async def test_what_comes_after_its_deletion_does_not_bring_a_conversation_back(
    database: Database, journal: Journal
) -> None:
    await journal.user_message(TALK, "Hello")
    async with database.uow(TALK.organization_id) as tx:
        await tx.run(tx.delete(conversations).where(conversations.c.id == TALK.id))
        await tx.commit()
    with pytest.raises(UnknownConversation):
        await journal.assistant_message(TALK, "msg_a", "Hi.", finish_reason="stop")
    with pytest.raises(UnknownConversation):
        await journal.user_message(replace(TALK, kept=True), "Are you there?")
    assert await contents(journal, TALK) == []


async def test_events_are_announced_once_after_the_commit(
    database: Database,
    journal: Journal,
    heard: Heard,
) -> None:
    await asyncio.gather(
        journal.user_message(TALK, "Hello", client_id="m1"),
        journal.user_message(TALK, "Hello", client_id="m1"),
        database.write("org_1", broken),
        return_exceptions=True,
    )
    assert [happened.name for happened in heard] == ["conversation.started", "message.created"]


async def test_a_message_whose_sender_has_gone_is_kept(journal: Journal, heard: Heard) -> None:
    saying = asyncio.create_task(journal.user_message(TALK, "Hello"))
    await asyncio.sleep(0)
    saying.cancel()
    await asyncio.wait({saying})
    await journal.user_message(TALK, "Still there?")
    assert saying.cancelled()
    assert await contents(journal, TALK) == ["Hello", "Still there?"]
    assert len(heard) == 3


async def test_closing_commits_what_was_accepted(database: Database, journal: Journal, heard: Heard) -> None:
    saying = [asyncio.create_task(journal.user_message(TALK, f"message {n}")) for n in range(10)]
    await asyncio.sleep(0)
    await database.close()
    assert [task.result().duplicate for task in saying] == [False] * 10
    with pytest.raises(JournalUnavailable):
        await journal.user_message(TALK, "too late")


async def test_messages_and_units_of_work_take_turns(database: Database, journal: Journal) -> None:
    async def unit(number: int) -> None:
        async with database.uow("org_1") as tx:
            await tx.run(tx.update(messages).values(rating="good"))
            await tx.commit()

    await asyncio.gather(*(journal.user_message(TALK, f"{n}") for n in range(10)), *(unit(n) for n in range(10)))
    assert await contents(journal, TALK) == [f"{n}" for n in range(10)]


async def test_a_commit_is_on_the_disk_when_it_returns(database: Database) -> None:
    await db.check_durable(database)


async def test_a_database_that_does_not_wait_for_its_disk_is_refused(tmp_path: Path) -> None:
    engine = db.engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    careless = Database(engine, clock=HandClock(), ids=Ids())
    event.listen(engine.sync_engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))
    with pytest.raises(db.NotDurable):
        await db.check_durable(careless)
    await careless.close()


async def test_a_locked_database_refuses_all_who_wait_and_works_again_later(
    templates: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(db, "BUSY_MS", 1)
    url = copy_of(Path(templates["sqlite"]), tmp_path)
    opened = db.connect(url)
    journal = Journal(opened, clock=HandClock(), ids=Ids())
    other = sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused = await asyncio.gather(
        *(journal.user_message(TALK, f"lost {n}", client_id=f"m{n}") for n in range(100)), return_exceptions=True
    )
    assert {type(error).__name__ for error in refused} == {"StoreUnavailable"}
    assert all(isinstance(error, JournalUnavailable) for error in refused)
    other.execute("ROLLBACK")
    other.close()
    assert not (await journal.user_message(TALK, "lost 0", client_id="m0")).duplicate
    assert await contents(journal, TALK) == ["lost 0"]
    await opened.close()
