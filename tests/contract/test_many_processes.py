"""Rows in houses of their own behind a gateway: nothing is shared but PostgreSQL, Redis, the key and the media."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from bench.client import TEXT_CAPS, ChatClient
from server.gateway import SERVICES
from server.infra import neighbours
from server.shape import Shape
from tests.contract.house import bearer
from tests.support import postgres
from tests.support.live import Live, live
from tests.support.redis_server import PROGRAM, RedisServer, redis_server

PERSON = {"email": "ada@example.com", "password": "a long passphrase", "name": "Ada", "accept_terms": True}
LOGIN = {"email": PERSON["email"], "password": PERSON["password"]}

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no redis-server here")


@dataclass(frozen=True, slots=True)
class Town:
    """A gateway and its rows."""

    gateway: Live
    rows: dict[str, Live]
    redis: RedisServer

    async def token(self) -> str:
        async with aiohttp.ClientSession(self.gateway.url) as http:
            await http.post("/api/v1/auth/register", json=PERSON)
            async with http.post("/api/v1/auth/login", json=LOGIN) as answer:
                return str((await answer.json())["access_token"])


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr(neighbours, "EVERY", 0.05)
    name = f"machineavatars_town_{os.getpid()}"
    try:
        url = await postgres.make(name, tables=False)
    except postgres.GONE:
        pytest.skip(postgres.MISSING)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(postgres.drop, name)
        redis = await stack.enter_async_context(redis_server())
        limits = {"anonymous": 30, "visitor": 30}
        shared = {"database_url": url, "redis_url": redis.url, "secret_key": "k" * 40, "limits": limits}
        rows = {}
        for service in SERVICES:
            if service.name in ("auth", "users", "chatbots"):
                form = Shape((service,), alone=True)
                rows[service.name] = await stack.enter_async_context(live(tmp_path, form=form, **shared))
        form = Shape(elsewhere={row: [there.url] for row, there in rows.items()})
        gateway = await stack.enter_async_context(live(tmp_path, form=form, **shared))
        yield Town(gateway, rows, redis)


async def test_a_person_goes_from_row_to_row(town: Town) -> None:
    headers = bearer(await town.token())
    async with aiohttp.ClientSession(town.gateway.url, headers=headers) as http:
        async with http.get("/api/v1/users/me") as answer:
            assert (await answer.json())["email"] == PERSON["email"]
        async with http.post("/api/v1/chatbots/create", json={"name": "Mine", "type": "text"}) as answer:
            assert answer.status == 201, await answer.text()
        async with http.get("/health") as answer:
            assert (await answer.json())["services"]["auth"] == "ok"


async def test_a_row_alone_serves_itself_and_its_health_only(town: Town) -> None:
    async with aiohttp.ClientSession(town.rows["auth"].url) as http:
        statuses = []
        for path in ("/api/v1/auth/health", "/api/v1/auth/openapi.json", "/health/ready", "/api/v1/users/me", "/docs"):
            async with http.get(path) as answer:
                statuses.append(answer.status)
    assert statuses == [200, 200, 200, 404, 404]


async def test_signing_out_at_one_process_closes_the_sockets_at_another(town: Town) -> None:
    token = await town.token()
    async with aiohttp.ClientSession(town.gateway.url, headers=bearer(token)) as http:
        async with http.post("/api/v1/chatbots/create", json={"name": "Mine", "type": "text"}) as answer:
            bot = (await answer.json())["id"]
        chat = ChatClient(town.gateway.url, bot, caps=TEXT_CAPS)
        chat.token = token
        async with chat:
            assert (await chat.say("Hello", "m1"))["ok"] is True
            async with http.post(f"{town.rows['auth'].url}/api/v1/auth/logout") as answer:
                assert answer.status == 200
            bye = await chat.wait("bye", timeout=10)
            assert bye.payload["reason"] == "revoked"
        async with http.get("/api/v1/users/me") as answer:
            assert answer.status == 401


async def test_requests_at_several_processes_count_together(town: Town) -> None:
    async with aiohttp.ClientSession(town.gateway.url) as http:
        statuses = []
        for number in range(31):
            async with http.get("/api/v1/users/me" if number % 2 else "/api/v1/chatbots") as answer:
                statuses.append(answer.status)
                left = answer.headers["X-RateLimit-Remaining"]
    assert (statuses[-1], left) == (429, "0")


async def test_each_process_counts_for_itself_when_redis_is_gone(town: Town) -> None:
    await town.redis.kill()
    headers = bearer(await town.token())
    async with aiohttp.ClientSession(town.gateway.url, headers=headers) as http, http.get("/api/v1/users/me") as answer:
        assert answer.status == 200
