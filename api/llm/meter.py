"""What models use, counted beside the turns: nobody waits for it, and nothing of it is lost when the database is away.

A provider's own count is taken where it gives one; else it is estimated (`pipelines.core.template.tokens`), as for
answers that were cut off.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

import structlog

from pipelines.core.template import tokens
from pipelines.ports import Clock
from pipelines.providers.base import ChatMessage, Ending, Llm, LlmCapabilities, LlmOptions, ProviderError

PAUSE: Final = 1.0
"""Seconds in which uses are gathered before they are written."""
MOST: Final = 10_000
"""Sums that wait to be written, at most."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Price:
    """Millionths of a US dollar for a million tokens."""

    input: int
    output: int

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """Millionths of a US dollar, rounded half up."""
        return (input_tokens * self.input + output_tokens * self.output + 500_000) // 1_000_000


@dataclass(frozen=True, slots=True)
class SpentBy:
    """By whom. Without a chatbot or a user it is empty: models can be tried out."""

    organization_id: str
    day: str
    chatbot_id: str
    model_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Spent:
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    errors: int = 0
    cost: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.requests + other.requests,
            self.errors + other.errors,
            self.cost + other.cost,
        )


class Spending:
    """Sums that wait to be written. Belongs to the running loop."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[SpentBy, Spent]] = {}
        self._some = asyncio.Event()

    def add(self, by: SpentBy, spent: Spent) -> None:
        sums = self._sums.setdefault(by.organization_id, {})
        if by not in sums and sum(map(len, self._sums.values())) >= MOST:
            log.error("usage not counted: too much waits for the database", organization_id=by.organization_id)
            return
        sums[by] = sums.get(by, Spent()) + spent
        self._some.set()

    def waiting(self) -> Sequence[str]:
        """The organisations that have sums here."""
        return list(self._sums)

    def take(self, organization_id: str) -> Mapping[SpentBy, Spent]:
        """All sums of an organisation; give back with `add` what could not be written."""
        taken = self._sums.pop(organization_id, {})
        if not self._sums:
            self._some.clear()
        return taken

    async def gathered(self, clock: Clock) -> None:
        """Until there is something to write."""
        await self._some.wait()
        await clock.sleep(PAUSE)


@dataclass(frozen=True, slots=True)
class Use:
    """One request to a model, as it ended. `failure` is None unless the model said what is wrong; it is also `unheard`
    when it was given up before its first word."""

    input_tokens: int
    output_tokens: int
    failure: ProviderError | None
    unheard: bool


class Metered:
    """A model under its public `id`, each use of which is told to `used` when it is over."""

    def __init__(
        self, id: str, llm: Llm, used: Callable[[Use], None], *, frequency_penalty: float | None = None
    ) -> None:
        self._id, self._llm, self._used, self._penalty = id, llm, used, frequency_penalty

    @property
    def capabilities(self) -> LlmCapabilities:
        return replace(self._llm.capabilities, model=self._id)

    async def stream(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncGenerator[str | Ending]:
        """The model's deltas, and an ending that has counts. Raises ProviderError."""
        if self._penalty is not None:
            options = replace(options, frequency_penalty=self._penalty)
        said: list[str] = []
        ending: Ending | None = None
        failure: ProviderError | None = None
        try:
            async with aclosing(self._llm.stream(messages, options)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if isinstance(piece, Ending):
                        ending = piece
                    else:
                        said.append(piece)
                        yield piece
            yield self._counted(ending or Ending(self._id), messages, said)
        except ProviderError as error:
            failure = error
            raise
        finally:
            counted = self._counted(ending or Ending(self._id), messages, said)
            free = failure is not None and not said
            unheard = not said and ending is None
            self._used(Use(0 if free else counted.input_tokens or 0, counted.output_tokens or 0, failure, unheard))

    async def warm(self, messages: Sequence[ChatMessage]) -> None:
        """Raises ProviderError."""
        await self._llm.warm(messages)

    def _counted(self, ending: Ending, messages: Sequence[ChatMessage], said: Sequence[str]) -> Ending:
        read, written = ending.input_tokens, ending.output_tokens
        return replace(
            ending,
            model=self._id,
            input_tokens=sum(tokens(m.content) for m in messages) if read is None else read,
            output_tokens=tokens("".join(said)) if written is None else written,
        )
