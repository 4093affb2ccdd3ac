"""Chat by any OpenAI-compatible endpoint, embedded or remote, through the `openai` client."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletionChunk

from pipelines.providers.base import TOO_SLOW, ChatMessage, Ending, LlmCapabilities, LlmOptions, ProviderError

UNAVAILABLE = "I cannot answer just now. Please try again in a moment."
MISCONFIGURED = "I am not set up correctly and cannot answer. The owner of this assistant has to mend it."
TOO_LONG = "That is more than I can think about at once. Please ask with fewer words."

LOCAL_PAUSE = 0.05
CONNECT: Final = 5.0
DEAD_SECONDS: Final = 600.0
"""Silence after which a connection is dead. Whoever asks gives up much earlier."""

MOST_TOKENS: Final = 10**9
"""A larger count of one answer's tokens is not believed."""

_ENDS: Final[Mapping[str, Literal["stop", "length", "blocked"]]] = {"length": "length", "content_filter": "blocked"}
Weather = (openai.APIError, httpx2.HTTPError, json.JSONDecodeError)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, and with which key. A `local` one is never reached through the environment's proxy."""

    base_url: str
    api_key: str
    local: bool = False


class OpenAiLlm:
    """`endpoint` is asked before every call, because an embedded server that was restarted has another port.

    How long an answer may take is the caller's to say: it closes the iterator, and with it the connection.
    Parameters that an endpoint says it does not know are left out from then on. An endpoint that a stranger names needs
    a `connect` that guards where it goes.
    """

    def __init__(
        self,
        endpoint: Callable[[], Awaitable[Endpoint]],
        capabilities: LlmCapabilities,
        *,
        connect: Callable[[Endpoint], httpx2.AsyncClient] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._connect = connect or _trusting
        self._capabilities = capabilities
        self._clients: dict[Endpoint, AsyncOpenAI] = {}
        self._unknown: frozenset[str] = frozenset()

    @property
    def capabilities(self) -> LlmCapabilities:
        return self._capabilities

    async def stream(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncGenerator[str | Ending]:
        """Text deltas, then how it ended. Closing the iterator closes the connection. Raises ProviderError."""
        reason, usage = None, None
        try:
            async with await self._ask(messages, options) as response:
                async for piece in response:
                    usage = piece.usage or usage
                    if not piece.choices:
                        continue
                    choice = piece.choices[0]
                    reason = choice.finish_reason or reason
                    if text := choice.delta.content:
                        yield text
        except Weather as error:
            raise translated(error) from error
        yield Ending(
            self._capabilities.model,
            _ENDS.get(reason or "stop", "stop"),
            _count(usage, "prompt_tokens"),
            _count(usage, "completion_tokens"),
        )

    async def warm(self, messages: Sequence[ChatMessage]) -> None:
        """Let the server read a prompt's beginning now, so that it need not when the question comes. Raises
        ProviderError."""
        async for _ in self.stream(messages, LlmOptions(max_tokens=1)):
            pass

    async def close(self) -> None:
        """Close the connections; the provider may be used again."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    async def _ask(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncStream[ChatCompletionChunk]:
        # As an extra, because the client walks through its arguments' types: milliseconds for a long history.
        said = [{"role": message.role, "content": message.content} for message in messages]
        while True:
            endpoint = await self._endpoint()
            wanted: dict[str, Any] = {
                "max_tokens": options.max_tokens,
                "temperature": options.temperature,
                "stream_options": {"include_usage": True},
            }
            if options.frequency_penalty:
                wanted["frequency_penalty"] = options.frequency_penalty
            if options.stop:
                wanted["stop"] = list(options.stop)
            if "max_tokens" in self._unknown:
                wanted["max_completion_tokens"] = options.max_tokens
            try:
                client = await self._client(endpoint)
                response = await client.chat.completions.create(
                    model=self._capabilities.model,
                    messages=[],
                    extra_body={"messages": said},
                    stream=True,
                    **{name: value for name, value in wanted.items() if name not in self._unknown},
                )
                return cast(AsyncStream[ChatCompletionChunk], response)
            except openai.APITimeoutError:
                raise
            except openai.APIConnectionError:
                if not endpoint.local:
                    raise
                await asyncio.sleep(LOCAL_PAUSE)  # it is being restarted; the caller's patience ends this
            except openai.BadRequestError as error:
                if error.param not in wanted or error.param in self._unknown:
                    raise
                self._unknown |= {error.param}

    async def _client(self, endpoint: Endpoint) -> AsyncOpenAI:
        client = self._clients.get(endpoint)
        if client is None:
            await self.close()
            client = self._clients[endpoint] = AsyncOpenAI(
                base_url=endpoint.base_url,
                api_key=endpoint.api_key or "none",
                max_retries=0,
                timeout=httpx2.Timeout(DEAD_SECONDS, connect=CONNECT),
                http_client=self._connect(endpoint),
            )
        return client


def _count(usage: object, name: str) -> int | None:
    """Tokens as an endpoint counts them. The client checks no types, and a stranger's endpoint may say anything."""
    count = getattr(usage, name, None)
    return count if type(count) is int and 0 <= count <= MOST_TOKENS else None


def _trusting(endpoint: Endpoint) -> httpx2.AsyncClient:
    """For an endpoint that the operator chose: wherever it is."""
    return DefaultAsyncHttpxClient(trust_env=not endpoint.local)


def fixed(endpoint: Endpoint) -> Callable[[], Awaitable[Endpoint]]:
    """An endpoint that stays where it is."""

    async def answer() -> Endpoint:
        return endpoint

    return answer


def translated(error: Exception) -> ProviderError:
    """What the failure of an endpoint means to us and to the visitor."""
    detail = f"{type(error).__name__}: {error}"
    match error:
        case openai.APITimeoutError() | httpx2.TimeoutException():
            return ProviderError(detail, retryable=True, public=TOO_SLOW)
        case openai.RateLimitError(code="insufficient_quota"):
            return ProviderError(detail, retryable=False, public=MISCONFIGURED)
        case openai.AuthenticationError() | openai.PermissionDeniedError() | openai.NotFoundError():
            return ProviderError(detail, retryable=False, public=MISCONFIGURED)
        case openai.BadRequestError() if "context" in detail or "too long" in detail:
            return ProviderError(detail, retryable=False, public=TOO_LONG)
        case openai.RateLimitError():
            return ProviderError(detail, retryable=True, public=UNAVAILABLE, retry_after=_pause(error.response))
        case openai.APIStatusError() if error.status_code < 500:
            return ProviderError(detail, retryable=False, public=UNAVAILABLE)
        case _:
            return ProviderError(detail, retryable=True, public=UNAVAILABLE)


def _pause(response: httpx2.Response) -> float | None:
    """The seconds of a `Retry-After` header (RFC 9110, 10.2.3), ten minutes at most; its form as a date is rare."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), DEAD_SECONDS) if text.isascii() and text.isdigit() else None
