"""The tiers and what they allow, as a fixed table."""

from typing import Final

from api._kit.ports import Plan

TABLE: Final = {
    plan.tier: plan
    for plan in (
        Plan("free_trial", 60, 1_000, 10_000),
        Plan("starter", 120, 5_000, 50_000),
        Plan("professional", 300, 15_000, 200_000),
        Plan("business", 600, 30_000, 500_000),
        Plan("enterprise", None, None, None),
    )
}


class FixedPlans:
    async def plan(self, tier: str) -> Plan:
        return TABLE[tier]
