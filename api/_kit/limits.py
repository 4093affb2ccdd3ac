"""Rate limits: how many requests of whom, in which windows, and what a response says about it.

Windows are fixed and aligned to the clock, so that a client that waits until the reset succeeds. A request is counted
in all windows of all its allowances, or, when one of them is full, in none.

| who asks | counted by |
|---|---|
| a member or an API key | the organisation, by its tier |
| a visitor | the chatbot, by its organisation's tier; and the visitor, so that one cannot starve a website |
| nobody, or a token that was refused | the address |
| a browser that asks first | the address, by itself |
| whoever signs in | the e-mail address at this address; what fails also by each of the two alone |
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from api._kit.auth import Principal
from api._kit.counting import Count, Tally, network
from api._kit.errors import RateLimited
from api._kit.ports import Clock, Plan, Plans
from api._kit.values import rfc3339

UNLIMITED: Final = 2_147_483_647
"""What a header says of a window without a limit: the largest number that every client can read."""
ANONYMOUS: Final = 60
"""Requests a minute of one address without credentials."""
VISITOR: Final = 20
"""Requests a minute of one visitor."""
SIGN_INS: Final = 5
"""Attempts a minute for one e-mail address from one network address."""
PREFLIGHTS: Final = 300
"""Questions a minute of one address's browsers, whether a website's script may ask; each keeps its answers for long."""
FAILURES_OF_ADDRESS: Final = 10
"""Failed attempts to sign in, a minute, of one network address: no run through a list of accounts."""
FAILURES_OF_ACCOUNT: Final = 8
"""Failed attempts to sign in to one account, a minute, wherever they come from."""
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Window:
    """`limit` requests in each whole `seconds` since the epoch."""

    name: str
    seconds: int
    limit: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """Who is counted, in which windows. `of_failures` is given back when the request succeeds, and is not told."""

    key: str
    windows: tuple[Window, ...]
    of_failures: bool = False


class Counters(Protocol):
    """Where requests are counted. Every store counts alike: all or nothing, exact however many ask at once."""

    async def add(self, counts: Sequence[Count], amount: int, now: float) -> Tally:
        """Add `amount` to each counter of the windows at `now`, unless one would pass its limit.

        Zero looks, less takes back; no counter falls below zero.
        """
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A window as it stands after a request."""

    window: Window
    used: int
    resets_at: int

    @property
    def remaining(self) -> int:
        return UNLIMITED if self.window.limit == UNLIMITED else max(0, self.window.limit - self.used)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request was counted in, and when."""

    allowances: tuple[Allowance, ...]
    now: float
    standings: tuple[Standing, ...]
    refused: RateLimited | None = None


class Limits:
    """Counts requests. `anonymous` and `visitor` are requests a minute."""

    def __init__(
        self, counters: Counters, plans: Plans, *, clock: Clock, anonymous: int = ANONYMOUS, visitor: int = VISITOR
    ) -> None:
        self._counters, self._plans, self._clock = counters, plans, clock
        self._anonymous, self._visitor = anonymous, visitor

    async def allowances(self, principal: Principal | None, address: str) -> tuple[Allowance, ...]:
        """Those of whoever asks."""
        if principal is None:
            return (Allowance(f"ip:{network(address)}", (Window("minute", _MINUTE, self._anonymous),)),)
        windows = _windows(await self._plans.of(principal.organization_id))
        if principal.kind != "visitor":
            return (Allowance(f"org:{principal.organization_id}", windows),)
        bot = f"bot:{principal.chatbot_id}"
        one = Window("visitor", _MINUTE, self._visitor)
        return (Allowance(bot, windows), Allowance(f"{bot}:{principal.user_id}", (one,)))

    async def charge(self, allowances: Sequence[Allowance], amount: int = 1) -> Charge:
        """Count a request, or with 0 only look. One that is refused is not counted anywhere."""
        now = self._clock.now()
        limited = [(a, w) for a in allowances for w in a.windows if w.limit != UNLIMITED]
        tally = Tally(True, ())
        if limited:
            tally = await self._counters.add([Count(a.key, w.seconds, w.limit) for a, w in limited], amount, now)
        standings = [
            (a, Standing(Window(w.name, w.seconds, limit), used, _end(w, now)))
            for (a, w), (used, limit) in zip(limited, tally.counts, strict=True)
        ]
        refused = None
        if not tally.admitted:
            full = [s for _, s in standings if s.used + amount > s.window.limit]
            refused = _refusal(max(full, key=lambda s: s.resets_at), now)
        free = (Standing(w, 0, _end(w, now)) for a in allowances for w in a.windows if w.limit == UNLIMITED)
        told = (*(s for a, s in standings if not a.of_failures), *free)
        return Charge(tuple(allowances), now, told, refused)

    async def give_back(self, charge: Charge, *, failures: bool = False) -> Charge:
        """Take a request out again; with `failures` only from the allowances that count failures."""
        given = [a for a in charge.allowances if a.of_failures or not failures]
        counts = [Count(a.key, w.seconds, w.limit) for a in given for w in a.windows if w.limit != UNLIMITED]
        if charge.refused or not counts:
            return charge
        await self._counters.add(counts, -1, charge.now)
        return charge if failures else await self.charge(charge.allowances, 0)


def sign_in(address: str, email: str) -> tuple[Allowance, ...]:
    """For an attempt to sign in. Addresses of people are kept as digests only."""
    person = hashlib.sha256(email.strip().lower().encode()).hexdigest()[:32]
    place = network(address)
    return (
        Allowance(f"login:{person}:{place}", (Window("login", _MINUTE, SIGN_INS),)),
        Allowance(f"login:{place}", (Window("address", _MINUTE, FAILURES_OF_ADDRESS),), of_failures=True),
        Allowance(f"login:{person}", (Window("account", _MINUTE, FAILURES_OF_ACCOUNT),), of_failures=True),
    )


def preflight(address: str) -> tuple[Allowance, ...]:
    """For a browser that asks whether a website's script may."""
    return (Allowance(f"preflight:{network(address)}", (Window("minute", _MINUTE, PREFLIGHTS),)),)


def headers(charges: Iterable[Charge], now: float) -> Mapping[str, str]:
    """The windows of a request as headers; the binding one is that with the least left of its limit.

    `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers.
    """
    told = [standing for charge in charges for standing in charge.standings]
    if not told:
        return {}
    binding = min(told, key=lambda s: s.remaining / s.window.limit)
    policy = ", ".join(f'"{s.window.name}";q={s.window.limit};w={s.window.seconds}' for s in told)
    return {
        "X-RateLimit-Limit": str(binding.window.limit),
        "X-RateLimit-Remaining": str(binding.remaining),
        "X-RateLimit-Reset": str(binding.resets_at),
        "RateLimit-Policy": policy,
        "RateLimit": f'"{binding.window.name}";r={binding.remaining};t={max(0, math.ceil(binding.resets_at - now))}',
    }


def _windows(plan: Plan) -> tuple[Window, ...]:
    return (
        Window("minute", _MINUTE, plan.requests_per_minute or UNLIMITED),
        Window("hour", _HOUR, plan.requests_per_hour or UNLIMITED),
        Window("day", _DAY, plan.requests_per_day or UNLIMITED),
    )


def _end(window: Window, now: float) -> int:
    return (int(now) // window.seconds + 1) * window.seconds


def _refusal(standing: Standing, now: float) -> RateLimited:
    return RateLimited(
        retry_after=max(1, math.ceil(standing.resets_at - now)),
        limit=standing.window.limit,
        reset_at=rfc3339(standing.resets_at * 1000),
        window=standing.window.name,
    )
