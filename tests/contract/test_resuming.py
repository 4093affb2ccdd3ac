"""Coming back to a session over real sockets: who gets it, what becomes of the others, and of a peer that is deaf."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.client import TEXT_CAPS, ChatClient
from server import engine
from tests.support.fakes import ScriptedLlm
from tests.support.live import Live, live

BOT = "cb_demo"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, llm=ScriptedLlm([f"word{n} " for n in range(40)], delay=0.01)) as running:
        yield running


def client(server: Live, like: ChatClient | None = None) -> ChatClient:
    made = ChatClient(server.url, BOT, origin="http://localhost:0", caps=TEXT_CAPS)
    if like is not None:
        made.token, made._group = like.token, like._group
    return made


def resume(chat: ChatClient, last_seq: int) -> dict[str, Any]:
    return {"sid": chat.ready["sid"], "token": chat.ready["token"], "last_seq": last_seq}


async def test_of_two_sockets_that_resume_at_once_one_gets_the_session_whole_and_the_other_is_told(
    server: Live,
) -> None:
    async with client(server) as first:
        await first.say("Tell me", "m1")
        await first.wait("txt")
        await first._sio.disconnect()
        seen = first.events[-1].payload["seq"]
        tabs = [client(server, first), client(server, first)]
        await asyncio.gather(*(tab.join(resume=resume(first, seen)) for tab in tabs))
        waits = [asyncio.ensure_future(tab.wait("resp.end", timeout=5)) for tab in tabs]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        winner, loser = tabs if waits[0].done() else tabs[::-1]
        for wait in waits:
            wait.cancel()
        numbers = [got.payload["seq"] for got in winner.events if got.name != "bye"]
        assert numbers == list(range(seen + 1, seen + 1 + len(numbers)))
        assert (await loser.wait("bye", timeout=5)).payload["reason"] == "superseded"
        for tab in tabs:
            await tab._sio.disconnect()


async def test_what_a_superseded_tab_still_sends_is_not_heard(server: Live) -> None:
    async with client(server) as first:
        second = client(server, first)
        link = next(iter(server.house.sockets._links.values()))
        await second.join(resume=resume(first, 0))
        await first.wait("bye", timeout=5)
        token = second.ready["token"]
        session = link.session
        assert session is not None
        await server.house.sockets.received("nobody", "ping", [{"c": 1}], None)
        server.house.sockets._links["old"] = link
        await server.house.sockets.received("old", "ping", [{"c": 1}], None)
        del server.house.sockets._links["old"]
        assert session.accepts(first.ready["token"])
        assert session.accepts(token)
        await second._sio.disconnect()


async def test_who_comes_back_to_a_session_that_is_gone_and_in_which_nothing_was_said_begins_anew(server: Live) -> None:
    async with client(server) as first:
        gone = {"sid": "ses_gone", "token": "rst_gone", "last_seq": 5}
        second = client(server, first)
        await second.join(resume=gone, conversation_id="conv_never")
        assert second.ready["recovered"] is False
        assert (await second.say("Hello", "m1"))["ok"] is True
        await second.wait("resp.end")
        await second._sio.disconnect()


async def test_the_connection_of_a_closed_socket_ends_although_its_peer_does_not_read(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "GOODBYE_SECONDS", 0.1)
    async with aiohttp.ClientSession() as http, asyncio.timeout(10):
        url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
        async with http.ws_connect(url) as deaf:
            await deaf.receive_str()
            connection = deaf._response.connection
            assert connection is not None
            transport = connection.transport
            assert transport is not None
            transport.pause_reading()
            eio = server.house.sockets._server.eio
            (sid,) = eio.sockets
            socket = eio.sockets[sid]
            for _ in range(200):
                socket.queue.put_nowait(engine.engineio.packet.Packet(engine.engineio.packet.MESSAGE, "x" * 100_000))
            serving = [task for task in asyncio.all_tasks() if "RequestHandler" in repr(task.get_coro())]
            await asyncio.sleep(0.1)
            await eio.hang_up(sid)
            assert serving
            await asyncio.wait(serving)
            transport.abort()
