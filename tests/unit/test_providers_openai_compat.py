"""Chat over an OpenAI-compatible endpoint, against a small HTTP server that behaves and misbehaves as told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from pipelines.providers.base import ChatMessage, Ending, LlmCapabilities, LlmOptions, ProviderError
from pipelines.providers.openai_compat import Endpoint, OpenAiLlm, fixed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OVER = web.AppKey("over", asyncio.Event)
ASKED = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello?")]


@asynccontextmanager
async def llm(handler: Handler) -> AsyncIterator[OpenAiLlm]:
    app = web.Application()
    app[OVER] = over = asyncio.Event()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", "secret-key")
    provider = OpenAiLlm(fixed(endpoint), LlmCapabilities("model-x", 4096, local=False))
    try:
        yield provider
    finally:
        over.set()
        await provider.close()
        await runner.cleanup()


def piece(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "1", "choices": [choice]}).encode() + b"\n\n"


async def begin(request: web.Request, *pieces: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for text in pieces:
        await response.write(piece(text))
    return response


async def end(response: web.StreamResponse) -> web.StreamResponse:
    await response.write(b"data: [DONE]\n\n")
    return response


def refusing(status: int, **error: Any) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "secret detail", **error}}, status=status)

    return handler


async def answer(provider: OpenAiLlm, options: LlmOptions | None = None) -> list[str]:
    return [text async for text in provider.stream(ASKED, options or LlmOptions()) if isinstance(text, str)]


@pytest.mark.parametrize(
    ("told", "reason"), [("stop", "stop"), ("length", "length"), ("content_filter", "blocked"), (None, "stop")]
)
async def test_how_an_answer_ended_and_what_it_used_comes_last(told: str | None, reason: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert (await request.json())["stream_options"] == {"include_usage": True}
        response = await begin(request, "Hello.")
        last = {"index": 0, "delta": {}, "finish_reason": told}
        await response.write(b"data: " + json.dumps({"id": "1", "choices": [last]}).encode() + b"\n\n")
        used = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
        await response.write(b"data: " + json.dumps({"id": "1", "choices": [], "usage": used}).encode() + b"\n\n")
        return await end(response)

    async with llm(handler) as provider:
        pieces = [piece async for piece in provider.stream(ASKED, LlmOptions())]
    assert pieces == ["Hello.", Ending("model-x", reason, 12, 3)]  # type: ignore[arg-type]


@pytest.mark.parametrize("told", [10**30, -1, "12", True, 1.5, [], None])
async def test_a_count_of_tokens_that_cannot_be_one_is_left_out(told: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await begin(request, "Hello.")
        used = {"prompt_tokens": told, "completion_tokens": 3}
        await response.write(b"data: " + json.dumps({"id": "1", "choices": [], "usage": used}).encode() + b"\n\n")
        return await end(response)

    async with llm(handler) as provider:
        pieces = [piece async for piece in provider.stream(ASKED, LlmOptions())]
    assert pieces == ["Hello.", Ending("model-x", "stop", None, 3)]


@pytest.mark.parametrize("usage", ["lots", 7, [1], {}])
async def test_a_usage_that_is_none_does_not_fail_the_answer(usage: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await begin(request, "Hello.")
        await response.write(b"data: " + json.dumps({"id": "1", "choices": [], "usage": usage}).encode() + b"\n\n")
        return await end(response)

    async with llm(handler) as provider:
        assert await answer(provider) == ["Hello."]


@pytest.mark.parametrize(("header", "pause"), [("7", 7.0), ("99999", 600.0), ("tomorrow", None), (None, None)])
async def test_how_long_a_provider_wants_to_be_left_alone_is_told(header: str | None, pause: float | None) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        headers = {"Retry-After": header} if header else {}
        return web.json_response({"error": {"message": "slow down"}}, status=429, headers=headers)

    async with llm(handler) as provider:
        with pytest.raises(ProviderError) as refused:
            await answer(provider)
    assert refused.value.retry_after == pause


async def test_text_arrives_as_the_model_writes_it() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await end(await begin(request, "Hel", "", "lo."))

    async with llm(handler) as provider:
        assert await answer(provider) == ["Hel", "lo."]


async def test_the_request_carries_model_messages_options_and_key() -> None:
    seen: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.update(await request.json(), authorization=request.headers["Authorization"])
        return await end(await begin(request, "ok"))

    async with llm(handler) as provider:
        await answer(provider, LlmOptions(max_tokens=9, temperature=0.5, stop=("\n",)))
    assert (seen["model"], seen["max_tokens"], seen["temperature"], seen["stop"]) == ("model-x", 9, 0.5, ["\n"])
    assert seen["messages"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello?"}]
    assert (seen["stream"], seen["authorization"]) == (True, "Bearer secret-key")


@pytest.mark.parametrize(
    ("handler", "retryable"),
    [
        (refusing(401), False),
        (refusing(403), False),
        (refusing(404), False),
        (refusing(400, code="context_length_exceeded"), False),
        (refusing(429), True),
        (refusing(429, code="insufficient_quota"), False),
        (refusing(500), True),
        (refusing(503), True),
    ],
    ids=["key", "forbidden", "model", "context", "rate", "quota", "crash", "overload"],
)
async def test_a_refusal_says_whether_to_try_again_and_leaks_nothing(handler: Handler, retryable: bool) -> None:
    async with llm(handler) as provider:
        with pytest.raises(ProviderError) as refused:
            await answer(provider)
    assert refused.value.retryable is retryable
    assert "secret" not in refused.value.public


async def test_a_refusal_is_not_retried_behind_the_callers_back() -> None:
    calls = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        return web.json_response({"error": {"message": "no"}}, status=500)

    async with llm(handler) as provider:
        with pytest.raises(ProviderError):
            await answer(provider)
    assert calls == 1


async def test_a_parameter_that_the_endpoint_does_not_know_is_left_out_from_then_on() -> None:
    bodies: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        if "max_tokens" in bodies[-1]:
            error = {"message": "use max_completion_tokens", "param": "max_tokens"}
            return web.json_response({"error": error}, status=400)
        return await end(await begin(request, "ok"))

    async with llm(handler) as provider:
        assert await answer(provider) == ["ok"]
        assert await answer(provider) == ["ok"]
    assert ["max_tokens" in body for body in bodies] == [True, False, False]
    assert bodies[-1]["max_completion_tokens"] == 160


async def test_closing_the_iterator_closes_the_connection() -> None:
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await begin(request, "one")
        try:
            while True:
                await response.write(piece("more"))
                await asyncio.sleep(0.005)
        except (ConnectionError, asyncio.CancelledError):
            gone.set()
            raise

    async with llm(handler) as provider:
        async with aclosing(provider.stream(ASKED, LlmOptions())) as pieces:
            assert await anext(pieces) == "one"
        async with asyncio.timeout(2):
            await gone.wait()


@pytest.mark.parametrize("said", [[], ["I was"]], ids=["before the first text", "in mid answer"])
async def test_a_caller_who_gives_up_closes_the_connection(said: list[str]) -> None:
    reached, arrived, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            response = await begin(request, *said)
            reached.set()
            await request.app[OVER].wait()
        except asyncio.CancelledError:
            gone.set()
            raise
        return response

    heard: list[str] = []
    async with llm(handler) as provider:

        async def listen() -> None:
            async with aclosing(provider.stream(ASKED, LlmOptions())) as pieces:
                async for text in pieces:
                    heard.append(str(text))
                    arrived.set()

        asking = asyncio.create_task(listen())
        async with asyncio.timeout(20):
            await reached.wait()
            if said:
                await arrived.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await gone.wait()
    assert heard == said


@pytest.mark.parametrize("garbage", [b"data: {not json\n\n", b'data: {"error": {"message": "boom"}}\n\n'])
async def test_garbage_in_the_stream_is_a_retryable_error(garbage: bytes) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await begin(request, "well")
        await response.write(garbage)
        return response

    async with llm(handler) as provider:
        with pytest.raises(ProviderError) as broken:
            await answer(provider)
    assert broken.value.retryable


async def test_nobody_listening_is_a_retryable_error() -> None:
    endpoint = Endpoint("http://127.0.0.1:9/v1", "")
    provider = OpenAiLlm(fixed(endpoint), LlmCapabilities("m", 4096, local=False))
    with pytest.raises(ProviderError) as refused:
        await answer(provider)
    await provider.close()
    assert refused.value.retryable


async def test_a_local_server_that_restarts_on_another_port_is_found_again() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await end(await begin(request, "back"))

    async with llm(handler) as reached:
        alive = await reached._endpoint()
        places = iter([Endpoint("http://127.0.0.1:9/v1", "k", local=True)])

        async def endpoint() -> Endpoint:
            return next(places, Endpoint(alive.base_url, "k", local=True))

        provider = OpenAiLlm(endpoint, LlmCapabilities("m", 2048, local=True))
        assert await answer(provider) == ["back"]
        await provider.close()
