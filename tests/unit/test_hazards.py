"""docs/hazards.md is true: each hazard of the stack has a test; those that have no better place are here."""

import asyncio
import gc
import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from bench.client import TEXT_CAPS, ChatClient
from server import app
from server.infra.hashing import Argon2Passwords
from server.sockets import Sockets
from tests.support.live import Live, live

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "hazards.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")][
    1:
]
REACHED_INTO = ("python-socketio", "python-engineio")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


def client(server: Live) -> ChatClient:
    return ChatClient(server.url, "cb_demo", caps=TEXT_CAPS, origin="http://localhost:0")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_hazard_names_its_test_and_its_place(row: list[str]) -> None:
    _, _, places, test = row
    file, _, name = test.strip("`").partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    for place in re.findall(r"`([^`]+)`", places):
        assert (ROOT / place).is_file()


@pytest.mark.parametrize("package", REACHED_INTO)
def test_a_library_whose_inside_is_reached_into_is_pinned(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(re.fullmatch(rf"{package}==[\d.]+", wanted) for wanted in project["dependencies"])


async def test_the_events_of_one_client_keep_their_order_however_long_each_takes(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = Sockets.received

    async def slowly(self: Sockets, sid: str, name: str, arguments: list[Any], ack: Any) -> None:
        if name == "ping":
            await asyncio.sleep(0.01 if arguments[0]["c"] % 2 else 0)
        await received(self, sid, name, arguments, ack)

    monkeypatch.setattr(Sockets, "received", slowly)
    async with client(server) as chat:
        for n in range(10):
            await chat.emit("ping", {"c": n})
        await chat.wait("pong", lambda pong: pong["c"] == 9)
        assert [pong["c"] for pong in chat.of("pong")] == list(range(10))


async def test_a_handler_that_is_cancelled_acknowledges_nothing(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    inside = server.house.sockets._server

    async def send(_eio_sid: str, packet: Any) -> None:
        sent.append(packet)

    async def cancelled(*_: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(inside, "_send_packet", send)
    monkeypatch.setattr(server.house.sockets, "received", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await inside._handle_event_internal(inside, "sid", "eio", ["say", {}], "/chat", 7)
    assert sent == []


async def deaf(server: Live, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    """A peer that has opened a websocket, and answers nothing any more."""
    url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
    socket = await http.ws_connect(url, compress=15, autoclose=False, autoping=False)
    assert (await socket.receive()).type is WSMsgType.TEXT
    return socket


async def test_no_socket_is_compressed(server: Live) -> None:
    async with aiohttp.ClientSession() as http:
        socket = await deaf(server, http)
        assert not socket.compress
        await socket.close()


async def test_closing_does_not_wait_for_a_peer_that_does_not_answer(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(10):
        async with live(tmp_path) as server:
            socket = await deaf(server, http)
        await socket.close()


async def test_the_loop_goes_on_while_a_password_is_hashed() -> None:
    passwords, turns = Argon2Passwords(), 0
    hashing = asyncio.create_task(passwords.hash("a long passphrase"))
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    passwords.close()
    assert turns > 10


def test_what_was_loaded_before_the_server_is_ready_is_not_walked_through_again() -> None:
    before = len(gc.get_objects())
    app._settle()
    try:
        assert len(gc.get_objects()) < before / 10
    finally:
        gc.unfreeze()
