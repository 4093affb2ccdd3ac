"""Requests that are sent twice and have their effect once.

A request with an `Idempotency-Key` claims the key in the very transaction that makes its change (`store.claims`), and
its answer is kept right after. So a crash never doubles the effect:

| it crashed | the change | sent again |
|---|---|---|
| before the commit | is not there | does it |
| between the commit and the keeping of the answer | is there | 409: carried out, but the answer is lost |
| after that | is there | gets the same bytes |

Two servers that work on the same request at once race for the row: who loses rolls back, waits, and replays.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog

from api._kit.errors import ApiError, IdempotencyConflict, InternalError, Unavailable
from api._kit.ports import CannotOpen, Clock, Vault
from api._kit.store import PLATFORM, Database
from api._kit.store.claims import CLAIM, Claim, ClaimLost, drop_claim, find_claim, keep_answer
from api._kit.values import milliseconds

LONGEST: Final = 255
"""Characters of a key."""
KEPT: Final = 24 * 3600.0
"""Seconds for which an answer is replayed."""
UNFINISHED: Final = 60.0
"""Seconds after which a claim without an answer has lost it: no request takes longer."""
PATIENCE: Final = 10.0
"""Seconds to wait for the answer that another server is making."""
POLL: Final = 0.1
NOT_KEPT: Final = frozenset({400, 401, 403, 429})
"""Refusals that say nothing of the change: the same request may do better later."""

log = structlog.get_logger("api.idempotency")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that may be sent again: whose key for what, and a fingerprint of everything else in it."""

    owner: str
    method: str
    path: str
    key: str
    fingerprint: str

    @property
    def id(self) -> str:
        return digest(self.owner, self.method, self.path, self.key)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as it goes out."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    replayed: bool = field(default=False, compare=False)


def digest(*parts: str | bytes) -> str:
    """A digest from which no part can be told, and none be mistaken for its neighbour."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8) + data)
    return whole.hexdigest()


class Turnstile:
    """Lets one holder of a key through at a time; keys that nobody holds or waits for take no memory."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def alone(self, *key: str) -> AsyncIterator[None]:
        name = "\0".join(key)
        lock, waiting = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(name)
            if waiting > 1:
                self._locks[name] = (lock, waiting - 1)


class Replays:
    """Answers a request once and replays the answer, which opens for this request only."""

    def __init__(self, database: Database, vault: Vault, *, clock: Clock) -> None:
        self._database, self._vault, self._clock = database, vault, clock
        self._turnstile = Turnstile()

    async def once(
        self,
        ticket: Ticket,
        make: Callable[[], Awaitable[Answer]],
        refuse: Callable[[ApiError], Answer],
        *,
        harmless: bool = False,
    ) -> Answer:
        """The answer that `make` gives, or gave. What it raises is kept as `refuse` renders it.

        Not kept: refusals in NOT_KEPT, and failures before any effect. `harmless` work takes care of repetition itself:
        nothing is claimed with its changes, and a failure may be tried again. Raises what `make` raises,
        IdempotencyConflict and Unavailable.
        """
        async with self._turnstile.alone(ticket.id):
            while True:
                kept = await self._find(ticket)
                if kept is not None:
                    return kept
                claim = Claim(ticket.id, ticket.fingerprint, milliseconds(self._clock.now()))
                try:
                    answer = await self._first(claim, make, refuse, harmless=harmless)
                except ClaimLost:
                    continue
                if await self._keep(claim, answer):
                    return answer

    async def _first(
        self,
        claim: Claim,
        make: Callable[[], Awaitable[Answer]],
        refuse: Callable[[ApiError], Answer],
        *,
        harmless: bool,
    ) -> Answer:
        token = CLAIM.set(None if harmless else claim)
        try:
            return await make()
        except ClaimLost:
            raise
        except ApiError as error:
            if error.status in NOT_KEPT or (error.status >= 500 and not claim.staked):
                CLAIM.set(None)
                if claim.staked:
                    await self._database.write(PLATFORM, lambda write: drop_claim(write, claim.id))
                raise
            return refuse(error)
        except Exception:  # a crash after the change: what is sent again must not make it again
            CLAIM.set(None)
            if claim.staked:
                await self._keep(claim, refuse(InternalError(details="contact support with the request_id")))
            raise
        finally:
            CLAIM.reset(token)

    async def _keep(self, claim: Claim, answer: Answer) -> bool:
        """False when another server's answer is there already. An answer that cannot be kept is given all the same."""
        head = orjson.dumps({"status": answer.status, "headers": dict(answer.headers)})
        sealed = self._vault.seal(head + b"\n" + answer.body, _context(claim.id)).encode()
        try:
            return await self._database.write(PLATFORM, lambda write: keep_answer(write, claim, sealed))
        except Unavailable as error:
            log.warning("answer.not_kept", details=error.details)
            return True

    async def _find(self, ticket: Ticket) -> Answer | None:
        """The answer of the first such request, waited for if it is still being made; None if there was none."""
        started = self._clock.monotonic()
        while True:
            async with self._database.view(PLATFORM) as tx:
                row = await find_claim(tx, ticket.id)
            age = 0.0 if row is None else self._clock.now() - row["created_at"] / 1000
            if row is not None and age >= KEPT:
                await self._database.write(PLATFORM, lambda write: drop_claim(write, ticket.id))
                row = None
            if row is None:
                return None
            if row["fingerprint"] != ticket.fingerprint:
                raise IdempotencyConflict(details="the same Idempotency-Key came with another body or caller")
            if row["answer"] is not None:
                return self._opened(row["answer"], ticket)
            if age >= UNFINISHED:
                raise _lost()
            if self._clock.monotonic() - started >= PATIENCE:
                raise Unavailable("The first request with this key is still being answered.", retry_after=5)
            await self._clock.sleep(POLL)

    def _opened(self, sealed: bytes, ticket: Ticket) -> Answer:
        try:
            head, _, body = self._vault.open(sealed.decode(), _context(ticket.id)).partition(b"\n")
        except CannotOpen:
            raise _lost() from None
        said: dict[str, Any] = orjson.loads(head)
        return Answer(said["status"], said["headers"], body, replayed=True)


def _context(id: str) -> str:
    return f"answer:{id}"


def _lost() -> IdempotencyConflict:
    return IdempotencyConflict(
        "The first request with this key was carried out, but its answer was lost. Read the resource to see it.",
        details="the effect is there once; use a new key for a new request",
    )
