"""Headless Chromium for the tests: drawn by the CPU, off the network, with a WAV file for a microphone."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright, expect

expect.set_options(timeout=30_000)  # a CPU that draws 3D and speaks is not quick

FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-features=LocalNetworkAccessChecks",  # a page that a test serves in place of another has no address
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
ALLOWED, DENIED = "--use-fake-ui-for-media-stream", "--use-fake-ui-for-media-stream=deny"


def executable() -> str:
    """Raises RuntimeError when there is no Chromium."""
    path = os.environ.get("MA_TEST_CHROMIUM") or shutil.which("chromium")
    if not path:
        raise RuntimeError("Chromium is needed: install it, or set MA_TEST_CHROMIUM to its path")
    return path


@asynccontextmanager
async def chromium(*flags: str, microphone: Path | None = None, allow: bool = True) -> AsyncIterator[Browser]:
    """A browser of its own. `microphone` is a WAV file, heard once from the moment a page opens the microphone;
    without one it is quiet. With `allow` false the visitor refuses the microphone."""
    heard = [f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable(), args=[*FLAGS, *flags, *heard, ALLOWED if allow else DENIED]
        )
        try:
            yield browser
        finally:
            await browser.close()
