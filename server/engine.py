"""The Engine.IO server below Socket.IO: its websockets, what waits to be written on them, and how they end.

The remedies for the library's hazards that reach into it: no permessage-deflate, which costs memory by socket and gains
nothing on audio; a queue that knows how much waits in it, where the library's would grow for ever; an end that does not
wait for a peer that has gone deaf.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import engineio
from aiohttp import web
from engineio.async_drivers import aiohttp as driver

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
