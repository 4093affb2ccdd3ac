"""Which rows of the catalogue this process serves, and where the others are.

One process serves everything. Where a row is given addresses (`MA_SERVICES__AUTH=http://a:8001,http://b:8001`) the
gateway passes it on to them, and `serve --only auth` is what runs there. All of them share one database, one Redis and
one folder for media.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from api._kit.endpoint import Service
from server.gateway import SERVICES
from server.settings import Settings

TALKING: Final = frozenset({"chat-3d", "chat-text", "chat-voice", "selection", "prompts", "llm"})
"""Rows that ask the models; `/chat` and the jobs run beside them, and with the gateway."""
STAYING: Final = frozenset({"state-3d", "state-text", "state-voice"})
"""Rows that show what conversations do at this moment, which only the process that holds their sockets knows."""
_SHARED: Final = "Rows in processes of their own share"


class WrongShape(ValueError):
    """What is in the way of serving so, and how to mend it, in words for a terminal."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`services` are those of this process, passed on or not; `elsewhere` says where each row is that is passed on;
    `alone` is a process that serves some rows behind a gateway."""

    services: tuple[Service, ...] = SERVICES
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)
    alone: bool = False

    @property
    def talks(self) -> bool:
        """Whether this process needs the models."""
        return not self.alone or any(service.name in TALKING for service in self.services)

    def port(self, settings: Settings) -> int:
        return self.services[0].port if self.alone else settings.port

    def trusted_proxies(self, settings: Settings) -> int:
        """A row alone stands behind the gateway, which says whom it speaks for."""
        return 1 if self.alone else settings.trusted_proxies


def shape(settings: Settings, only: Sequence[str] = ()) -> Shape:
    """Raises WrongShape."""
    known = {service.name: service for service in SERVICES}
    given = {} if only else {_name(row): _addresses(row, urls) for row, urls in settings.services.items()}
    elsewhere = {name: urls for name, urls in given.items() if urls}
    for name in (*only, *given):
        if name not in known:
            raise WrongShape(f"There is no row {name}. There are: {', '.join(known)}.")
        if name in STAYING:
            raise WrongShape(f"{name} shows what the gateway's own sockets do, and is served by the gateway itself.")
    if only or elsewhere:
        _shared(settings)
    return Shape(tuple(known[name] for name in only) or SERVICES, elsewhere, alone=bool(only))


def _name(row: str) -> str:
    """Variables have no hyphens: `MA_SERVICES__CHAT_3D`."""
    return row.lower().replace("_", "-")


def _addresses(row: str, urls: str) -> list[str]:
    found = [url.strip().rstrip("/") for url in urls.split(",") if url.strip()]
    for url in found:
        try:
            parsed = URL(url)
            right = parsed.scheme in ("http", "https") and bool(parsed.host) and parsed == parsed.origin()
        except ValueError:
            right = False
        if not right:
            raise WrongShape(f"MA_SERVICES__{row.upper()}: {url} is no address such as http://host:8001.")
    return list(dict.fromkeys(found))


def _shared(settings: Settings) -> None:
    if settings.database.startswith("sqlite"):
        raise WrongShape(
            f"{_SHARED} one PostgreSQL; one SQLite file is for one process. "
            "Set MA_DATABASE_URL=postgresql+asyncpg://user:password@host/name."
        )
    if not settings.redis_url:
        raise WrongShape(f"{_SHARED} one Redis, where requests are counted. Set MA_REDIS_URL=redis://host:6379/0.")
