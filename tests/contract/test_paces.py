"""How fast a socket is heard: what is counted, what is reported, what is said; over real sockets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bench.client import TEXT_CAPS, ChatClient
from server import sockets, wire
from server.infra.clock import SystemClock
from server.session import Session
from tests.support.live import Live, live


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


def client(server: Live, **more: Any) -> ChatClient:
    return ChatClient(server.url, "cb_demo", origin="http://localhost:0", **more)


class Shifted:
    """Moves the server's clock on by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by = 0.0
        monotonic = SystemClock.monotonic
        monkeypatch.setattr(SystemClock, "monotonic", lambda clock: monotonic(clock) + self.by)


async def test_more_than_120_events_a_minute_are_refused_and_heard_again_when_the_client_was_told(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Shifted(monkeypatch)
    async with client(server, caps=TEXT_CAPS) as chat:
        for _ in range(sockets.EVENTS_A_MINUTE + 5):
            await chat.emit("config", {})
        await chat.emit("say", {"id": "m1", "text": "Hello"})
        error = (await chat.wait("err", lambda error: error.get("ref") == "m1")).payload
        assert error["code"] == "RATE_LIMIT_EXCEEDED"
        clock.by += error["retry_ms"] / 1000
        assert (await chat.say("Hello", "m1"))["ok"] is True


async def test_what_a_client_reports_of_its_own_accord_is_not_counted(server: Live) -> None:
    async with client(server, caps=TEXT_CAPS) as chat:
        for n in range(2 * sockets.EVENTS_A_MINUTE):
            await chat.emit("ping", {"c": n})
        await chat.wait("pong", lambda pong: pong["c"] == 2 * sockets.EVENTS_A_MINUTE - 1)
        assert (await chat.say("Hello", "m1"))["ok"] is True


async def test_reports_in_a_torrent_are_refused_until_the_client_was_told_to_go_on(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Shifted(monkeypatch)
    async with client(server, caps=TEXT_CAPS) as chat:
        for n in range(1000):
            await chat.emit("ping", {"c": n})
        error = (await chat.wait("err")).payload
        assert error["code"] == "RATE_LIMIT_EXCEEDED"
        assert (await chat.say("Hello", "m1"))["ok"] is True
        assert len(chat.of("pong")) < 900
        clock.by += error["retry_ms"] / 1000
        await chat.emit("ping", {"c": 1001})
        await chat.wait("pong", lambda pong: pong["c"] == 1001)


async def test_a_flood_of_bad_events_is_not_answered_one_by_one(server: Live) -> None:
    async with client(server, caps=TEXT_CAPS) as chat:
        for _ in range(3 * sockets.EVENTS_A_MINUTE):
            await chat.emit("play", {"rid": -1})
        await chat.emit("ping", {"c": 1})
        await chat.wait("pong")
        told = len(chat.of("err"))
        assert sockets.EVENTS_A_MINUTE <= told < 2 * sockets.EVENTS_A_MINUTE


def frame(ms: int = 100, rate: int = 16_000) -> bytes:
    return wire.Media(wire.Kind.MIC_PCM16, 0, 0, rate, 0, bytes(rate * ms // 1000 * 2)).pack()


@pytest.mark.parametrize("rate", [8_000, 48_000])
async def test_a_microphone_faster_than_sound_is_told_once_and_heard_again_later(
    server: Live, monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    heard: list[int] = []
    media = Session.media

    def listen(session: Session, got: wire.Media) -> None:
        heard.append(got.rate)
        media(session, got)

    monkeypatch.setattr(Session, "media", listen)
    clock = Shifted(monkeypatch)
    async with client(server) as chat:
        for _ in range(80):
            await chat.emit("mic", frame(rate=rate))
        await chat.emit("ping", {"c": 1})
        await chat.wait("pong")
        errors = chat.of("err")
        assert [error["code"] for error in errors] == ["RATE_LIMIT_EXCEEDED"]
        assert 40 <= len(heard) < 60
        before = len(heard)
        clock.by += errors[0]["retry_ms"] / 1000
        await chat.emit("mic", frame(rate=rate))
        await chat.emit("ping", {"c": 2})
        await chat.wait("pong", lambda pong: pong["c"] == 2)
        assert len(heard) == before + 1
