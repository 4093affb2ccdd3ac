"""What models have used: written down once, whatever a provider says and whenever somebody stops waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx2
import pytest

from api._kit.errors import Unavailable
from api._kit.store import Database, Tenant
from api.llm import store
from api.llm.choosing import ANSWER, ChosenModels
from pipelines.ports import Clock
from pipelines.providers.base import LONGEST, TOO_SLOW, ChatMessage, Ending, LlmOptions
from pipelines.providers.openai_compat import Endpoint
from server.core.breaker import Breaker
from tests.contract.house import HandClock
from tests.support.fakes import ScriptedLlm
from tests.support.virtual_time import VirtualClock
from tests.support.virtual_time import run as play

ASKED = [ChatMessage("user", "Hello?")]
TOO_MANY = 10**30


class Counted(ScriptedLlm):
    """Says that it has read `read` tokens."""

    def __init__(self, words: Sequence[str] = ("Well.",), read: int = 7, **more: Any) -> None:
        super().__init__(words, **more)
        self.read = read

    async def stream(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncIterator[str | Ending]:  # type: ignore[override]
        async for word in super().stream(messages, options):
            yield word
        yield Ending("counted", "stop", self.read, 3)


class Hasty(HandClock):
    """Nobody waits by it for longer than a turn of the loop."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def nowhere(endpoint: Endpoint) -> httpx2.AsyncClient:
    raise AssertionError("nobody is to be dialled")


def models(database: Any, own: ScriptedLlm, clock: Clock | None = None) -> ChosenModels:
    vault: Any = None
    return ChosenModels(
        database, vault, clock or Hasty(), own, (), LlmOptions(), connect=nowhere, gate=lambda: Breaker(30.0)
    )


async def asked(models: ChosenModels, organization_id: str) -> None:
    async for _ in models.chosen(organization_id, ["server/chat"]).llm.stream(ASKED, LlmOptions()):
        pass


async def read(database: Database, organization_id: str) -> list[int]:
    """The input tokens of the organisation's rows."""
    async with database.view(organization_id) as tx:
        return [row["input_tokens"] for row in await tx.all(tx.select(store.usage))]


async def until(done: Callable[[], Any]) -> None:
    for _ in range(1000):
        if await done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never was")


class Ledger:
    """A database that keeps what is written to it as often as it is written, and may be slow or away."""

    def __init__(self) -> None:
        self.written: list[Tenant] = []
        self.away = False
        self.go = asyncio.Event()
        self.go.set()

    async def write(self, tenant: Tenant, work: Callable[[Any], Any]) -> None:
        self.written.append(tenant)
        await self.go.wait()
        if self.away:
            raise Unavailable


async def test_a_row_that_cannot_be_written_is_dropped_alone_and_the_others_go_on(database: Database) -> None:
    own = Counted(read=TOO_MANY)
    used = models(database, own)
    running = asyncio.ensure_future(used.run())
    await asked(used, "org_1")
    own.read = 7
    await asked(used, "org_2")
    await until(lambda: read(database, "org_2"))
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})
    assert (await read(database, "org_1"), await read(database, "org_2")) == ([], [7])


async def test_of_an_organisations_rows_only_the_one_that_cannot_be_written_is_dropped(database: Database) -> None:
    own = Counted(read=TOO_MANY)
    used = models(database, own)
    await asked(used, "org_1")
    own.read = 7
    async for _ in used.chosen("org_1", ["server/chat"], chatbot_id="cb_1").llm.stream(ASKED, LlmOptions()):
        pass
    await used.flush()
    assert await read(database, "org_1") == [7]


async def test_who_asks_for_usage_writes_that_of_one_organisation_alone() -> None:
    ledger = Ledger()
    used = models(ledger, Counted())
    await asked(used, "org_1")
    await asked(used, "org_2")
    await used.flush("org_2")
    assert ledger.written == ["org_2"]
    await used.flush()
    assert ledger.written == ["org_2", "org_1"]


async def test_what_was_being_written_when_somebody_stopped_waiting_is_not_written_again() -> None:
    ledger = Ledger()
    used = models(ledger, Counted())
    await asked(used, "org_1")
    ledger.go.clear()
    flushing = asyncio.ensure_future(used.flush())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.wait({flushing})
    ledger.go.set()
    await used.close()
    assert ledger.written == ["org_1"]


async def test_what_the_database_did_not_take_is_written_when_it_is_back() -> None:
    ledger = Ledger()
    used = models(ledger, Counted())
    await asked(used, "org_1")
    used._news["org_1"] = {"acme": "down"}
    ledger.away = True
    with pytest.raises(Unavailable):
        await used.flush()
    assert used._news == {"org_1": {"acme": "down"}}
    ledger.away = False
    await used.flush()
    assert ledger.written == ["org_1", "org_1"]
    assert used._news == {}


def test_a_trial_of_a_model_that_never_ends_is_cut_off() -> None:
    async def trial() -> Any:
        used = models(Ledger(), Counted(["x" * 1000] * 1000), VirtualClock())
        return await used.ask(used.chosen("org_1", ["server/chat"]), "org_1", ASKED)

    made = play(trial())
    assert (made.model_id, len(made.response), made.finish_reason) == ("server/chat", LONGEST, "length")


def test_a_trial_of_a_model_that_drips_text_ends_in_time() -> None:
    async def trial() -> Any:
        used = models(Ledger(), Counted(["x"] * 1000, delay=4.0), VirtualClock())
        return await used.ask(used.chosen("org_1", ["server/chat"]), "org_1", ASKED)

    made = play(trial())
    assert (made.error, made.total_ms) == (TOO_SLOW, ANSWER * 1000)
