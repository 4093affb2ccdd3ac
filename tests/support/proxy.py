"""A TCP proxy between a client and a server that can be told to cut, to stall, to dawdle and to refuse."""

import asyncio  # create_task: a connection and its two directions, kept until it ends
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST instead of FIN."""


class CuttingProxy:
    """Made by `cutting_proxy`. Everything it does to a connection it does to all that pass through it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._target = host, port
        self.port = 0
        self.delay = 0.0
        """Seconds by which what passes is late, either way; what comes meanwhile goes on together."""
        self.accepted = 0
        """How many connections were let through."""
        self._refusing = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._ways: set[asyncio.Task[None]] = set()

    def aim(self, port: int) -> None:
        """Carry connections from now on to another port: the server has been started anew."""
        self._target = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def cut(self, *, reset: bool = True) -> None:
        """End every connection at once, on both sides: with RST (what is under way is lost) or with FIN."""
        for writer in list(self._writers):
            _end(writer, reset=reset)
        for way in self._ways:
            way.cancel()
        if self._connections:
            await asyncio.wait(set(self._connections))

    def stall(self) -> None:
        """Read nothing any more, from either side, as if the network were gone; connections stay open."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let flow again what was stalled."""
        self._flowing.set()

    def refuse(self) -> None:
        """End new connections as they come, with RST."""
        self._refusing = True

    def accept(self) -> None:
        """Let new connections through again."""
        self._refusing = False

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection from now on, in a task of our own: asyncio's would complain when it is cancelled."""
        task = asyncio.create_task(self._carry_both(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _carry_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both directions of one connection, until either side ends it."""
        self._writers.add(writer)
        try:
            if self._refusing:
                _end(writer, reset=True)
                return
            try:
                there, back = await asyncio.open_connection(self._host, self._target)
            except OSError:
                _end(writer, reset=True)
                return
            self.accepted += 1
            self._writers.add(back)
            try:
                ways = {asyncio.create_task(self._carry(reader, back)), asyncio.create_task(self._carry(there, writer))}
                self._ways |= ways
                await asyncio.wait(ways)
                self._ways -= ways
            finally:
                for way in ways:
                    way.cancel()
                _end(back, reset=False)
                self._writers.discard(back)
        finally:
            _end(writer, reset=False)
            self._writers.discard(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction; its end is passed on."""
        try:
            while data := await self._read(reader):
                if self.delay:
                    await asyncio.sleep(self.delay)
                    await self._flowing.wait()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            _end(writer, reset=True)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        await self._flowing.wait()
        data = await reader.read(CHUNK)
        await self._flowing.wait()
        return data


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if writer.is_closing():
        return
    if reset:
        made: socket.socket = writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
    else:
        writer.close()


@asynccontextmanager
async def cutting_proxy(target_host: str, target_port: int) -> AsyncIterator[CuttingProxy]:
    """Listens on a free port of this machine; every connection ends with it."""
    proxy = CuttingProxy(target_host, target_port)
    server = await asyncio.start_server(proxy.begin, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.cut()
