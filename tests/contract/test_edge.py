"""The edge: what is refused before a service is asked, and how long anybody may take."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import Counter

from api._kit import http
from api.auth.store import Revocations
from bench.client import TEXT_CAPS, ChatClient
from server import door, middleware, sockets
from server.core.crowd import Crowd
from server.infra import db
from server.infra.clock import SystemClock
from tests.support.live import Live, live

ORIGIN = "http://localhost:0"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


async def told(server: Live, *pieces: bytes) -> bytes:
    """Everything that a connection is told until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    for piece in pieces:
        writer.write(piece)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("header", [b"", b"GET /health HTT", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-1: 1\r\n"])
async def test_a_connection_that_never_says_what_it_wants_is_closed(
    server: Live, monkeypatch: pytest.MonkeyPatch, header: bytes
) -> None:
    monkeypatch.setattr(door, "KEEP_ALIVE", 0.1)
    assert await told(server, header) == b""


async def test_a_second_header_that_never_ends_is_not_waited_for(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "KEEP_ALIVE", 0.1)
    answer = await told(server, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTT")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_left_to_itself_the_library_would_wait_for_an_hour() -> None:
    """When this fails, `server/door.py` may have become simpler."""
    settings = inspect.signature(web.RequestHandler.__init__).parameters
    assert settings["keepalive_timeout"].default == 3630
    assert settings["lingering_time"].default == 10


@pytest.mark.parametrize("length", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come_is_refused_and_not_waited_for(
    server: Live, monkeypatch: pytest.MonkeyPatch, length: str
) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(door, "LINGERING", 0.1)
    header = f"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    answer = await told(server, header.encode(), b"1\r\n \r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"too slowly" in answer


async def test_an_endpoint_has_a_deadline(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """None at all, here: whatever has to wait for the database is too late."""
    monkeypatch.setattr(middleware, "DEADLINE", 0.0)
    login = {"email": "ada@example.com", "password": "a long passphrase"}
    async with aiohttp.ClientSession() as client, client.post(f"{server.url}/api/v1/auth/login", json=login) as answer:
        assert answer.status == 503
        assert "too long" in (await answer.json())["error"]["message"]


async def test_a_full_house_says_so_and_has_room_again_later(tmp_path: Path) -> None:
    async with live(tmp_path, max_connections=2) as server:
        port = int(server.url.rpartition(":")[2])
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        refusal = await told(server)
        assert refusal.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 2\r\n" in refusal
        held[0][1].close()
        await held[0][1].wait_closed()
        async with aiohttp.ClientSession() as client, client.get(f"{server.url}/metrics") as answer:
            assert "ma_connections_refused_total 1.0" in await answer.text()
        held[1][1].close()


def test_the_door_is_the_same_on_the_loop_that_serves() -> None:
    """uvloop's transports are none of asyncio's classes."""

    async def visit() -> list[int]:
        async def hello(_: web.Request) -> web.Response:
            return web.Response(text="hello")

        app = web.Application()
        app.router.add_get("/", hello)
        opened = door.Door(app, Crowd(1, 0), Counter("refused", "", registry=None))
        port = await opened.open("127.0.0.1", 0)
        statuses = []
        try:
            async with aiohttp.ClientSession() as first, aiohttp.ClientSession() as second:
                for client in (first, second):
                    async with client.get(f"http://127.0.0.1:{port}/") as answer:
                        await answer.read()
                        statuses.append(answer.status)
        finally:
            await opened.close()
        assert opened.crowd.count == 0
        return statuses

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(visit()) == [200, 503]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, [], "10.0.0.9"),
        (0, ["1.1.1.1"], "10.0.0.9"),
        (1, [], "10.0.0.9"),
        (1, ["1.1.1.1"], "1.1.1.1"),
        (1, ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        (1, ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
        (2, ["6.6.6.6, 1.1.1.1, 10.0.0.8"], "1.1.1.1"),
        (2, ["1.1.1.1"], "1.1.1.1"),
    ],
)
def test_only_what_trusted_proxies_saw_is_believed_of_an_address(
    proxies: int, forwarded: list[str], address: str
) -> None:
    request = make_mocked_request("GET", "/", headers=[("X-Forwarded-For", hop) for hop in forwarded])  # type: ignore[arg-type]
    assert middleware.client_address(request.clone(remote="10.0.0.9"), proxies) == address


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
async def test_sockets_take_no_bodies(server: Live, method: str) -> None:
    url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as client, client.request(method, url, data=b"x") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
        assert (await answer.json())["error"]["code"] == "METHOD_NOT_ALLOWED"


async def test_clients_of_a_server_that_stops_are_told_to_come_back_one_after_the_other(server: Live) -> None:
    async with (
        ChatClient(server.url, "cb_demo", caps=TEXT_CAPS, origin=ORIGIN) as first,
        ChatClient(server.url, "cb_demo", caps=TEXT_CAPS, origin=ORIGIN) as second,
    ):
        await server.house.hub.drain(0.1)
        waits = [(await chat.wait("draining", timeout=5)).payload["retry_ms"] for chat in (first, second)]
    assert len(set(waits)) == 2
    assert min(waits) >= 1000


async def test_a_token_that_another_process_revoked_is_thrown_out_while_it_talks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "RECHECK", 0.0)
    async with live(tmp_path) as server, ChatClient(server.url, "cb_demo", caps=TEXT_CAPS, origin=ORIGIN) as chat:
        door_ = server.house.sockets
        principal = next(iter(door_._links.values())).principal
        elsewhere = db.connect(f"sqlite+aiosqlite:///{tmp_path / 'machineavatars.db'}")
        try:
            revocations = Revocations(elsewhere, clock=SystemClock())
            async with elsewhere.uow(principal.organization_id) as tx:
                await revocations.revoke_all(tx, principal.user_id)
                await tx.commit()
        finally:
            await elsewhere.close()
        assert not chat.of("bye")
        await chat.emit("ping", {"c": 1})
        bye: Any = (await chat.wait("bye", timeout=5)).payload
        assert (bye["reason"], bye["reconnect"]) == ("revoked", False)
