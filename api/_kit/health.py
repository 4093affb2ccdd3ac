"""How the server is: what `/health` says of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from api._kit.ports import Clock
from api._kit.values import Output

Condition = Literal["ok", "degraded", "unavailable"]
Probe = Callable[[], Awaitable[Condition]]
PROBE_SECONDS: Final = 1.0


class ServiceHealth(Output):
    """How one service is."""

    service: str
    status: Condition
    version: str


class ServerHealth(Output):
    """How the whole server is: `degraded` when a part of it is not well."""

    status: Condition
    version: str
    uptime_s: int
    services: dict[str, Condition]
    parts: dict[str, Condition]


class Liveness(Output):
    """The process answers."""

    status: Literal["ok"]


class Vitals:
    """What is known of the server's health. Compose adds a probe for each part: database, stt, llm, tts."""

    def __init__(self, clock: Clock, version: str, services: tuple[str, ...] = ()) -> None:
        self._clock, self._started = clock, clock.monotonic()
        self._probes: dict[str, Probe] = {}
        self._elsewhere: dict[str, Callable[[], Condition]] = {}
        self.version, self.services = version, services
        self.ready = False
        self.draining = False

    @property
    def serving(self) -> bool:
        return self.ready and not self.draining

    def watch(self, part: str, probe: Probe) -> None:
        self._probes[part] = probe

    def elsewhere(self, service: str, condition: Callable[[], Condition]) -> None:
        """A service that other processes serve, and how they are."""
        self._elsewhere[service] = condition

    async def parts(self) -> Mapping[str, Condition]:
        """Ask every part at once; one that does not answer in a second is unavailable."""
        answers = await asyncio.gather(*(self._ask(probe) for probe in self._probes.values()))
        return dict(zip(self._probes, answers, strict=True))

    async def _ask(self, probe: Probe) -> Condition:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await probe()
        except Exception:
            return "unavailable"

    async def report(self) -> ServerHealth:
        parts = await self.parts()
        database = parts.get("database", "ok")
        services = dict.fromkeys(self.services, database)
        services |= {name: condition() for name, condition in self._elsewhere.items()}
        well = all(condition == "ok" for condition in (*parts.values(), *services.values()))
        worst: Condition = "ok" if well and self.serving else "degraded"
        return ServerHealth(
            status=worst if database != "unavailable" else "unavailable",
            version=self.version,
            uptime_s=int(self._clock.monotonic() - self._started),
            services=services,
            parts=dict(parts),
        )
