"""Metrics and logs of one server: Prometheus counters in a registry of their own, structured logs with context."""

import asyncio
import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipelines.ports import Clock

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.9, 1.5, 2.5, 5, 10)
_LATE = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.05, 0.1, 0.25, 1, 5)
_SECRET = ("authorization", "token", "password", "secret", "api_key", "text")


class Metrics:
    """What `/metrics` shows. Labels are closed sets: never an id, never a raw path."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge("ma_sessions", "Open conversations", registry=self.registry)
        self.sockets = Gauge("ma_sockets", "Attached sockets", registry=self.registry)
        self.turns = Counter("ma_turns_total", "Replies by how they ended", ["status"], registry=self.registry)
        self.stage = Histogram(
            "ma_stage_seconds",
            "From the user's last sound (or typed message) to each stage of the reply",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.errors = Counter("ma_errors_total", "Errors sent to clients", ["code"], registry=self.registry)
        self.requests = Histogram(
            "ma_http_request_seconds",
            "REST requests by route template",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.turned_away = Counter(
            "ma_connections_refused_total", "Connections for which there was no room", registry=self.registry
        )
        self.limits = Counter(
            "ma_limits_total", "Requests counted, by where: redis, or fallback", ["store"], registry=self.registry
        )
        self.loop_lag = Histogram(
            "ma_event_loop_lag_seconds", "How late the event loop wakes", buckets=_LATE, registry=self.registry
        )
        self.tasks = Gauge("ma_tasks", "Tasks of the event loop", registry=self.registry)

    def text(self) -> bytes:
        """The Prometheus exposition format."""
        return generate_latest(self.registry)


async def watch_loop(metrics: Metrics, clock: Clock, *, every: float = 0.1) -> None:
    """Record how late the event loop wakes, until cancelled; its tasks are counted when somebody asks."""
    loop = asyncio.get_running_loop()
    metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
    while True:
        before = clock.monotonic()
        await clock.sleep(every)
        metrics.loop_lag.observe(max(0.0, clock.monotonic() - before - every))


def configure_logs(level: str, form: str) -> None:
    """Send structured logs to standard error: JSON lines, or readable ones on a terminal."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")


def _redact(_: Any, __: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: "[redacted]" if key.lower() in _SECRET else value for key, value in event.items()}
