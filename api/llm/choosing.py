"""Which model answers for which bot: the server's own, or those of the providers that its organisation has a key for.

Nothing here waits for the database while a turn goes on but the first question to a provider, whose key is then
remembered for a while. When the database does not answer, the key that was known last is used.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import httpx2
import structlog

from api._kit.errors import Unavailable
from api._kit.ports import CannotOpen, ModelInfo, Trial, Vault
from api._kit.store import Database, Write
from api.llm import store
from api.llm.catalogue import OWN, SERVER, UNKNOWN_CONTEXT, Known, info, known
from api.llm.meter import Metered, Price, Spending, Spent, SpentBy, Use
from pipelines.ports import Bot, Chosen, Clock
from pipelines.providers.base import (
    LONGEST,
    TOO_SLOW,
    ChatMessage,
    Ending,
    Llm,
    LlmCapabilities,
    LlmOptions,
    ProviderError,
)
from pipelines.providers.fallback import Candidate, Fallback, Gate
from pipelines.providers.openai_compat import MISCONFIGURED, Endpoint, OpenAiLlm

REMEMBERED: Final = 30.0
"""Seconds for which a provider's key is remembered: how late another process notices a new one."""
OPEN: Final = 256
"""Models of providers whose connections are kept, at most, as long as the others were used in the last `IDLE`."""
IDLE: Final = 900.0
LOCAL_PENALTY: Final = 0.4
"""The frequency penalty that keeps the smallest models from saying a thing again and again."""
ANSWER: Final = 60.0
"""Seconds that a whole answer may take when a model is tried out."""
Connect = Callable[[Endpoint], httpx2.AsyncClient]
Batch = tuple[Mapping[SpentBy, Spent], Mapping[str, str | None]]
"""Sums, and what is new of providers by their names."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider with its key, as it was when it was read."""

    endpoint: Endpoint
    models: Mapping[str, Known]
    until: float


@dataclass(slots=True)
class Open:
    """A model of a provider that is being used."""

    llm: OpenAiLlm
    gate: Gate
    used: float


def context_of(organization_id: str, provider: str) -> str:
    """What a provider's key is sealed for."""
    return f"llm.key:{organization_id}:{provider}"


