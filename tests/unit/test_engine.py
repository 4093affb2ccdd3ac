"""The websockets below Socket.IO: what waits is written together, and nonsense ends one socket only."""

import asyncio
from pathlib import Path

import aiohttp
from engineio.packet import MESSAGE, Packet

from bench.client import TEXT_CAPS, ChatClient
from server.engine import Engine, Pipe
from tests.support.live import live


def pipe() -> Pipe:
    return Pipe(Engine(async_mode="aiohttp"), "sid")


async def test_all_that_waits_is_written_at_once_and_in_order() -> None:
    one = pipe()
    for n in range(3):
        await one.queue.put(Packet(MESSAGE, str(n)))
    assert [packet.data for packet in await one.poll()] == ["0", "1", "2"]


async def test_what_was_queued_before_the_end_is_still_written() -> None:
    one = pipe()
    await one.queue.put(Packet(MESSAGE, "last words"))
    await one.queue.put(None)
    assert [packet.data for packet in await one.poll()] == ["last words"]
    assert await one.poll() == []


async def test_a_peer_that_sends_what_is_no_packet_loses_its_socket_and_nobody_else_does(tmp_path: Path) -> None:
    async with live(tmp_path) as server, ChatClient(server.url, "cb_demo", caps=TEXT_CAPS, origin="http://localhost:0"):
        address = f"{server.url}/socket.io/?EIO=4&transport=websocket"
        async with aiohttp.ClientSession() as http, http.ws_connect(address) as socket:
            await socket.receive_str()
            await socket.send_str("nonsense")
            async with asyncio.timeout(5):
                assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert server.house.hub.count == 1


async def test_a_message_that_comes_takes_no_task(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        async with ChatClient(server.url, "cb_demo", caps=TEXT_CAPS, origin="http://localhost:0") as chat:
            made: list[str] = []
            loop = asyncio.get_running_loop()

            def factory(loop: asyncio.AbstractEventLoop, coro: object, **more: object) -> asyncio.Task[object]:
                made.append(getattr(coro, "__qualname__", ""))
                return asyncio.Task(coro, loop=loop, **more)  # type: ignore[arg-type]

            loop.set_task_factory(factory)  # type: ignore[arg-type]
            for n in range(20):
                await chat.emit("ping", {"c": n})
            await chat.wait("pong", lambda pong: pong["c"] == 19)
            loop.set_task_factory(None)
        assert made
        assert not [name for name in made if "websocket_wait" in name]
