"""Counting requests: the same in this process and in Redis, and never open when Redis is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from api._kit.auth import Principal
from api._kit.counting import Count, network
from api._kit.limits import UNLIMITED, Allowance, Counters, Limits, Window, headers, sign_in
from api._kit.plans import TABLE, FixedPlans
from api._kit.store import StoreUnavailable
from server.core.breaker import Breaker
from server.core.windows import Windows
from server.infra.limits import LocalCounters, RedisCounters, SteadyCounters, counting
from server.infra.redis import connect
from tests.contract.house import HandClock
from tests.support.redis_server import PROGRAM, RedisServer, redis_server

NEW_YEAR = 1640995200
"""2022-01-01T00:00:00Z, where a minute, an hour and a day begin."""
MEMBER = Principal("account", "user_1", "org_1", "tok_1", 0, role="owner")
VISITOR = Principal("visitor", "anonymous_1", "org_1", "tok_2", 0, chatbot_id="cb_1")
PATIENT = 20.0
"""Seconds to wait for a Redis that is well, on a machine that is busy."""
needs_redis = pytest.mark.skipif(PROGRAM is None, reason="no redis-server")


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    async with redis_server() as server:
        yield server


@asynccontextmanager
async def counters_of(kind: str) -> AsyncIterator[Counters]:
    if kind == "local":
        yield LocalCounters()
        return
    async with redis_server() as server:
        client = connect(server.url, PATIENT)
        yield RedisCounters(client, PATIENT)
        await client.aclose()


@pytest.fixture(params=["local", pytest.param("redis", marks=needs_redis)])
async def counters(request: pytest.FixtureRequest) -> AsyncIterator[Counters]:
    async with counters_of(request.param) as made:
        yield made


def limits(counters: Counters, clock: HandClock, tier: str = "starter") -> Limits:
    async def tier_of(_: str) -> str:
        return tier

    return Limits(counters, FixedPlans(tier_of, clock=clock), clock=clock)


async def test_the_hundred_and_twenty_first_request_of_a_starter_waits_for_the_minute(counters: Counters) -> None:
    clock = HandClock(NEW_YEAR - 60)
    counted = limits(counters, clock)
    mine = await counted.allowances(MEMBER, "")
    charges = [await counted.charge(mine) for _ in range(121)]
    last, over = charges[119], charges[120]
    assert headers([last], clock.now()) == {
        "X-RateLimit-Limit": "120",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(NEW_YEAR),
        "RateLimit-Policy": '"minute";q=120;w=60, "hour";q=5000;w=3600, "day";q=50000;w=86400',
        "RateLimit": '"minute";r=0;t=60',
    }
    assert last.refused is None
    assert over.refused is not None
    assert over.refused.extra == {"retry_after": 60, "limit": 120, "reset_at": "2022-01-01T00:00:00Z"}
    assert over.refused.headers == {"Retry-After": "60"}
    clock.seconds = NEW_YEAR
    assert (await counted.charge(mine)).refused is None


async def test_however_many_ask_at_once_the_limit_is_exact(counters: Counters) -> None:
    counts = [Count("a", 60, 50), Count("a", 3600, 1000)]
    tallies = await asyncio.gather(*(counters.add(counts, 1, NEW_YEAR) for _ in range(200)))
    assert sum(tally.admitted for tally in tallies) == 50
    assert (await counters.add(counts, 0, NEW_YEAR)).counts == ((50, 50), (50, 1000))


async def test_what_one_window_refuses_no_window_counts(counters: Counters) -> None:
    counts = [Count("a", 60, 10), Count("b", 60, 1)]
    await counters.add(counts, 1, NEW_YEAR)
    assert not (await counters.add(counts, 1, NEW_YEAR)).admitted
    assert (await counters.add(counts, 0, NEW_YEAR)).counts == ((1, 10), (1, 1))


async def test_what_is_given_back_is_there_again_and_never_more(counters: Counters) -> None:
    counts = [Count("a", 60, 2)]
    await counters.add(counts, 1, NEW_YEAR)
    for _ in range(3):
        await counters.add(counts, -1, NEW_YEAR)
    assert (await counters.add(counts, 0, NEW_YEAR)).counts == ((0, 2),)


async def test_giving_back_late_leaves_the_next_window_alone(counters: Counters) -> None:
    counts = [Count("a", 60, 5)]
    await counters.add(counts, 1, NEW_YEAR)
    await counters.add(counts, 1, NEW_YEAR + 60)
    await counters.add(counts, -1, NEW_YEAR)
    assert (await counters.add(counts, 0, NEW_YEAR + 60)).counts == ((1, 5),)


async def test_the_hour_refuses_although_the_minute_has_room(counters: Counters) -> None:
    clock = HandClock(NEW_YEAR)
    counted = limits(counters, clock)
    mine = (Allowance("org:1", (Window("minute", 60, 10), Window("hour", 3600, 12))),)
    for _ in range(10):
        await counted.charge(mine)
    clock.seconds += 60
    refused = [(await counted.charge(mine)).refused for _ in range(3)]
    assert [r is None for r in refused] == [True, True, False]
    assert refused[2] is not None
    assert (refused[2].details, refused[2].extra["retry_after"]) == ("window=hour", 3540)


async def test_an_enterprise_is_never_counted() -> None:
    clock = HandClock(NEW_YEAR)
    counted = limits(LocalCounters(), clock, "enterprise")
    charge = await counted.charge(await counted.allowances(MEMBER, ""))
    told = headers([charge], clock.now())
    assert (told["X-RateLimit-Limit"], told["X-RateLimit-Remaining"]) == (str(UNLIMITED), str(UNLIMITED))
    assert told["X-RateLimit-Reset"] == str(NEW_YEAR + 60)


async def test_one_visitor_cannot_use_up_a_chatbot() -> None:
    counted = limits(LocalCounters(), HandClock(NEW_YEAR))
    greedy = await counted.allowances(VISITOR, "")
    charges = [await counted.charge(greedy) for _ in range(21)]
    assert charges[20].refused is not None
    assert charges[20].refused.details == "window=visitor"
    another = Principal("visitor", "anonymous_2", "org_1", "tok_3", 0, chatbot_id="cb_1")
    charge = await counted.charge(await counted.allowances(another, ""))
    assert [(s.window.name, s.used) for s in charge.standings][:1] == [("minute", 21)]
    assert charge.refused is None


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", "unknown"),
    ],
)
def test_an_address_is_counted_as_far_as_one_customer_has_it(address: str, counted: str) -> None:
    assert network(address) == counted


def test_who_signs_in_is_not_readable_in_the_counters() -> None:
    assert all("user@example.com" not in allowance.key for allowance in sign_in("192.0.2.1", "user@example.com"))


def test_tables_of_counters_do_not_grow_without_end() -> None:
    windows = Windows(most=3)
    for n in range(10):
        windows.add([Count(f"ip:{n}", 60, 5)], 1, NEW_YEAR)
    used = [windows.add([Count(f"ip:{n}", 60, 5)], 0, NEW_YEAR).counts[0][0] for n in range(10)]
    assert used == [0] * 7 + [1] * 3


async def test_a_change_of_plan_is_noticed_and_the_last_one_counts_while_nobody_knows() -> None:
    clock, tiers = HandClock(), ["starter", "business"]

    async def tier_of(_: str) -> str:
        if not tiers:
            raise StoreUnavailable
        return tiers.pop(0)

    plans = FixedPlans(tier_of, clock=clock)
    found = []
    for _ in range(4):
        found.append((await plans.of("org_1")).tier)
        clock.seconds += 31
    assert found == ["starter", "business", "business", "business"]
    assert await plans.of("org_unknown") == TABLE["free_trial"]


def test_a_breaker_lets_one_try_for_all() -> None:
    breaker = Breaker(1.0)
    assert breaker.allows(0)
    breaker.failed(0)
    assert [breaker.allows(at) for at in (0.5, 1.0, 1.1, 2.0)] == [False, True, False, True]
    breaker.succeeded()
    assert breaker.allows(2.0)
    assert not breaker.open


async def steady(server: RedisServer, clock: HandClock, patience: float = PATIENT) -> tuple[SteadyCounters, list[str]]:
    heard: list[str] = []
    made = counting(server.url, clock=clock, counted=heard.append, patience=patience)
    assert isinstance(made, SteadyCounters)
    return made, heard


@needs_redis
@pytest.mark.parametrize("end", ["kill", "freeze"])
async def test_without_redis_half_of_every_limit_is_left_and_one_request_a_second_tries(
    redis: RedisServer, end: str
) -> None:
    clock = HandClock(NEW_YEAR)
    made, heard = await steady(redis, clock, 1.0)
    counts = [Count("a", 60, 5)]
    assert (await made.add(counts, 1, clock.now())).admitted
    if end == "kill":
        await redis.kill()
    else:
        redis.freeze()
    tallies = [await made.add(counts, 1, clock.now()) for _ in range(5)]
    assert [tally.admitted for tally in tallies] == [True, True, True, False, False]
    assert tallies[0].counts == ((1, 3),)
    assert heard == ["redis", *["fallback"] * 5]
    assert await made.condition() == "degraded"
    if end == "kill":
        await redis.start()
    else:
        redis.thaw()
    clock.seconds += 1
    assert (await made.add(counts, 1, clock.now())).admitted
    assert (heard[-1], await made.condition()) == ("redis", "ok")
    await made.close()


@needs_redis
async def test_two_servers_share_one_limit(redis: RedisServer) -> None:
    clock = HandClock(NEW_YEAR)
    nodes = [(await steady(redis, clock))[0] for _ in range(2)]
    counts = [Count("a", 60, 10)]
    tallies = await asyncio.gather(*(nodes[n % 2].add(counts, 1, clock.now()) for n in range(30)))
    assert sum(tally.admitted for tally in tallies) == 10
    for node in nodes:
        await node.close()
