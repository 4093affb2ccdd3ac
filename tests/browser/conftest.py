"""Fixtures of the browser tests: one server with real models for all of them."""

from collections.abc import AsyncIterator

import pytest_asyncio

from bench.serving import server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_server() -> AsyncIterator[str]:
    """The URL of a server process with the real models and a quick voice."""
    async with server(MA_TTS__VOICE="en_US-joe-medium", MA_SHUTDOWN_SECONDS="1") as url:
        yield url
