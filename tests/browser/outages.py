"""A website whose chat passes through a proxy that can be cut, in front of a server with scripted providers."""

import wave
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Browser

from pipelines.frames import SpeechChunk
from tests.browser.visitor import Visitor, visit
from tests.browser.websites import kept
from tests.support.fakes import ToneTts
from tests.support.live import Live, live
from tests.support.proxy import CuttingProxy, cutting_proxy

DRAIN_SECONDS = 0.5
PAGE = """<!doctype html><html lang=en><title>Shop</title>
<script src=/widget.js data-chatbot-id=cb_demo data-mode=fullpage data-quality=2d data-greeting=off></script>"""


class NoiseTts(ToneTts):
    """Says every clause as noise of its own, without one silent sample: what is heard tells which sample it was.

    `made` is what it has said.
    """

    def __init__(self, *, ms: int = 60, delay: float = 0.1) -> None:
        super().__init__(ms=ms, delay=delay)
        self.made: list[bytes] = []

    async def speak(self, text: str, voice: str) -> AsyncIterator[SpeechChunk]:
        async for chunk in super().speak(text, voice):
            self.made.append(noise(text, chunk.samples))
            yield replace(chunk, pcm=self.made[-1])


def noise(text: str, samples: int) -> bytes:
    """PCM16, never zero, the same for the same text."""
    chance = np.random.default_rng(zlib.crc32(text.encode()))
    return (chance.integers(500, 3000, samples) * chance.choice([-1, 1], samples)).astype("<i2").tobytes()


@dataclass(slots=True)
class Line:
    """The way to a server: `url` stays, whatever happens to the server behind it."""

    proxy: CuttingProxy
    server: Live
    restart: Callable[..., Awaitable[None]]
    """The server drains and ends, and another one with these providers starts on the same data."""

    @property
    def url(self) -> str:
        return self.proxy.url

    async def lose(self) -> None:
        """The network is gone: what is open breaks, and nothing new gets through."""
        self.proxy.refuse()
        await self.proxy.cut()

    async def visit(
        self, browser: Browser, *, listening: bool = False, mute: bool = False, beside: Visitor | None = None
    ) -> Visitor:
        """A page of the shop; `mute` is a browser that has no sound for the widget."""
        page = PAGE.replace("<script", "<script>delete globalThis.AudioWorkletNode</script><script") if mute else PAGE
        return await visit(browser, f"{self.url}/shop", instead=page, listening=listening, beside=beside)

    async def history(self, visitor: Visitor) -> list[tuple[str, str]]:
        """Role and content of everything that the server has kept of this visitor's conversation."""
        return [(message["role"], message["content"]) for message in await kept(self.server.url, visitor)]


@asynccontextmanager
async def line(data: Path, **providers: Any) -> AsyncIterator[Line]:
    """A server with the demo chatbot, and a line to it."""
    async with cutting_proxy("127.0.0.1", 1) as proxy, AsyncExitStack() as servers:

        async def start(**providers: Any) -> Live:
            server = await servers.enter_async_context(live(data, public_url=proxy.url, **providers))
            proxy.aim(_port(server))
            return server

        async def restart(**providers: Any) -> None:
            await to.server.house.hub.drain(DRAIN_SECONDS)
            await servers.aclose()
            to.server = await start(**providers)

        to = Line(proxy, await start(**providers), restart)
        yield to


def _port(server: Live) -> int:
    return int(server.url.rsplit(":", 1)[1])


async def shown(visitor: Visitor) -> list[tuple[str, str]]:
    """Role and text of every message in the log, in order."""
    rows = await visitor.log.locator(".message").evaluate_all(
        "rows => rows.map(row => [row.classList.contains('user') ? 'user' : 'assistant',"
        " row.querySelector('.bubble').innerText])"
    )
    return [(role, text.strip()) for role, text in rows]


def audible(sound: NDArray[np.float32]) -> NDArray[np.int_]:
    """The samples that were not silent, as PCM16."""
    pcm = np.round(sound * 32767).astype(int)
    return pcm[pcm != 0]


def murmur(file: Path, seconds: float) -> Path:
    """A WAV file of something like speech between silences, for a microphone: noise in syllables."""
    rate = 48_000
    t = np.arange(round(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 140 * n * t + n) / n for n in range(1, 20))
    said = voice * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t)) * 5000
    quiet = np.zeros(2 * rate)
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.concatenate([quiet, said, quiet]).astype("<i2").tobytes())
    return file
