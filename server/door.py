"""The listener: how many connections there may be, and how long one may take before it has said what it wants.

A connection that has not sent a whole header `KEEP_ALIVE` seconds after it was opened, or after its last answer, is
closed; `BODY_SECONDS` in api/_kit/http.py is the deadline of a body, `CONNECT_SECONDS` in server/sockets.py that of a
socket that does not join.
"""

import asyncio
import resource
from typing import Final, cast

from aiohttp import web
from prometheus_client import Counter

from server.core.crowd import Crowd

KEEP_ALIVE: Final = 15.0
LINGERING: Final = 2.0
"""Seconds in which the rest of a body that nobody wants is read, so that its sender gets to see the answer."""
SHUTDOWN: Final = 2.0
"""Seconds that requests have to end when the door closes."""
BACKLOG: Final = 1024
OTHER_FILES: Final = 256
"""Open files that are no connections: databases, workers, outgoing requests."""
FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Door:
    """Serves one application; `refused` counts the connections for which there was no room."""

    def __init__(self, app: web.Application, crowd: Crowd, refused: Counter) -> None:
        self._runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN)
        self.crowd, self.refused = crowd, refused
        self._listener: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port, which the system chooses when 0 was asked for. Raises OSError."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connection, host, port, reuse_address=True, backlog=BACKLOG)
        return int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and let running requests end."""
        if self._listener:
            self._listener.close()
        await self._runner.cleanup()

    def _connection(self) -> "Connection":
        assert self._runner.server
        return Connection(self, self._runner.server)


class Connection(web.RequestHandler):
    """One connection of one client."""

    __slots__ = ("_address", "_door")

    def __init__(self, door: Door, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to say: none
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=LINGERING,
        )
        self._door = door
        self._address: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if self._door.crowd.enter(address):
            self._address = address
            super().connection_made(transport)
            return
        self._door.refused.inc()
        self.force_close()
        cast(asyncio.Transport, transport).write(FULL)
        transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._address is not None:
            self._door.crowd.leave(self._address)
            self._address = None
        super().connection_lost(exc)


def room_for(connections: int) -> int:
    """For how many connections the system has open files: `connections` where it lets itself be asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, soft - OTHER_FILES))
