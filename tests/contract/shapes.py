"""The shapes that the same server has: one process or many, on SQLite or on PostgreSQL."""

import os
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final, Literal

from aiohttp.test_utils import TestServer

from api._kit.endpoint import Deps
from api._kit.idempotency import Turnstile
from server.gateway import SERVICES, application
from server.proxy import Row, Rows

Shape = Literal["one", "split", "postgresql"]
ALL: Final = os.environ.get("MA_TEST_SHAPE", "")
"""The one shape that every contract test is run in; without it, `one`, and some files in the others as well."""
ALL_SPLIT: Final = ALL == "split"
SOME: Final = frozenset({"auth", "history", "idempotency", "streams"})
"""Files of contract tests, by name, that are run in every shape."""


def shapes_of(module: str) -> list[str]:
    """The shapes that this file's tests are run in."""
    if ALL:
        return [ALL]
    return ["one", "split", "postgresql"] if module.rpartition(".test_")[2] in SOME else ["one"]


@asynccontextmanager
async def rows_of(deps: Deps) -> AsyncIterator[Collection[Row]]:
    """Every row on a port of its own, and what a gateway needs to pass on to them."""
    async with AsyncExitStack() as stack:
        addresses = {}
        for service in SERVICES:
            own = replace(deps, turnstile=Turnstile())
            server = TestServer(application(own, services=(service,), trusted_proxies=1, alone=True))
            await server.start_server()
            stack.push_async_callback(server.close)
            addresses[service.name] = [str(server.make_url("")).rstrip("/")]
        rows = Rows(addresses, clock=deps.clock)
        stack.push_async_callback(rows.close)
        yield list(rows.by_name.values())
