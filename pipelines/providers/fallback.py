"""One language model of several: another one is asked only while nothing has been said."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from pipelines.ports import Clock
from pipelines.providers.base import TOO_SLOW, ChatMessage, Ending, Llm, LlmCapabilities, LlmOptions, ProviderError


class Gate(Protocol):
    """A circuit breaker: whether to ask a model, by how it has done. Times are monotonic seconds."""

    def allows(self, now: float) -> bool: ...

    def succeeded(self) -> None: ...

    def failed(self, now: float, pause: float | None = None) -> None:
        """`pause` is how long the model itself wants to be left alone."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, and the gate of all conversations with it."""

    llm: Llm
    gate: Gate


class Fallback:
    """Asks the models in their order, each for `timeout` seconds at most until its first word.

    What one has said stays said: a model that fails after its first word fails the answer. A model whose gate is shut
    is left out, as long as another one is not; the last hope is asked whatever its gate says.
    """

    def __init__(self, candidates: Sequence[Candidate], *, clock: Clock, timeout: float) -> None:
        self._candidates, self._clock, self._timeout = candidates, clock, timeout

    @property
    def capabilities(self) -> LlmCapabilities:
        return self._candidates[0].llm.capabilities

    async def stream(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncGenerator[str | Ending]:
        """What the first model says that says anything. Raises ProviderError: the last model's."""
        failure = ProviderError("no model", retryable=True, public=TOO_SLOW)
        for candidate in self._willing():
            async with aclosing(candidate.llm.stream(messages, options)) as pieces:  # type: ignore[type-var]
                try:
                    async with asyncio.timeout(self._timeout):
                        said = await _beginning(pieces)
                except (ProviderError, TimeoutError) as error:
                    failure = error if isinstance(error, ProviderError) else _SILENT
                    candidate.gate.failed(self._clock.monotonic(), failure.retry_after)
                    continue
                candidate.gate.succeeded()
                yield said
                try:
                    async for piece in pieces:
                        yield piece
                except ProviderError as error:
                    candidate.gate.failed(self._clock.monotonic(), error.retry_after)
                    raise
                return
        raise failure

    async def warm(self, messages: Sequence[ChatMessage]) -> None:
        """Only the first model is kept warm. Raises ProviderError."""
        await self._candidates[0].llm.warm(messages)

    def _willing(self) -> Iterator[Candidate]:
        """Each gate is asked when it is that model's turn: to be let through a shut one is to be the one who tries."""
        nobody = True
        for one in self._candidates:
            if one.gate.allows(self._clock.monotonic()):
                nobody = False
                yield one
        if nobody:
            yield self._candidates[0]


_SILENT = ProviderError("no word in time", retryable=True, public=TOO_SLOW)


async def _beginning(pieces: AsyncIterator[str | Ending]) -> str:
    """The first text that is not blank. Raises ProviderError when there is none."""
    async for piece in pieces:
        if isinstance(piece, str) and piece.strip():
            return piece
    raise ProviderError("the model ended without a word", retryable=True, public="The model gave no answer.")
