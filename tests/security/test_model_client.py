"""Models that customers bring: asked through the same guard."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore2
import pytest
from aiohttp import web

from pipelines.providers.base import ChatMessage, LlmCapabilities, LlmOptions, ProviderError
from pipelines.providers.openai_compat import CONNECT, Endpoint, OpenAiLlm, fixed
from server.infra import egress
from server.infra.egress import Destinations, Names
from server.infra.model_client import GuardedDial, model_client
from tests.security.canary import FRONT, World, canary, website
from tests.security.corpus import CORPUS

CHUNK = '{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[%s]}'
DELTA = "data: " + CHUNK % '{"index":0,"delta":{"content":"%s"}}' + "\n\n"


@asynccontextmanager
async def model(url: str, destinations: Destinations, world: World) -> AsyncIterator[OpenAiLlm]:
    names = Names(world.lookup)
    llm = OpenAiLlm(
        fixed(Endpoint(url, "secret")),
        LlmCapabilities("m", context=4096, local=False),
        connect=lambda endpoint: model_client(destinations, names),
    )
    yield llm
    await llm.close()
    await names.close()


async def answer(llm: OpenAiLlm) -> str:
    told = [part async for part in llm.stream([ChatMessage("user", "hello")], LlmOptions())]
    return "".join(part for part in told if isinstance(part, str))


@pytest.mark.parametrize("answers", [[["127.0.0.1"]], [["10.0.0.1"], ["127.0.0.1"]], [["::1", "127.0.0.1"]]])
async def test_a_model_whose_name_leads_inside_is_not_asked(answers: list[list[str]]) -> None:
    async with canary() as bird:
        world = World({"model.example": answers})
        guard = Destinations(ports=frozenset({bird.port}))
        async with model(f"http://model.example:{bird.port}/v1", guard, world) as llm:
            for _ in range(2):
                with pytest.raises(ProviderError):
                    await answer(llm)
        assert bird.hits == 0


async def test_no_address_of_the_corpus_is_asked_for_an_answer() -> None:
    async with canary() as bird:
        world = World({"public.example": [[]]})
        guard = Destinations(ports=frozenset({80, 443, bird.port}))
        names = Names(world.lookup)
        async with model_client(guard, names) as client:
            for url in CORPUS:
                with pytest.raises(Exception):  # noqa: B017, PT011 - how it fails is the library's affair
                    await client.get(url.format(p=bird.port))
        await names.close()
        assert bird.hits == 0


async def test_a_redirect_of_a_model_is_not_followed() -> None:
    async with canary() as bird:

        async def away(request: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{bird.port}/"})

        async with website(web.post("/v1/chat/completions", away)) as port:
            guard = Destinations(frozenset({(FRONT, port), ("127.0.0.1", bird.port)}))
            async with model(f"http://{FRONT}:{port}/v1", guard, World({FRONT: [["127.0.0.1"]]})) as llm:
                with pytest.raises(ProviderError):
                    await answer(llm)
        assert bird.hits == 0


async def test_an_allowed_model_streams_its_answer() -> None:
    async def talk(request: web.Request) -> web.Response:
        text = DELTA % "Good " + DELTA % "day" + "data: [DONE]\n\n"
        return web.Response(text=text, content_type="text/event-stream")

    async with website(web.post("/v1/chat/completions", talk)) as port:
        guard = Destinations(frozenset({(FRONT, port)}))
        async with model(f"http://{FRONT}:{port}/v1", guard, World({FRONT: [["127.0.0.1"]]})) as llm:
            assert await answer(llm) == "Good day"


async def test_a_name_that_is_looked_up_for_ever_cannot_be_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "LOOKUP", 0.01)
    answered = threading.Event()

    def lookup(host: str, port: int) -> list[str]:
        answered.wait(5)
        return []

    names = egress.Names(lookup)
    with pytest.raises(httpcore2.ConnectTimeout):
        await GuardedDial(Destinations(), names).connect_tcp("slow.example", 443)
    answered.set()
    await names.close()


async def test_a_model_has_seconds_to_be_connected_to_and_minutes_to_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []

    async def connect_tcp(dial: GuardedDial, *, timeout: float | None, **rest: object) -> None:
        given.append(timeout)
        raise httpcore2.ConnectError

    monkeypatch.setattr(GuardedDial, "connect_tcp", connect_tcp)
    async with model("https://model.example/v1", Destinations(), World({})) as llm:
        with pytest.raises(ProviderError):
            await answer(llm)
    assert given == [CONNECT]
