"""The tiers and what they allow, as a fixed table."""

from collections.abc import Awaitable, Callable
from typing import Final

from api._kit.errors import Unavailable
from api._kit.ports import Clock, Plan

TABLE: Final = {
    plan.tier: plan
    for plan in (
        Plan("free_trial", 60, 1_000, 10_000, members=3, chatbots=5, sources=50, messages=1_000, voice_minutes=60),
        Plan("starter", 120, 5_000, 50_000, members=5, chatbots=10, sources=200, messages=5_000, voice_minutes=300),
        Plan(
            "professional",
            300,
            15_000,
            200_000,
            members=15,
            chatbots=25,
            sources=1_000,
            messages=25_000,
            voice_minutes=1_500,
        ),
        Plan(
            "business",
            600,
            30_000,
            500_000,
            members=50,
            chatbots=100,
            sources=5_000,
            messages=100_000,
            voice_minutes=6_000,
        ),
        Plan("enterprise", None, None, None),
    )
}
LEAST: Final = "free_trial"
REMEMBERED: Final = 30.0
"""Seconds for which an organisation's tier is remembered: how late a change of plan is noticed."""
MOST: Final = 10_000


class FixedPlans:
    """`tier_of` finds an organisation's tier.

    While the database does not answer, the tier that was known last counts, and for an unknown organisation the least.
    """

    def __init__(self, tier_of: Callable[[str], Awaitable[str]], *, clock: Clock) -> None:
        self._tier_of, self._clock = tier_of, clock
        self._known: dict[str, tuple[Plan, float]] = {}

    async def plan(self, tier: str) -> Plan:
        return TABLE[tier]

    async def of(self, organization_id: str) -> Plan:
        known = self._known.pop(organization_id, None)
        now = self._clock.monotonic()
        if known is None or known[1] <= now:
            try:
                known = TABLE[await self._tier_of(organization_id)], now + REMEMBERED
            except Unavailable:
                known = (known[0] if known else TABLE[LEAST]), now + 1.0
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[organization_id] = known
        return known[0]
