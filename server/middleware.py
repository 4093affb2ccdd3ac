"""What every request passes: its id, the client's address, a deadline, the error envelope, cross-origin rules."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from api._kit.endpoint import Deps
from api._kit.errors import (
    ApiError,
    BadRequest,
    InternalError,
    InvalidFormat,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    Unavailable,
    UnsupportedMediaType,
    envelope,
)
from api._kit.http import CHARGES, CLIENT, NOTICE, REQUEST_ID, count
from api._kit.limits import headers as limit_headers
from api._kit.limits import preflight
from api._kit.origins import normal
from api._kit.values import milliseconds, rfc3339
from pipelines.ports import Clock
from server.telemetry import Metrics

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

READER: Final = web.RequestKey("reader", str)
"""The website whose scripts may read the answer; empty for one that may not."""
API: Final = "/api/"
SOCKETS: Final = "/socket.io/"
VERSIONS: Final = ("v1", "v2")
SERVED: Final = "v1"
DEADLINE: Final = 60.0
"""Seconds that a handler of the API may take."""
KNOWN: Final = 10.0
"""Seconds after which a website that is allowed, or not any more, is seen to be."""
MOST: Final = 10_000
"""Websites that are remembered."""
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_EXPOSED: Final = (
    "X-Request-ID, API-Version, ETag, Link, Location, Retry-After, Idempotency-Replayed, X-RateLimit-Limit, "
    "X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit-Policy, RateLimit, Deprecation, Sunset"
)
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_ALLOWED: Final = (
    "Authorization, Content-Type, X-Request-ID, API-Version, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID"
)
_FOR_ANYONE: Final = ("/widget.js", "/w/", "/avatars/", "/media/")
"""Files that any page may load."""
_SECURE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_OURS: Final[dict[int, type[ApiError]]] = {
    400: BadRequest,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
}

log = structlog.get_logger("server.http")


def middlewares(deps: Deps, *, trusted_proxies: int = 0) -> list[Middleware]:
    """Outermost first."""
    return [_envelope(deps, trusted_proxies), _cross_origin(deps), _limits(deps)]


def timed(metrics: Metrics, clock: Clock) -> Middleware:
    """Record how long each request takes, by its route's template; a socket is as long as its conversation."""

    @web.middleware
    async def time(request: web.Request, handler: Handler) -> web.StreamResponse:
        start, status = clock.monotonic(), 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            resource = request.match_info.route.resource
            route = resource.canonical if resource else "unknown"
            if route != SOCKETS:
                method = request.method if request.method in hdrs.METH_ALL else "other"
                metrics.requests.labels(method, route, str(status)).observe(clock.monotonic() - start)

    return time


def client_address(request: web.BaseRequest, trusted_proxies: int) -> str:
    """The address that the outermost believed proxy saw. Nothing that a client sends counts without a proxy."""
    peer = request.remote or ""
    if not trusted_proxies:
        return peer
    hops = [hop.strip() for line in request.headers.getall("X-Forwarded-For", []) for hop in line.split(",")]
    seen = [hop for hop in hops if hop]
    return seen[-trusted_proxies] if len(seen) >= trusted_proxies else (seen[0] if seen else peer)


def _envelope(deps: Deps, trusted_proxies: int) -> Middleware:
    """Give the request its id, and every refusal and every crash the standard body."""

    @web.middleware
    async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else deps.ids.new("req")
        request[REQUEST_ID] = request_id
        request[CLIENT] = client_address(request, trusted_proxies)
        try:
            response = await handler(request)
        except ApiError as error:
            response = _refuse(deps, request_id, error)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            response = _refuse(deps, request_id, _translated(error))
        except Exception:
            log.exception("request.crashed", request_id=request_id, method=request.method, path=request.path)
            response = _refuse(deps, request_id, InternalError(details="contact support with the request_id"))
        if not response.prepared:
            response.headers["X-Request-ID"] = request_id
            if CHARGES not in request and request.path.startswith(API) and request.method != hdrs.METH_OPTIONS:
                await count(request, deps, None, 0)
            response.headers.update(limit_headers(request.get(CHARGES, ()), deps.clock.now()))
            for name, value in request.get(NOTICE, {}).items():
                response.headers.add(name, value)
            _harden(request, response)
        return response

    return outermost


