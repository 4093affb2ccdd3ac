"""The proxy of the fault checks does to a connection what it says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.proxy import CuttingProxy, cutting_proxy


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1024):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def through() -> AsyncIterator[CuttingProxy]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(5), cutting_proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
            yield proxy
    finally:
        server.close()


async def test_what_is_sent_comes_through_and_the_end_as_well() -> None:
    async with through() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert proxy.accepted == 1


async def test_a_cut_resets_both_sides_and_the_next_connection_works() -> None:
    async with through() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        await reader.readexactly(5)
        await proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        await proxy.cut(reset=False)
        assert await reader.read() == b""


async def test_nothing_passes_a_stalled_proxy_until_it_resumes() -> None:
    async with through() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.stall()
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(5)
        proxy.resume()
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_a_stalled_connection_can_be_cut() -> None:
    async with through() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        await reader.readexactly(5)
        proxy.stall()
        await proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_a_refusing_proxy_ends_what_comes() -> None:
    async with through() as proxy:
        proxy.refuse()
        reader, _writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        proxy.accept()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
