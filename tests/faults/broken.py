"""A server with one rule of its edge broken, named by the first argument: the check that guards it must see it."""

import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from api._kit import http
from api._kit.auth import Principal
from server import app, door, sockets
from server.__main__ import main
from server.core import breaker
from server.infra import limits


def deadlines() -> None:
    """Those that the libraries come with: an hour for a header, none for a body, none for joining."""
    door.KEEP_ALIVE = 3630.0  # type: ignore[misc]
    http.BODY_SECONDS = math.inf  # type: ignore[misc]
    sockets.CONNECT_SECONDS = 3600.0


def drain() -> None:
    """Told to stop, it goes at once: nobody is told, no answer ends, and what was heard is not kept."""

    async def gone(*_: Any) -> None:
        os._exit(0)

    app._drain = gone


def origin() -> None:
    """A token is good on whatever website it is found."""
    authenticate = sockets.Sockets._authenticate

    async def anywhere(self: sockets.Sockets, auth: Any, environ: Mapping[str, Any]) -> Principal:
        return await authenticate(self, auth, {**environ, "HTTP_ORIGIN": None})

    sockets.Sockets._authenticate = anywhere  # type: ignore[method-assign]


def patient() -> None:
    """It waits for Redis as long as the library does, every time."""
    limits.counting.__kwdefaults__["patience"] = 10.0
    breaker.Breaker.allows = lambda self, now: True  # type: ignore[method-assign]


RULES: dict[str, Callable[[], None]] = {
    "deadlines": deadlines,
    "drain": drain,
    "origin": origin,
    "patient": patient,
}

if __name__ == "__main__":
    RULES[sys.argv.pop(1)]()
    sys.exit(main())
