"""An endpoint is a value in a table. Routes, OpenAPI, authentication and the contract tests read that table."""

from calendar import monthrange
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from typing import Any, Final

from pydantic import BaseModel

from api._kit.auth import Principal, Tokens
from api._kit.choices import Choices
from api._kit.errors import PreconditionFailed, Unauthenticated
from api._kit.health import ServiceHealth, Vitals
from api._kit.idempotency import Replays, Turnstile
from api._kit.limits import Allowance, Limits
from api._kit.ports import (
    Accounts,
    BotParts,
    Bots,
    Box,
    Clock,
    Conversations,
    Drafts,
    Egress,
    IdentitySecrets,
    Ids,
    Keys,
    LanguageModels,
    LiveCalls,
    LiveStates,
    Media,
    Passwords,
    Plans,
    Revocations,
    SecondFactors,
    Speech,
    TurnEngine,
    Vault,
)
from api._kit.sse import Background, Streamed, Streams
from api._kit.store import Database
from api._kit.values import milliseconds

ROLES: Final[Mapping[str, str]] = {
    "P": "anyone",
    "V": "a visitor of the chatbot",
    "M": "any member of the organisation",
    "E": "editors, admins and owners",
    "A": "admins and owners",
    "O": "owners",
    "C": "members with the clinician capability",
    "G": "members with the agent capability",
    "S": "platform superadmins",
    "K": "API keys with the service's scope",
}
JSON_BYTES: Final = 262_144
"""Largest JSON body."""


@dataclass(frozen=True, slots=True)
class WidgetBuild:
    """The widget's entry as it was built: the path of its hashed copy, and that file's subresource integrity."""

    path: str
    integrity: str


@dataclass(frozen=True, slots=True)
class Deps:
    """Everything that handlers are given.

    `origin` is the public URL without a trailing slash.
    """

    clock: Clock
    ids: Ids
    database: Database
    tokens: Tokens
    passwords: Passwords
    vault: Vault
    revocations: Revocations
    accounts: Accounts
    keys: Keys
    factors: SecondFactors
    identities: IdentitySecrets
    bots: Bots
    parts: BotParts
    models: LanguageModels
    drafts: Drafts
    live: LiveStates
    conversations: Conversations
    streams: Streams
    background: Background
    calls: LiveCalls
    engine: TurnEngine
    speech: Speech
    box: Box
    egress: Egress
    media: Media
    plans: Plans
    limits: Limits
    replays: Replays
    vitals: Vitals
    origin: str
    choices: Choices
    widget: WidgetBuild | None = None
    turnstile: Turnstile = field(default_factory=Turnstile)

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return milliseconds(self.clock.now())


@dataclass(frozen=True, slots=True)
class UploadedFile:
    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Ctx:
    """The one request, as every handler sees it."""

    request_id: str
    principal: Principal | None
    path: Mapping[str, str]
    deps: Deps
    client: str = ""
    origin: str | None = None
    same_origin: bool = False
    if_match: str | None = None
    last_event_id: str | None = None
    idempotency_key: str | None = None
    upload: UploadedFile | None = None

    @property
    def caller(self) -> Principal:
        if self.principal is None:
            raise Unauthenticated
        return self.principal

    @property
    def tenant(self) -> str:
        return self.caller.organization_id

    def expect(self, etag: str) -> None:
        """Raises PreconditionFailed when the client's `If-Match` names other states only (RFC 9110, 13.1.1)."""
        if self.if_match is not None and not {"*", etag} & {tag.strip() for tag in self.if_match.split(",")}:
            raise PreconditionFailed


@dataclass(frozen=True, slots=True)
class Reply:
    """A response with headers or a status of its own."""

    body: BaseModel
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upload:
    """The endpoint also takes multipart/form-data: the body's fields and one file."""

    field: str
    max_bytes: int
    description: str


NOTICE_MONTHS: Final = 6
"""The shortest time between saying that an endpoint goes and its going."""


