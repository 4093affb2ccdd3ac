"""The Engine.IO server below Socket.IO: its websockets, what waits to be written on them, and how they end.

The remedies for the library's hazards that reach into it: no permessage-deflate, which costs memory by socket and gains
nothing on audio; a queue that knows how much waits in it, where the library's would grow for ever; an end that does not
wait for a peer that has gone deaf; no task and no timer for every message, where pings show already who is gone.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import engineio
from aiohttp import web
from engineio import async_server, async_socket
from engineio.async_drivers import aiohttp as driver
from engineio.exceptions import EngineIOError
from engineio.packet import Packet

BACKLOG = 65_536
"""Bytes that wait to be written on one socket, beside what the operating system holds, before it counts as full."""
GOODBYE_SECONDS = 5.0
"""How long a peer has to take what was last sent to it, once its socket is closed."""


class Plain(driver.WebSocket):  # type: ignore[misc]
    """A websocket without compression."""

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        self._sock = web.WebSocketResponse(max_msg_size=self.server.max_http_buffer_size, compress=False)
        await self._sock.prepare(environ["aiohttp.request"])
        self.environ = environ
        await self.handler(self)
        return self._sock

    async def send(self, message: str | bytes) -> None:
        await (self._sock.send_bytes(message) if isinstance(message, bytes) else self._sock.send_str(message))


class Pipe(async_socket.AsyncSocket):  # type: ignore[misc]
    """What the library keeps of one websocket. It waits for messages as long as the pings are answered."""

    async def poll(self) -> list[Packet]:
        """All packets that wait to be written, and at least one; none at the end."""
        waiting = [await self.queue.get()]
        while not self.queue.empty():
            waiting.append(self.queue.get_nowait())
        for _ in waiting:
            self.queue.task_done()
        if None in waiting:
            end = waiting.index(None)
            waiting = waiting[:end]
            if end:
                self.queue.put_nowait(None)
        return waiting

    async def _websocket_handler(self, websocket: Plain) -> None:
        self.connected = self.upgraded = True
        writing = asyncio.ensure_future(self._write(websocket))  # ends with the queue, which ends below
        try:
            while True:
                await self.receive(Packet(encoded_packet=await websocket.wait()))
        except (OSError, ValueError, EngineIOError):
            pass  # the peer has gone, or sends what is no packet
        finally:
            await self.queue.put(None)
            await writing
            await self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)

    async def _write(self, websocket: Plain) -> None:
        with suppress(OSError):
            while packets := await self.poll():
                for packet in packets:
                    await websocket.send(packet.encode())
        await websocket.close()


class Backlog(asyncio.Queue[Any]):
    """What waits to be written on one socket: packets of the engine, and None at the end."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._bytes = 0
        self._tell: Callable[[], None] | None = None

    def _put(self, item: Any) -> None:
        super()._put(item)
        self._bytes += _size(item)

    def _get(self) -> Any:
        item = super()._get()
        self._bytes -= _size(item)
        if self._tell and self._bytes < BACKLOG:
            tell, self._tell = self._tell, None
            tell()
        return item

    def crowded(self, tell: Callable[[], None]) -> bool:
        """Whether `BACKLOG` bytes wait; then `tell` is called when they do not any more."""
        if self._bytes < BACKLOG:
            return False
        self._tell = tell
        return True


def _size(item: Any) -> int:
    data = getattr(item, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        driver._async["websocket"] = Plain
        async_server.async_socket.AsyncSocket = Pipe
        super().__init__(*arguments, **settings)

    def create_queue(self, *_: Any, **__: Any) -> Backlog:
        return Backlog()

    def crowded(self, sid: str, tell: Callable[[], None]) -> bool:
        """Whether the peer of this socket is behind; then `tell` is called when it is not any more."""
        socket = self.sockets.get(sid)
        return socket is not None and socket.queue.crowded(tell)

    async def hang_up(self, sid: str) -> None:
        """Close a socket without waiting for its peer."""
        socket = self.sockets.get(sid)
        if socket is not None:
            await socket.close(wait=False)
            await socket.queue.put(None)


def end(environ: dict[str, Any]) -> None:
    """The socket that came with this request is closed: its connection ends too, whether its peer reads or not."""
    transport: asyncio.Transport | None = environ["aiohttp.request"].transport
    if transport is not None:
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, transport.abort)
