"""Language models: what can be chosen, keys of one's own, whom a chatbot asks, and what that costs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from pipelines.ports import Bot, ModelChoice
from pipelines.providers.base import ChatMessage, Ending
from server.infra.egress import Destinations, GuardedEgress
from tests.contract.house import House

KEY = "sk-a-very-secret-key-1234"
HELLO = [ChatMessage("user", "Hello?")]


@dataclass
class Endpoint:
    """An OpenAI-compatible endpoint that answers as told, on a port of its own."""

    words: list[str] = field(default_factory=lambda: ["From ", "afar."])
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 1000, "completion_tokens": 500})
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    listed: list[str] | None = field(default_factory=lambda: ["acme-large", "acme-embed-1"])
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    silent: bool = False
    base_url: str = ""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers["Authorization"])
        if self.status != 200:
            return web.json_response({"error": {"message": f"no {KEY}"}}, status=self.status, headers=self.headers)
        if not self.asked[-1].get("stream"):
            return web.json_response({"choices": [{"message": {"content": "Hi"}}]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self.silent:
            await asyncio.Event().wait()
        for word in self.words:
            await self._send(response, [{"index": 0, "delta": {"content": word}, "finish_reason": None}])
        await self._send(response, [{"index": 0, "delta": {}, "finish_reason": self.finish_reason}])
        if self.usage:
            await self._send(response, [], usage={**self.usage, "total_tokens": sum(self.usage.values())})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _send(self, response: web.StreamResponse, choices: list[Any], **more: Any) -> None:
        await response.write(b"data: " + json.dumps({"id": "1", "choices": choices, **more}).encode() + b"\n\n")

    async def models(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "wrong"}}, status=401)
        if self.listed is None:
            return web.json_response({}, status=404)
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.listed]})


@asynccontextmanager
async def endpoint(house: House) -> AsyncIterator[Endpoint]:
    """An endpoint that the operator of the house allows to be dialled."""
    found = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", found.chat)
    app.router.add_get("/v1/models", found.models)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    found.base_url = f"http://127.0.0.1:{port}/v1"
    guard = house.deps.egress
    assert isinstance(guard, GuardedEgress)
    guard.destinations = Destinations(frozenset({("127.0.0.1", port)}))
    try:
        yield found
    finally:
        await runner.cleanup()


async def bring(house: House, owner: dict[str, str], there: Endpoint, **more: Any) -> Any:
    body = {"api_key": KEY, "base_url": there.base_url, **more}
    return await house.json("PUT", "/api/v1/llm/providers/acme", 200, headers=owner, json=body)


async def draft(house: House, chatbot_id: str) -> Bot:
    bot = await house.deps.bots.find(chatbot_id, draft=True)
    assert bot
    return bot


async def test_the_servers_own_models_are_there_for_everyone(house: House) -> None:
    listed = await house.json("GET", "/api/v1/llm/models", 200, headers=await house.owner())
    by_id = {one["id"]: one for one in listed["data"]}
    assert by_id["server/default"]["locality"] == "embedded"
    assert by_id["server/default"]["price"] == {"in": 0, "out": 0}
    assert {one["kind"] for one in listed["data"]} == {"chat", "stt", "tts"}


async def test_models_are_filtered(house: House) -> None:
    listed = await house.json("GET", "/api/v1/llm/models?kind=stt,tts&limit=1", 200, headers=await house.owner())
    assert (len(listed["data"]), listed["pagination"]["total_items"]) == (1, 2)


async def test_a_key_is_tried_kept_and_never_shown_again(house: House) -> None:
    owner = await house.owner()
    async with endpoint(house) as there:
        made = await bring(house, owner, there, region="eu")
        listed = await house.json("GET", "/api/v1/llm/providers", 200, headers=owner)
        models = await house.json("GET", "/api/v1/llm/models?provider=acme", 200, headers=owner)
    assert (made["key_last4"], made["status"], made["models"]) == ("1234", "ok", 2)
    assert KEY not in json.dumps([made, listed, [event.data for event in house.events]])
    assert {one["id"]: one["kind"] for one in models["data"]} == {
        "acme/acme-large": "chat",
        "acme/acme-embed-1": "embedding",
    }
    assert {one["residency"] for one in models["data"]} == {"eu"}
    assert "provider.updated" in [event.name for event in house.events]


async def test_a_key_that_the_provider_refuses_is_not_kept(house: House) -> None:
    owner = await house.owner()
    async with endpoint(house) as there:
        body = {"api_key": "sk-wrong-key-000", "base_url": there.base_url}
        path = "/api/v1/llm/providers/acme"
        error = await house.refused("PUT", path, 400, "INVALID_REQUEST", headers=owner, json=body)
    assert "sk-wrong" not in json.dumps(error)
    assert (await house.json("GET", "/api/v1/llm/providers", 200, headers=owner))["data"] == []


@pytest.mark.parametrize(
    "place",
    ["http://169.254.169.254/v1", "https://10.0.0.1/v1", "http://localhost:11434/v1", "http://example.com/v1"],
)
async def test_a_provider_in_a_private_network_or_without_encryption_is_refused(house: House, place: str) -> None:
    body = {"api_key": KEY, "base_url": place}
    path = "/api/v1/llm/providers/acme"
    await house.refused("PUT", path, 400, "URL_NOT_ALLOWED", headers=await house.owner(), json=body)


async def test_a_provider_that_lists_no_models_takes_those_that_are_named(house: House) -> None:
    owner = await house.owner()
    async with endpoint(house) as there:
        there.listed = None
        await house.refused(
            "PUT",
            "/api/v1/llm/providers/acme",
            400,
            "INVALID_REQUEST",
            headers=owner,
            json={"api_key": KEY, "base_url": there.base_url},
        )
        made = await bring(house, owner, there, models=[{"name": "acme-small", "price": {"in": 100000, "out": 0}}])
    assert made["models"] == 1
    assert there.asked[0]["model"] == "acme-small"


async def test_another_organisation_sees_nothing_of_a_provider(house: House) -> None:
    owner, other = await house.owner(), await house.owner("other@example.com")
    async with endpoint(house) as there:
        await bring(house, owner, there)
    assert (await house.json("GET", "/api/v1/llm/providers", 200, headers=other))["data"] == []
    await house.refused("DELETE", "/api/v1/llm/providers/acme", 404, "RESOURCE_NOT_FOUND", headers=other)
    chosen = house.deps.models.chosen("org_other", ["acme/acme-large"])
    assert (await house.deps.models.ask(chosen, "org_other", HELLO)).error


async def choose(house: House, owner: dict[str, str], chatbot_id: str, **chat: Any) -> Any:
    path = f"/api/v1/llm/selection/{chatbot_id}"
    return await house.json("PUT", path, 200, headers=owner, json={"chat": chat})


async def test_a_chosen_model_answers_and_what_it_used_is_counted(house: House) -> None:
    owner = await house.owner()
    bot = await house.chatbot(owner)
    async with endpoint(house) as there:
        await bring(house, owner, there, models=[{"name": "acme-large", "price": {"in": 2000000, "out": 8000000}}])
        there.asked.clear()
        await choose(house, owner, bot["id"], primary="acme/acme-large", temperature=0.7, max_tokens=99)
        chosen = house.deps.models.choose(await draft(house, bot["id"]), "visitor_1")
        pieces = [piece async for piece in chosen.llm.stream(HELLO, chosen.options)]
    assert pieces == ["From ", "afar.", Ending("acme/acme-large", "stop", 1000, 500)]
    sent = there.asked[0]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("acme-large", 0.7, 99)
    assert there.keys[-1] == f"Bearer {KEY}"
    counted = {"input_tokens": 1000, "output_tokens": 500, "requests": 1, "errors": 0, "cost": 6000}
    for group, name in (("model", "acme/acme-large"), ("chatbot", bot["id"]), ("user", "visitor_1")):
        report = await house.json("GET", f"/api/v1/llm/usage?group_by={group}", 200, headers=owner)
        assert report["rows"] == [{"group": name, **counted}]


async def test_usage_of_other_days_is_left_out(house: House) -> None:
    owner = await house.owner()
    bot = await house.chatbot(owner)
    chosen = house.deps.models.choose(await draft(house, bot["id"]))
    await house.deps.models.ask(chosen, "org", HELLO)
    path = "/api/v1/llm/usage?from=2020-01-01&to=2020-01-31"
    assert (await house.json("GET", path, 200, headers=owner))["rows"] == []
    assert len((await house.json("GET", "/api/v1/llm/usage?group_by=day", 200, headers=owner))["rows"]) == 1


async def test_an_answer_that_was_cut_is_counted_by_estimate(house: House) -> None:
    owner = await house.owner()
    bot = await house.chatbot(owner)
    chosen = house.deps.models.choose(await draft(house, bot["id"]))
    stream: Any = chosen.llm.stream(HELLO, chosen.options)
    assert await anext(stream) == "Hello "
    await stream.aclose()
    rows = (await house.json("GET", "/api/v1/llm/usage", 200, headers=owner))["rows"]
    assert [(row["input_tokens"], row["output_tokens"], row["errors"]) for row in rows] == [(2, 2, 0)]


async def test_a_model_that_was_given_up_before_its_first_word_is_an_error(house: House) -> None:
    owner = await house.owner()
    bot = await house.chatbot(owner)
    async with endpoint(house) as there:
        await bring(house, owner, there)
        await choose(house, owner, bot["id"], primary="acme/acme-large", fallbacks=["server/default"], timeout_ms=500)
        there.silent = True
        chosen = house.deps.models.choose(await draft(house, bot["id"]))
        trial = await house.deps.models.ask(chosen, "org", HELLO)
        rows = (await house.json("GET", "/api/v1/llm/usage", 200, headers=owner))["rows"]
    assert trial.response == "Hello there."
    assert {row["group"]: row["errors"] for row in rows} == {"acme/acme-large": 1, "server/default": 0}


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_fallback_answers_when_the_first_model_does_not(house: House, status: int) -> None:
    owner = await house.owner()
    bot = await house.chatbot(owner)
    async with endpoint(house) as there:
        await bring(house, owner, there)
        await choose(house, owner, bot["id"], primary="acme/acme-large", fallbacks=["server/default"])
        there.status = status
        chosen = house.deps.models.choose(await draft(house, bot["id"]))
        first = await house.deps.models.ask(chosen, "org", HELLO)
        asked = len(there.asked)
        again = await house.deps.models.ask(chosen, "org", HELLO)
        listed = await house.json("GET", "/api/v1/llm/usage", 200, headers=owner)
        providers = await house.json("GET", "/api/v1/llm/providers", 200, headers=owner)
    assert (first.model_id, first.response, first.error) == ("server/default", "Hello there.", None)
    assert (again.response, len(there.asked)) == ("Hello there.", asked), "a model that has just failed is left alone"
    failed = next(row for row in listed["rows"] if row["group"] == "acme/acme-large")
    assert (failed["requests"], failed["errors"], failed["input_tokens"]) == (1, 1, 0)
    assert providers["data"][0]["status"] == "error"
    assert KEY not in json.dumps(providers)


async def test_a_new_key_is_used_at_once(house: House) -> None:
    owner = await house.owner()
    async with endpoint(house) as there:
        await bring(house, owner, there, models=[{"name": "acme-large"}])
        tenant = (await house.deps.tokens.verify(owner["Authorization"].split()[1])).organization_id
        chosen = house.deps.models.chosen(tenant, ["acme/acme-large"])
        await house.deps.models.ask(chosen, tenant, HELLO)
        await bring(house, owner, there, api_key="sk-the-next-key-9999", models=[{"name": "acme-large"}])
        await house.deps.models.ask(chosen, tenant, HELLO)
    assert there.keys[-1] == "Bearer sk-the-next-key-9999"


async def test_a_selection_is_read_back_and_guarded_by_its_etag(house: House) -> None:
    owner = await house.owner()
    bot = await house.chatbot(owner)
    path = f"/api/v1/llm/selection/{bot['id']}"
    async with house.client.get(path, headers=owner) as response:
        assert (await response.json())["chat"]["primary"] == "server/default"
        before = response.headers["ETag"]
    chat = {"primary": "server/default", "timeout_ms": 2000}
    kept = await house.json("PUT", path, 200, headers={**owner, "If-Match": before}, json={"chat": chat})
    assert kept == await house.json("GET", path, 200, headers=owner)
    assert kept["chat"]["timeout_ms"] == 2000
    stale = {**owner, "If-Match": before}
    await house.refused("PUT", path, 412, "PRECONDITION_FAILED", headers=stale, json={"chat": chat})
    assert (await draft(house, bot["id"])).model == ModelChoice("server/default", (), (("timeout_ms", 2000),))
    assert "llm.selection_changed" in [event.name for event in house.events]


async def test_a_model_that_is_not_there_cannot_be_chosen(house: House) -> None:
    owner = await house.owner()
    bot = await house.chatbot(owner)
    path = f"/api/v1/llm/selection/{bot['id']}"
    for model in ("acme/none", "server/whisper-tiny.en"):
        body = {"chat": {"primary": model}}
        await house.refused("PUT", path, 400, "INVALID_FORMAT", headers=owner, json=body)


async def test_models_are_compared(house: House) -> None:
    owner = await house.owner()
    async with endpoint(house) as there:
        await bring(house, owner, there)
        there.finish_reason = "length"
        body = {"models": ["server/default", "acme/acme-large"], "messages": [{"content": "Hello?"}]}
        made = await house.json("POST", "/api/v1/llm/test", 200, headers=owner, json=body)
    ours, theirs = made["results"]
    assert (ours["response"], ours["cost"], ours["finish_reason"]) == ("Hello there.", 0, "stop")
    assert (theirs["response"], theirs["cost"], theirs["finish_reason"]) == ("From afar.", None, "length")
    assert theirs["tokens"] == {"input": 1000, "output": 500}


async def test_only_so_many_tests_are_made_in_an_hour(house: House) -> None:
    owner = await house.owner()
    body = {"models": ["server/default"], "messages": [{"content": "Hello?"}]}
    for _ in range(30):
        await house.json("POST", "/api/v1/llm/test", 200, headers=owner, json=body)
    await house.refused("POST", "/api/v1/llm/test", 429, "RATE_LIMIT_EXCEEDED", headers=owner, json=body)


async def test_a_provider_in_use_is_deleted_only_by_force(house: House) -> None:
    owner = await house.owner()
    bot = await house.chatbot(owner)
    async with endpoint(house) as there:
        await bring(house, owner, there)
        await choose(house, owner, bot["id"], primary="acme/acme-large")
        path = "/api/v1/llm/providers/acme"
        await house.refused("DELETE", path, 409, "STATE_CONFLICT", headers=owner)
        gone = await house.json("DELETE", f"{path}?force=true", 200, headers=owner)
        chosen = house.deps.models.choose(await draft(house, bot["id"]))
        trial = await house.deps.models.ask(chosen, "org", HELLO)
    assert gone["affected_chatbots"] == [bot["id"]]
    assert trial.error
    assert there.asked == []


async def test_usage_is_not_lost_while_the_database_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from api._kit.store import StoreUnavailable

    owner = await house.owner()
    bot = await house.chatbot(owner)
    chosen = house.deps.models.choose(await draft(house, bot["id"]))
    await house.deps.models.ask(chosen, "org", HELLO)

    async def gone(*_: Any) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(house.deps.database, "write", gone)
        with pytest.raises(StoreUnavailable):
            await house.deps.models.flush()
    await asyncio.gather(house.deps.models.flush(), house.deps.models.flush())
    rows = (await house.json("GET", "/api/v1/llm/usage", 200, headers=owner))["rows"]
    assert [row["requests"] for row in rows] == [1]