@dataclass(frozen=True, slots=True)
class Deprecation:
    """When it was announced that an endpoint goes, when it goes, what replaces it, and where to read about it.

    Raises ValueError for a notice of less than NOTICE_MONTHS.
    """

    announced: date
    sunset: date
    successor: str
    notice: str

    def __post_init__(self) -> None:
        years, month = divmod(self.announced.month - 1 + NOTICE_MONTHS, 12)
        year, month = self.announced.year + years, month + 1
        if self.sunset < date(year, month, min(self.announced.day, monthrange(year, month)[1])):
            raise ValueError(f"an endpoint goes {NOTICE_MONTHS} months after that was announced, or later")

    @property
    def headers(self) -> Mapping[str, str]:
        """`Deprecation` (RFC 9745), `Sunset` (RFC 8594), and links to both pages."""
        announced, sunset = (datetime.combine(day, time(), UTC) for day in (self.announced, self.sunset))
        return {
            "Deprecation": f"@{int(announced.timestamp())}",
            "Sunset": format_datetime(sunset, usegmt=True),
            "Link": f'<{self.notice}>; rel="deprecation", <{self.successor}>; rel="successor-version"',
        }


Handler = Callable[..., Awaitable[BaseModel | Reply | Streamed]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the catalogue. The handler gets the context, then the body, then the query, where it has them."""

    service: str
    method: str
    path: str
    call: Handler
    name: str
    who: frozenset[str]
    returns: type[BaseModel]
    status: int = 200
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    upload: Upload | None = None
    errors: tuple[int, ...] = ()
    others: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    """Statuses besides `status` whose body is not the error envelope."""
    etag: bool = False
    deprecation: Deprecation | None = None
    counted: bool = True
    """Whether requests count against the caller's rate limit."""
    harmless: bool = False
    """Doing it twice does no harm, or the handler sees to that itself: an `Idempotency-Key` claims nothing."""
    streams: bool = False
    """Answers with server-sent events, that add up to `returns`; a repetition by `Idempotency-Key` with that itself."""
    limit: Callable[[Ctx, Any], Sequence[Allowance]] | None = None
    """More to count by than who asks, from the context and the body."""
    reused: Callable[[Deps, Principal], Awaitable[None]] | None = None
    """Told when a token that was exchanged is shown here after its time of grace: somebody has a copy."""
    max_body: int = JSON_BYTES
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def public(self) -> bool:
        return "P" in self.who

    @property
    def scope(self) -> str:
        """What an API key needs to have been given."""
        return f"{self.service}:{'read' if self.method == 'GET' else 'write'}"

    @property
    def summary(self) -> str:
        return (self.call.__doc__ or self.name).strip().splitlines()[0].rstrip(".")

    @property
    def description(self) -> str:
        return "\n".join(line.strip() for line in (self.call.__doc__ or "").strip().splitlines())


@dataclass(slots=True)
class Service:
    """One catalogued service: its name, its port when it runs alone, what it is for, its endpoints."""

    name: str
    port: int
    title: str
    purpose: str
    prefix: str | None = None
    endpoints: list[Endpoint] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.prefix is None:
            self.prefix = f"/api/v1/{self.name}"
            self.get("/health", who="P", returns=ServiceHealth, name="health", counted=False)(self._health())

    def _health(self) -> Handler:
        async def health(ctx: Ctx) -> ServiceHealth:
            """How this service is."""
            database = (await ctx.deps.vitals.parts()).get("database", "ok")
            return ServiceHealth(service=self.name, status=database, version=ctx.deps.vitals.version)

        return health

    def route(
        self,
        method: str,
        path: str,
        *,
        who: str,
        returns: type[BaseModel],
        name: str | None = None,
        **rest: Any,
    ) -> Callable[[Handler], Handler]:
        """Add an endpoint. `who` is a comma-separated list of role codes."""
        roles = frozenset(who.split(","))
        if unknown := roles - ROLES.keys():
            raise ValueError(f"unknown roles {unknown}")

        def register(call: Handler) -> Handler:
            title = name or call.__name__
            full = f"{self.prefix}{path}"
            self.endpoints.append(Endpoint(self.name, method, full, call, title, roles, returns, **rest))
            return call

        return register

    def get(self, path: str, **rest: Any) -> Callable[[Handler], Handler]:
        return self.route("GET", path, **rest)

    def post(self, path: str, **rest: Any) -> Callable[[Handler], Handler]:
        return self.route("POST", path, **rest)

    def patch(self, path: str, **rest: Any) -> Callable[[Handler], Handler]:
        return self.route("PATCH", path, **rest)

    def put(self, path: str, **rest: Any) -> Callable[[Handler], Handler]:
        return self.route("PUT", path, **rest)

    def delete(self, path: str, **rest: Any) -> Callable[[Handler], Handler]:
        return self.route("DELETE", path, **rest)
