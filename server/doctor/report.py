"""The doctor's whole round, in the order of a start: what is missing early explains what fails later."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

from pipelines.ports import Clock
from server.compose import model_store, provider_settings
from server.doctor import depot, place, trials
from server.doctor.findings import Check, Finding, examine
from server.gateway import Files
from server.settings import Settings


def findings(
    settings: Settings, clock: Clock, *, unknown: Sequence[str] = (), quick: bool = False, files: Files | None = None
) -> AsyncIterator[Finding]:
    """`quick` starts no process and asks no model. `unknown` are variables that look like settings and are none."""
    store, providers = partial(model_store, settings), provider_settings(settings)
    checks = [
        Check("Python", partial(asyncio.to_thread, place.machine)),
        Check("settings", partial(asyncio.to_thread, place.names, unknown)),
        Check("data directory", partial(asyncio.to_thread, place.data_directory, settings), 20),
        Check("secret key", partial(asyncio.to_thread, place.secrets, settings)),
        Check("mails", partial(asyncio.to_thread, place.mails, settings)),
        Check("port", partial(place.port, settings)),
        Check("widget", partial(asyncio.to_thread, place.built, files or Files())),
        Check("database", partial(depot.database, settings.database), 20),
    ]
    if settings.redis_url:
        checks.append(Check("Redis", partial(depot.redis, settings.redis_url)))
    checks.append(Check("models", partial(depot.models, store, providers), 300))
    if not quick:
        checks.append(Check("processes", partial(trials.workers, store, providers, clock), 180))
        if settings.llm.base_url:
            checks.append(Check("LLM endpoint", partial(trials.endpoint, store, providers, clock), 30))
    return examine(checks)
