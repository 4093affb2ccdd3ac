"""A visitor at a page with the widget: what they do, and what can be seen, heard and read on the wire meanwhile."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Route, WebSocket

from bench.speech import as_float

HERE = Path(__file__).parent
EVENT = "42/chat,"
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Heard:
    """The page's sound: samples from -1 to 1, and the audio context's time of the first."""

    samples: NDArray[np.float32]
    rate: int
    start: float

    def between(self, start: float, end: float) -> NDArray[np.float32]:
        """The samples that sounded in this stretch of context time."""
        first, last = (max(0, round((at - self.start) * self.rate)) for at in (start, end))
        return self.samples[first:last]


@dataclass(slots=True)
class Visitor:
    """`wire` holds the server's events as (name, payload), `console` the page's warnings and errors; `sockets` counts
    those that have been opened."""

    page: Page
    wire: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    sockets: int = 0

    @property
    def panel(self) -> Locator:
        return self.page.locator("ma-widget .panel")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    def of(self, name: str) -> list[dict[str, Any]]:
        return [payload for event, payload in self.wire if event == name]

    def notice(self, text: str) -> Locator:
        return self.panel.locator(".notice", has_text=text)

    async def ask(self, text: str) -> None:
        await self.page.get_by_role("textbox").fill(text)
        await self.page.keyboard.press("Enter")

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def event(self, name: str, *, count: int = 1, seconds: float = 60) -> dict[str, Any]:
        """The `count`th event of this name."""
        await until(lambda: _now(len(self.of(name)) >= count), f"{count} {name} on the wire", seconds)
        return self.of(name)[count - 1]

    async def answer(self, *, count: int = 1, seconds: float = 60) -> int:
        """The number of the `count`th answer that has begun; a greeting is none."""
        await until(lambda: _now(len(self._answers()) >= count), f"{count} answers begun", seconds)
        return self._answers()[count - 1]

    async def ended(self, rid: int, *, seconds: float = 60) -> dict[str, Any]:
        """The end of a response."""
        await until(lambda: _now(any(end["rid"] == rid for end in self.of("resp.end"))), f"the end of {rid}", seconds)
        return next(end for end in self.of("resp.end") if end["rid"] == rid)

    def deltas(self, rid: int) -> list[str]:
        return [event["d"] for event in self.of("txt") if event["rid"] == rid]

    async def greeted(self) -> None:
        """Goes to the text field, and hears the greeting out."""
        await self.page.get_by_role("textbox").click()
        await self.ended((await self.event("resp.start"))["rid"])
        await self.silence()

    async def look(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return await self.page.evaluate(script)

    async def seen(self, script: str, what: str, *, seconds: float = 60) -> None:
        """Waits until a JavaScript expression is true."""
        await until(lambda: self.look(f"Boolean({script})"), what, seconds)

    async def said(self, text: str, *, seconds: float = 30) -> None:
        """Waits until the page's console has said this."""
        await until(lambda: _now(any(text in line for line in self.console)), f"{text!r} in the console", seconds)

    async def avatar(self) -> None:
        """Waits until the avatar has been drawn a few times."""
        await self.seen("document.querySelector('ma-widget')?.__probe()?.stats?.frames > 3", "the avatar")

    async def probe(self) -> dict[str, Any]:
        return dict(await self.look("document.querySelector('ma-widget').__probe()"))

    async def silence(self, *, seconds: float = 60) -> None:
        """Waits until nothing is held or sounding any more."""
        await self.seen(
            "!document.querySelector('ma-widget').__probe().clock.playing && __tap.loudest < 0.001",
            "silence",
            seconds=seconds,
        )

    async def listen(self, seconds: float) -> None:
        """Hears the page for this much longer."""
        await self.seen(f"__tap.now() > {await self.look('__tap.now()') + seconds}", f"{seconds} s of the page's sound")

    async def sound(self) -> Heard:
        got = await self.look("__tap.sound()")
        samples = as_float(base64.b64decode(got["pcm"]))
        return Heard(samples, got["rate"], got["from"])

    async def frames(self) -> list[dict[str, Any]]:
        """What the mouth was at each animation frame: `at` is the context's time of the sample heard then."""
        return list(await self.look("__tap.frames"))

    def _answers(self) -> list[int]:
        return [start["rid"] for start in self.of("resp.start") if start["kind"] == "answer"]


async def visit(
    browser: Browser,
    url: str,
    *,
    listening: bool = False,
    width: int = 420,
    height: int = 640,
    beside: "Visitor | None" = None,
    instead: str = "",
) -> Visitor:
    """Opens `url` in a context of its own, or in another tab `beside` a visitor's. A small window: the CPU draws every
    pixel of it.

    `listening` taps the loudspeaker. The tap is a script from a blob, so such a page's content security policy is off.
    `instead` is the page that is shown under this address in place of what the server has there.
    """
    context: BrowserContext = (
        beside.page.context
        if beside
        else await browser.new_context(
            viewport={"width": width, "height": height}, locale="en-US", bypass_csp=listening
        )
    )
    page = await context.new_page()
    visitor = Visitor(page)

    def received(frame: str | bytes) -> None:
        if isinstance(frame, str) and frame.startswith(EVENT):
            name, payload = json.loads(frame.removeprefix(EVENT))
            visitor.wire.append((name, payload))

    def socket(opened: WebSocket) -> None:
        visitor.sockets += 1
        opened.on("framereceived", received)

    def said(message: ConsoleMessage) -> None:
        if message.type in ("warning", "error"):
            visitor.console.append(f"{message.type}: {message.text}")

    page.on("websocket", socket)
    page.on("console", said)
    page.on("pageerror", lambda error: visitor.console.append(f"error: {error}"))
    await page.add_init_script(path=HERE / "violations.js")
    if listening:
        await page.add_init_script(path=HERE / "tap.js")
    if instead:

        async def serve(route: Route) -> None:
            await route.fulfill(body=instead, content_type="text/html")

        await page.route(url, serve)
    await page.goto(url)
    return visitor


async def until(condition: Callable[[], Awaitable[object]], what: str, seconds: float) -> None:
    """Asks again until it is true. Raises TimeoutError that names what did not happen."""
    end = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(POLL_SECONDS)


async def _now(value: bool) -> bool:
    return value