def _refuse(deps: Deps, request_id: str, error: ApiError) -> web.Response:
    if error.status >= 500:
        log.warning("request.failed", request_id=request_id, code=error.code, details=error.details)
    body = envelope(error, request_id, rfc3339(milliseconds(deps.clock.now())))
    return web.json_response(body, status=error.status, headers=error.headers)


def _translated(error: web.HTTPException) -> ApiError:
    """aiohttp's own refusal as ours."""
    headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    if error.status >= 500:
        return Unavailable() if error.status == 503 else InternalError()
    made = _OURS.get(error.status, BadRequest)(headers=headers)
    if error.status not in _OURS:
        made.details = error.reason
    return made


def _harden(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _SECURE.items():
        response.headers.setdefault(name, value)
    anyone = request.path.startswith(_FOR_ANYONE)
    response.headers.setdefault("Cross-Origin-Resource-Policy", "cross-origin" if anyone else "same-origin")
    if anyone:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
    if reader := request.get(READER):
        response.headers["Access-Control-Allow-Origin"] = reader
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    if request.path.startswith(API):
        response.headers.add("Vary", "Origin")
        response.headers["API-Version"] = SERVED
        response.headers.setdefault("Cache-Control", "no-store")


def _cross_origin(deps: Deps) -> Middleware:
    """Which other websites' scripts may read answers: those that a chatbot allows. Cookies are never part of it."""
    websites = _Websites(deps)

    @web.middleware
    async def cross_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is None or not request.path.startswith(API):
            return await handler(request)
        asks = request.method == hdrs.METH_OPTIONS and "Access-Control-Request-Method" in request.headers
        if asks and (refused := (await deps.limits.charge(preflight(request[CLIENT]))).refused):
            raise refused
        request[READER] = origin if await websites.known(origin) else ""
        if not asks:
            return await handler(request)
        response = web.Response(status=204)
        if request[READER]:
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = _ALLOWED
            response.headers["Access-Control-Max-Age"] = "600"
        return response

    return cross_origin


class _Websites:
    """Which websites are ours or allowed by a chatbot. What the database said counts for `KNOWN` seconds, of the last
    `MOST` that were asked for."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._told: dict[str, tuple[bool, float]] = {}

    async def known(self, origin: str) -> bool:
        """Raises StoreUnavailable."""
        try:
            if origin == self._deps.origin or origin != normal(origin):
                return origin == self._deps.origin
        except ValueError:
            return False
        now = self._deps.clock.monotonic()
        known, until = self._told.pop(origin, (False, now))
        if until <= now:
            known, until = await self._deps.bots.origin_known(origin), now + KNOWN
        self._told[origin] = (known, until)
        if len(self._told) > MOST:
            del self._told[next(iter(self._told))]
        return known


def _limits(deps: Deps) -> Middleware:
    """The API's version and its deadline, and a count of those who look for what is not there. Sockets have none of
    them, and no body that somebody would wait for."""

    @web.middleware
    async def limits(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(SOCKETS) and request.method != hdrs.METH_GET:
            raise MethodNotAllowed(headers={"Allow": hdrs.METH_GET})
        if not request.path.startswith(API):
            return await handler(request)
        if request.headers.get("API-Version", SERVED) not in VERSIONS:
            raise InvalidFormat("API-Version is v1 or v2.", details="unknown API-Version")
        if request.match_info.http_exception is not None:
            await count(request, deps, None)
        try:
            async with asyncio.timeout(DEADLINE):
                return await handler(request)
        except TimeoutError:
            raise Unavailable("This took too long. Please try again.", details="deadline") from None

    return limits
