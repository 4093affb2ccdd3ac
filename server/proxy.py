"""Rows of the catalogue that other processes serve: requests go to them and answers come back, both as they come.

The gateway only passes on. Authentication, limits, idempotency and cross-origin rules are done once, where the row is
(docs/adr/0010). What it adds is the request's id and the client's address, in place of whatever the client said about
that. These are the operator's own addresses, so they are not dialled through the guard for strangers' URLs.

What may fail:
- A member cannot be reached: the request, of which nothing was sent, goes to the next one; this one gets nothing more
  until a look finds it well.
- A member is frozen or not ready: two looks in a row that fail, and it gets nothing more until one succeeds.
- A member goes away with a request: 503. Whether it had an effect is not known, so it is not sent again by us; a client
  that sends it again with the same `Idempotency-Key` is safe.
- It goes away within its answer: the client's connection is cut, so that half an answer never looks like a whole one.
- Nobody is left: 503 with `Retry-After`, at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import structlog
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
    hdrs,
    web,
)
from aiohttp.typedefs import Middleware
from multidict import CIMultiDict
from yarl import URL

from api._kit.errors import Unavailable
from api._kit.health import Condition
from api._kit.http import CLIENT, REQUEST_ID
from pipelines.ports import Clock
from server.core.spread import Member, choose

CONNECT_SECONDS: Final = 2.0
QUIET_SECONDS: Final = 75.0
"""How long nothing may come from a member: longer than its own deadlines, so that their answers come through."""
KEEP_ALIVE: Final = 10.0
"""Shorter than the door's, so that no request is sent on a connection that is being closed."""
LOOK_EVERY: Final = 1.0
LOOK_SECONDS: Final = 1.0
RETRY_AFTER: Final = 2
_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that are about one connection (RFC 9110, 7.6.1)."""
_OURS: Final = frozenset({"host", "expect", "forwarded", "x-forwarded-for", "x-real-ip", "x-request-id"})
"""What a client says about itself, and what is said anew here."""

log = structlog.get_logger("server.proxy")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _NotReached(Exception):
    """Nothing of the request was sent."""


class Rows:
    """The rows that are elsewhere, by name. `run` looks after their members; `close` when nothing is asked any more."""

    def __init__(self, addresses: Mapping[str, Sequence[str]], *, clock: Clock) -> None:
        self._clock = clock
        self._http = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=QUIET_SECONDS),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE, hdrs.USER_AGENT),
        )
        self.members = {url: Member(url) for urls in addresses.values() for url in urls}
        self.by_name = {
            name: Row(name, [self.members[url] for url in urls], self._http) for name, urls in addresses.items()
        }

    async def run(self) -> None:
        """Look at every member, again and again, until cancelled."""
        while True:
            await asyncio.gather(*(self._look(member) for member in self.members.values()))
            await self._clock.sleep(LOOK_EVERY)

    async def _look(self, member: Member) -> None:
        well = member.well
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._http.get(f"{member.url}/health/ready") as answer:
                ready = answer.status == 200
        except (ClientError, TimeoutError):
            ready = False
        if ready:
            member.seen()
        else:
            member.missed()
        if member.well != well:
            log.warning("member.back" if member.well else "member.out", url=member.url)

    async def close(self) -> None:
        await self._http.close()


class Row:
    """One row: what comes under its prefix goes to one of its members."""

    def __init__(self, name: str, members: Sequence[Member], http: ClientSession) -> None:
        self.name, self.members, self._http = name, list(members), http

    def condition(self) -> Condition:
        """Degraded when some members are away, unavailable when all are."""
        well = [member for member in self.members if member.well]
        return "ok" if len(well) == len(self.members) else "degraded" if well else "unavailable"

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """The answer of a member. Raises Unavailable."""
        tried: set[Member] = set()
        while member := choose(self.members, tried):
            tried.add(member)
            self.members.remove(member)  # to the end, so that equals take turns
            self.members.append(member)
            member.running += 1
            try:
                return await self._through(member, request)
            except _NotReached:
                member.away()
                log.warning("member.out", url=member.url)
            finally:
                member.running -= 1
        raise Unavailable(details=f"nobody serves {self.name} at the moment", retry_after=RETRY_AFTER)

    async def _through(self, member: Member, request: web.Request) -> web.StreamResponse:
        """Raises _NotReached, and Unavailable when the member went away with the request."""
        url = URL(member.url + str(request.rel_url), encoded=True)
        body = request.content if request.can_read_body else None
        try:
            asked = self._http.request(request.method, url, headers=_asked(request), data=body, allow_redirects=False)
            answer = await asked
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            raise _NotReached from error
        except (ClientError, TimeoutError) as error:
            reason = f"{self.name} did not answer: {type(error).__name__}"
            raise Unavailable(details=reason, retry_after=RETRY_AFTER) from error
        async with answer:
            return await _back(request, answer)


async def _back(request: web.Request, answer: ClientResponse) -> web.StreamResponse:
    """The answer, piece by piece; the client's connection is cut where the member's was."""
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_kept(answer.headers, _HOP))
    try:
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            async for piece in answer.content.iter_any():
                await response.write(piece)
        await response.write_eof()
    except (ClientError, TimeoutError, ConnectionResetError) as error:  # the member's, or the client's who has left
        log.info("answer.cut", path=request.path, error=type(error).__name__)
        answer.close()
        if request.transport is not None:
            request.transport.abort()
    return response


def _asked(request: web.Request) -> CIMultiDict[str]:
    headers = _kept(request.headers, _HOP | _OURS)
    headers["X-Request-ID"] = request[REQUEST_ID]
    headers["X-Forwarded-For"] = request[CLIENT]
    return headers


def _kept(headers: Mapping[str, str], without: Collection[str]) -> CIMultiDict[str]:
    """Headers that are not about the connection they came on, nor named by its `Connection` header."""
    named = {name.strip().lower() for name in headers.get(hdrs.CONNECTION, "").split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in named | set(without))


def passing(rows: Iterable[Row]) -> Middleware:
    """Requests for these rows go by what is done where the row is."""
    forwards = {row.forward for row in rows}

    @web.middleware
    async def by(request: web.Request, handler: Handler) -> web.StreamResponse:
        target = request.match_info.handler
        return await (target if target in forwards else handler)(request)

    return by