@dataclass(slots=True)
class ChosenModels:
    """Fills the ports `Models` of the engine and `LanguageModels` of the services.

    `own` is the server's model, `installed` all that it has; `connect` dials what strangers name, through the guard.
    `patience` is how many seconds a model has for its first word, unless the bot says otherwise.
    """

    database: Database
    vault: Vault
    clock: Clock
    own: Llm
    installed: Sequence[ModelInfo]
    options: LlmOptions
    connect: Connect
    gate: Callable[[], Gate]
    patience: float = 5.0
    _providers: dict[tuple[str, str], Provider] = field(default_factory=dict)
    _open: dict[tuple[str, str], Open] = field(default_factory=dict)
    _own_gate: Gate | None = None
    _spending: Spending = field(default_factory=Spending)
    _news: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def choose(self, bot: Bot, user_id: str = "") -> Chosen:
        """Never waits and never fails."""
        if bot.model is None:
            return self.chosen(bot.organization_id, [OWN], chatbot_id=bot.id, user_id=user_id)
        ids = [bot.model.model_id, *bot.model.fallbacks]
        return self.chosen(bot.organization_id, ids, chatbot_id=bot.id, user_id=user_id, params=dict(bot.model.params))

    def chosen(
        self,
        organization_id: str,
        model_ids: Sequence[str],
        *,
        chatbot_id: str = "",
        user_id: str = "",
        params: Mapping[str, Any] | None = None,
    ) -> Chosen:
        """The first of the models, with the others to fall back on."""
        params = params or {}
        options = replace(self.options, **{n: params[n] for n in ("temperature", "max_tokens") if n in params})
        patience = params["timeout_ms"] / 1000 if "timeout_ms" in params else self.patience
        by = SpentBy(organization_id, "", chatbot_id, "", user_id)
        candidates = [self._candidate(id, by) for id in dict.fromkeys(model_ids)]
        if len(candidates) == 1:
            return Chosen(candidates[0].llm, options, patience)
        chain = Fallback(candidates, clock=self.clock, timeout=patience)
        return Chosen(chain, options, patience * len(candidates))

    async def ask(self, chosen: Chosen, organization_id: str, messages: Sequence[ChatMessage]) -> Trial:
        """One answer, of which `LONGEST` characters are kept; a failure is in it."""
        began = self.clock.monotonic()
        said: list[str] = []
        length = 0
        first: float | None = None
        ending: Ending | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(ANSWER), aclosing(chosen.llm.stream(messages, chosen.options)) as pieces:  # type: ignore[type-var]
                while length < LONGEST:
                    try:
                        async with asyncio.timeout(chosen.patience if first is None else ANSWER):
                            piece = await anext(pieces)
                    except StopAsyncIteration:
                        break
                    if isinstance(piece, Ending):
                        ending = piece
                    elif piece:
                        first = self.clock.monotonic() - began if first is None else first
                        said.append(piece[: LONGEST - length])
                        length += len(said[-1])
                else:
                    ending = Ending(chosen.llm.capabilities.model, "length")
        except (ProviderError, TimeoutError) as failure:
            error = failure.public if isinstance(failure, ProviderError) else TOO_SLOW
        if not said and error is None:
            error = "The model gave no answer."
        read, written = (ending.input_tokens or 0, ending.output_tokens or 0) if ending else (0, 0)
        price = self._price(organization_id, ending.model) if ending else None
        return Trial(
            model_id=ending.model if ending else None,
            response="".join(said).strip(),
            finish_reason=ending.finish_reason if ending else None,
            first_token_ms=None if first is None else round(first * 1000, 1),
            total_ms=round((self.clock.monotonic() - began) * 1000, 1),
            input_tokens=read,
            output_tokens=written,
            cost=price.cost(read, written) if price else None,
            error=error,
        )

    async def listed(self, organization_id: str) -> Sequence[ModelInfo]:
        """Every model that the organisation can use."""
        async with self.database.view(organization_id) as tx:
            rows = await store.every(tx)
        found = [*self.installed]
        for row in rows:
            for model in known(row["name"], row["models"]).values():
                one = info(row["name"], model, region=row["region"], healthy=row["status"] == "ok")
                found += [one] if one else []
        return found

    def forget(self, organization_id: str, provider: str) -> None:
        """The provider's key has changed or is gone."""
        self._providers.pop((organization_id, provider), None)
        self._news.get(organization_id, {}).pop(provider, None)

    async def flush(self, organization_id: str | None = None) -> None:
        """Write down what was used, by one organisation or by all. Raises Unavailable; nothing is lost then.

        What is being written is written once, also when nobody waits for it any more.
        """
        for one in dict.fromkeys([*self._spending.waiting(), *self._news]):
            if organization_id in (None, one):
                await asyncio.shield(self._flush(one))

    async def _flush(self, organization_id: str) -> None:
        batches: list[Batch] = [(self._spending.take(organization_id), self._news.pop(organization_id, {}))]
        while batches:
            sums, news = batches[-1]
            try:
                await self.database.write(organization_id, partial(_write, sums, news))
                batches.pop()
            except Unavailable:
                for sums, news in batches:
                    self._restore(organization_id, sums, news)
                raise
            except Exception as error:  # the last resort: what a provider counted costs no row but its own
                batches.pop()
                if len(sums) + len(news) == 1:
                    log.error("usage lost", organization_id=organization_id, sums=str(sums)[:500], reason=repr(error))
                    continue
                batches += [({by: spent}, {}) for by, spent in sums.items()]
                batches += [({}, {name: told}) for name, told in news.items()]

    def _restore(self, organization_id: str, sums: Mapping[SpentBy, Spent], news: Mapping[str, str | None]) -> None:
        for by, spent in sums.items():
            self._spending.add(by, spent)
        for name, error in news.items():
            self._news.setdefault(organization_id, {}).setdefault(name, error)

    async def run(self) -> None:
        """Write down what is used, for as long as the server runs; at its end write down what is left, and hang up.

        While the database is away uses are kept; what cannot be written at the end is lost.
        """
        try:
            while True:
                await self._spending.gathered(self.clock)
                try:
                    await self.flush()
                except Unavailable:
                    await self.clock.sleep(REMEMBERED)
                for llm in self._retire():
                    await llm.close()
        finally:
            await self.close()

    async def close(self) -> None:
        """Write down what is left, as far as that is possible, and hang up."""
        with suppress(Unavailable):
            await self.flush()
        for one in self._open.values():
            await one.llm.close()
        self._open.clear()

    def _candidate(self, model_id: str, by: SpentBy) -> Candidate:
        provider = model_id.partition("/")[0]
        used = partial(self._used, replace(by, model_id=model_id), provider)
        if provider == SERVER:
            self._own_gate = self._own_gate or self.gate()
            penalty = LOCAL_PENALTY if self.own.capabilities.local else None
            return Candidate(Metered(model_id, self.own, used, frequency_penalty=penalty), self._own_gate)
        one = self._opened(by.organization_id, model_id)
        return Candidate(Metered(model_id, one.llm, used), one.gate)

    def _opened(self, organization_id: str, model_id: str) -> Open:
        key, now = (organization_id, model_id), self.clock.monotonic()
        one = self._open.pop(key, None)
        if one is None:
            provider, _, name = model_id.partition("/")
            llm = OpenAiLlm(
                self._endpoint(organization_id, provider),
                LlmCapabilities(name, UNKNOWN_CONTEXT, local=False),
                connect=self.connect,
            )
            one = Open(llm, self.gate(), now)
        one.used = now
        self._open[key] = one  # the longest unused is first
        return one

    def _retire(self) -> Sequence[OpenAiLlm]:
        """Those to hang up: there are many, and nobody has used these for longer than an answer takes."""
        before, retired = self.clock.monotonic() - IDLE, []
        while len(self._open) > OPEN and self._open[oldest := next(iter(self._open))].used < before:
            retired.append(self._open.pop(oldest).llm)
        return retired

    def _endpoint(self, organization_id: str, provider: str) -> Callable[[], Awaitable[Endpoint]]:
        async def endpoint() -> Endpoint:
            return (await self._provider(organization_id, provider)).endpoint

        return endpoint

    async def _provider(self, organization_id: str, name: str) -> Provider:
        """Raises ProviderError when the organisation has no such provider, or its key cannot be read."""
        key, now = (organization_id, name), self.clock.monotonic()
        found = self._providers.get(key)
        if found is not None and found.until > now:
            return found
        try:
            async with self.database.view(organization_id) as tx:
                row = await store.find(tx, name)
        except Unavailable as error:
            if found is None:
                raise ProviderError("keys cannot be read", retryable=True, public=TOO_SLOW) from error
            return found
        if row is None:
            self._providers.pop(key, None)
            raise ProviderError(f"no provider {name}", retryable=False, public=MISCONFIGURED)
        try:
            secret = self.vault.open(row["key_sealed"], context_of(organization_id, name)).decode()
        except CannotOpen as error:
            raise ProviderError("the key cannot be opened", retryable=False, public=MISCONFIGURED) from error
        found = Provider(Endpoint(row["base_url"], secret), known(name, row["models"]), now + REMEMBERED)
        self._providers[key] = found
        return found

    def _price(self, organization_id: str, model_id: str) -> Price | None:
        """None where nobody knows it; an embedded model costs nothing a token."""
        provider, _, name = model_id.partition("/")
        if provider == SERVER:
            return Price(0, 0) if self.own.capabilities.local else None
        found = self._providers.get((organization_id, provider))
        model = found.models.get(name) if found else None
        return model.price if model else None

    def _used(self, by: SpentBy, provider: str, use: Use) -> None:
        price = self._price(by.organization_id, by.model_id)
        cost = price.cost(use.input_tokens, use.output_tokens) if price else 0
        day = datetime.fromtimestamp(self.clock.now(), UTC).strftime("%Y-%m-%d")
        failed = int(use.failure is not None or use.unheard)
        self._spending.add(replace(by, day=day), Spent(use.input_tokens, use.output_tokens, 1, failed, cost))
        if provider == SERVER or (by.organization_id, provider) not in self._providers:
            return
        told = str(use.failure).partition(":")[0][:100] if use.failure else None
        self._news.setdefault(by.organization_id, {})[provider] = told


def _write(sums: Mapping[SpentBy, Spent], news: Mapping[str, str | None], write: Write) -> None:
    for by, spent in sums.items():
        store.spend(write, by, spent)
    for name, error in news.items():
        store.note(write, name, error)
