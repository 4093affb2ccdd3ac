"""The database: one schema on both engines, units of work that keep all or nothing, each organisation's own rows."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from api._kit.errors import Conflict, Unavailable
from api._kit.store import PLATFORM, Database, NoTenant, metadata
from api.chatbots import store as chatbots
from api.history.store import Journal
from pipelines.ports import Bot, Conversation, JournalUnavailable, UnknownConversation
from server.infra import db
from server.infra.clock import Ids
from tests.contract.house import HandClock, copy_of

BOT = Bot("cb_1", "org_1", "Ava", "text", "en-US", "You are Ava.")
TALK = Conversation("conv_1", "org_1", "cb_1", "anonymous_1", "text")


def bot_row(name: str = "Ava", **more: Any) -> dict[str, Any]:
    return {
        "id": f"cb_{name}",
        "name": name,
        "type": "3d",
        "avatar_id": None,
        "voice_id": None,
        "language": "en-US",
        "languages": [],
        "purpose": None,
        "status": "draft",
        "identity_mode": "off",
        "settings": {},
        "published_version": None,
        "created_by": None,
        "created_at": 1,
        "updated_at": 1,
        **more,
    }


async def test_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    await db.migrate(url)

    def common(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or not (name or "").startswith("message_words")

    def difference(connection: Connection) -> Any:
        options = {"compare_type": True, "include_name": common}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    engine = db.engine(url)
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(difference) == []
    finally:
        await engine.dispose()


async def test_migrating_twice_at_once_does_no_harm(url: str) -> None:
    await asyncio.gather(db.migrate(url), db.migrate(url))


async def test_what_is_not_committed_is_not_kept(database: Database) -> None:
    async with database.uow("org_1") as tx:
        await chatbots.create(tx, bot_row())
    async with database.view("org_1") as tx:
        assert await chatbots.find(tx, "cb_Ava") is None


async def test_what_is_committed_is_kept(database: Database) -> None:
    async with database.uow("org_1") as tx:
        await chatbots.create(tx, bot_row())
        await tx.commit()
    async with database.view("org_1") as tx:
        assert (await chatbots.find(tx, "cb_Ava") or {})["name"] == "Ava"


async def test_another_organisation_sees_nothing(database: Database) -> None:
    async with database.uow("org_1") as tx:
        await chatbots.create(tx, bot_row())
        await tx.commit()
    async with database.view("org_2") as tx:
        assert await chatbots.find(tx, "cb_Ava") is None


async def test_the_platform_may_not_ask_for_an_organisations_rows(database: Database) -> None:
    async with database.view(PLATFORM) as tx:
        with pytest.raises(NoTenant):
            await chatbots.find(tx, "cb_Ava")


async def test_a_name_is_free_again_when_its_bot_is_in_the_trash(database: Database) -> None:
    async with database.uow("org_1") as tx:
        assert await chatbots.create(tx, bot_row())
        assert not await chatbots.create(tx, bot_row(id="cb_2"))
        await chatbots.change(tx, "cb_Ava", {"status": "trashed"})
        assert await chatbots.create(tx, bot_row(id="cb_2"))


async def test_a_broken_constraint_is_a_conflict(database: Database) -> None:
    async def insert_twice() -> None:
        async with database.uow("org_1") as tx:
            await tx.run(tx.insert(chatbots.chatbots, **bot_row()))
            await tx.run(tx.insert(chatbots.chatbots, **bot_row()))

    with pytest.raises(Conflict):
        await insert_twice()


async def test_events_are_heard_after_the_commit_and_only_then(database: Database) -> None:
    heard: list[str] = []
    telling = Database(database.engine, clock=HandClock(), ids=Ids(), announce=lambda event: heard.append(event.name))
    async with telling.uow("org_1") as tx:
        tx.record("chatbot.created")
    assert heard == []
    async with telling.uow("org_1") as tx:
        tx.record("chatbot.created")
        await tx.commit()
        assert heard == []
    assert heard == ["chatbot.created"]


async def test_many_writers_queue_instead_of_failing(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.uow("org_1") as tx:
            await chatbots.create(tx, bot_row(f"bot{number}"))
            await tx.commit()

    await asyncio.gather(*(write(number) for number in range(20)))
    async with database.view("org_1") as tx:
        assert len(await tx.all(tx.select(chatbots.chatbots))) == 20


async def test_sqlite_commits_are_on_the_disk(tmp_path: Path) -> None:
    engine = db.engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    async with engine.connect() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys")
        found = [(await connection.execute(text(f"PRAGMA {name}"))).scalar() for name in names]
    await engine.dispose()
    assert found == ["wal", 2, 1]


async def test_a_locked_database_is_unavailable_and_not_a_crash(
    templates: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BUSY_MS", 1)
    url = copy_of(Path(templates["sqlite"]), tmp_path)
    one, other = db.connect(url), db.connect(url)

    async def write(database: Database) -> None:
        async with database.uow("org_1") as tx:
            await chatbots.create(tx, bot_row())

    async with one.uow("org_1") as tx:
        await chatbots.create(tx, bot_row())
        with pytest.raises(Unavailable) as refused:
            await write(other)
    assert refused.value.headers["Retry-After"] == "1"
    assert isinstance(refused.value, JournalUnavailable)
    await one.close()
    await other.close()


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(ValueError, match="SQLite or PostgreSQL"):
        db.engine("mysql://localhost/a")


# --- the journal ---


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def journal(database: Database, clock: HandClock) -> Journal:
    return Journal(database, clock=clock, ids=Ids())


async def test_a_conversation_begins_with_its_first_message(journal: Journal) -> None:
    with pytest.raises(UnknownConversation):
        await journal.resume(BOT, TALK.user_id, TALK.id)
    await journal.user_message(TALK, "Hello")
    assert await journal.resume(BOT, TALK.user_id, TALK.id) == replace(TALK, kept=True)


async def test_messages_come_back_in_their_order(journal: Journal) -> None:
    await journal.user_message(TALK, "one")
    await journal.assistant_message(TALK, "msg_2", "two", finish_reason="stop")
    await journal.user_message(TALK, "three")
    assert [(m.role, m.content) for m in await journal.recent(TALK, 2)] == [("assistant", "two"), ("user", "three")]


async def test_an_interrupted_reply_counts_as_what_was_heard(journal: Journal) -> None:
    await journal.user_message(TALK, "go on")
    await journal.assistant_message(TALK, "msg_1", "one two three", finish_reason="cancelled", heard="one two")
    await journal.assistant_message(TALK, "msg_2", "never heard", finish_reason="cancelled", heard="")
    assert [m.content for m in await journal.recent(TALK, 9)] == ["go on", "one two"]


async def test_a_message_that_is_sent_again_is_kept_once(journal: Journal) -> None:
    first = await journal.user_message(TALK, "Hello", client_id="m1")
    again = await journal.user_message(TALK, "Hello", client_id="m1")
    assert (again.message_id, first.duplicate, again.duplicate) == (first.message_id, False, True)
    assert len(await journal.recent(TALK, 9)) == 1


async def test_a_message_that_is_sent_many_times_at_once_is_kept_once(journal: Journal) -> None:
    kept = await asyncio.gather(*(journal.user_message(TALK, "Hello", client_id="m1") for _ in range(8)))
    assert len({recorded.message_id for recorded in kept}) == 1
    assert sum(not recorded.duplicate for recorded in kept) == 1


async def test_nobody_elses_conversation_can_be_resumed(journal: Journal) -> None:
    await journal.user_message(TALK, "Hello")
    with pytest.raises(UnknownConversation):
        await journal.resume(BOT, "anonymous_2", TALK.id)


async def test_the_newest_conversation_of_the_day_goes_on(journal: Journal, clock: HandClock) -> None:
    await journal.user_message(TALK, "Hello")
    assert (await journal.open(BOT, TALK.user_id, "text")).id == TALK.id
    await clock.sleep(24 * 3600 + 1)
    assert (await journal.open(BOT, TALK.user_id, "text")).id != TALK.id
