"""Serving: listen, say when ready, and on SIGTERM let running replies end before going."""

import asyncio  # ensure_future only for a wait that cancels its tasks itself
import gc
import signal
import sys
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

import structlog
from aiohttp import web

from api._kit.errors import NotFound
from pipelines.ports import Clock
from pipelines.providers.base import ProviderError
from server.compose import House, house
from server.core.crowd import Crowd
from server.door import Door, room_for
from server.infra.clock import SystemClock
from server.infra.db import migrate
from server.middleware import client_address, timed
from server.settings import Settings
from server.shape import Shape
from server.telemetry import Metrics
from server.voices import measure

THREAD_TURN = 0.0005
"""Seconds after which a busy event loop lets another thread of this process go on: a commit is some ten such turns."""
LOAD_SECONDS = 60.0
"""How long the workers may take to load their models before the server gives up."""
_FORWARDED: Final = frozenset({"forwarded", "x-forwarded-for", "x-real-ip"})
"""What proxies say about whom they speak for."""

log = structlog.get_logger()


class CannotStart(Exception):
    """What is in the way, and what to do about it, in words for a terminal."""


async def serve(settings: Settings, say: Callable[[str], None], form: Shape, port: int | None = None) -> None:
    """Until SIGTERM or SIGINT, on `port` or the one of this `form`. Raises CannotStart."""
    try:
        await _serve(settings, say, form, form.port(settings) if port is None else port)
    except ExceptionGroup as group:  # of the TaskGroups that were open when it happened
        raise _reason(group) or group from None


def _reason(error: BaseException) -> CannotStart | None:
    """The first known reason in a tree of exception groups."""
    if isinstance(error, BaseExceptionGroup):
        return next((reason for inner in error.exceptions if (reason := _reason(inner))), None)
    return error if isinstance(error, CannotStart) else None


async def _serve(settings: Settings, say: Callable[[str], None], form: Shape, wanted: int) -> None:
    sys.setswitchinterval(THREAD_TURN)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    await migrate(settings.database)
    proxies = form.trusted_proxies(settings)
    async with house(settings, form=form) as built:
        measured(built.app, built.metrics, SystemClock(), trusted_proxies=proxies)
        door = Door(built.app, crowd(settings, proxies), built.metrics.turned_away)
        try:
            port = await _listen(door, settings.host, wanted)
            if built.providers.workers:
                say("Loading the models ...")
            await _loaded(built, stop)
            if not stop.is_set():
                if built.providers.workers and not settings.tts.voice:
                    kept = settings.data_dir / "voices.json"
                    log.info("voices measured", **await measure(built.providers, SystemClock(), kept))
                _settle()
                built.vitals.ready = True
                say(f"\nReady: {settings.origin if port == settings.port else f'http://localhost:{port}'}\n")
                log.info("ready", host=settings.host, port=port)
                await stop.wait()
            await _drain(built, settings)
        finally:
            await door.close()


def _settle() -> None:
    """What is in memory now stays: the collector would walk through it again and again, and all would wait 150 ms."""
    gc.collect()
    gc.freeze()


def crowd(settings: Settings, trusted_proxies: int) -> Crowd:
    """Behind a trusted proxy all connections come from its address, so that only their number counts."""
    each = 0 if trusted_proxies else settings.max_connections_per_address
    return Crowd(room_for(settings.max_connections), each)


async def _listen(door: Door, host: str, port: int) -> int:
    """The port that is really listened on, also when 0 was asked for."""
    try:
        return await door.open(host, port)
    except OSError as error:
        raise CannotStart(
            f"Cannot listen on {host}:{port}: {error.strerror or error}. "
            "Another program may use the port; choose one with MA_PORT."
        ) from None


async def _loaded(built: House, stop: asyncio.Event) -> None:
    """Wait for every worker, or for the order to stop."""
    ready = asyncio.gather(*(worker.ready() for worker in built.providers.workers))
    stopping = asyncio.ensure_future(stop.wait())  # cancelled below
    both: set[asyncio.Future[Any]] = {ready, stopping}
    try:
        await asyncio.wait(both, timeout=LOAD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done() and not stop.is_set():
            raise CannotStart(f"The models were not loaded within {LOAD_SECONDS:.0f} s.")
        if ready.done():
            ready.result()
    except ProviderError as error:
        raise CannotStart(f"A model could not be loaded: {error}") from error
    finally:
        ready.cancel()
        stopping.cancel()
        await asyncio.gather(ready, stopping, return_exceptions=True)


async def _drain(built: House, settings: Settings) -> None:
    """Not ready any more; running replies end; then every socket is told and closed."""
    built.vitals.draining = True
    log.info("draining", sessions=built.hub.count)
    await built.hub.drain(settings.shutdown_seconds)
    await built.sockets.close()
    log.info("stopped")


def measured(app: web.Application, metrics: Metrics, clock: Clock, *, trusted_proxies: int = 0) -> None:
    """Time every request, and show `/metrics` to this machine and its private network only."""

    async def show(request: web.Request) -> web.StreamResponse:
        if not _private(request, trusted_proxies):
            raise NotFound
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    app.middlewares.insert(0, timed(metrics, clock))
    app.router.add_get("/metrics", show)


def _private(request: web.Request, trusted_proxies: int) -> bool:
    """Behind a proxy that is not trusted, nobody is: the address is the proxy's own, whoever asks."""
    if not trusted_proxies and not _FORWARDED.isdisjoint(name.lower() for name in request.headers):
        return False
    try:
        address = ip_address(client_address(request, trusted_proxies))
    except ValueError:
        return False
    return address.is_loopback or address.is_private


def print_line(text: str) -> None:
    """To the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
