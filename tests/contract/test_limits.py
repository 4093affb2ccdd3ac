"""How many requests are answered, and what every answer says about it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api._kit.endpoint import Endpoint
from api._kit.limits import ANONYMOUS, FAILURES_OF_ACCOUNT, FAILURES_OF_ADDRESS, VISITOR
from server.gateway import table
from tests.contract.conformity import Conformity
from tests.contract.house import ORIGIN, PASSWORD, SITE, House, build, copy_of
from tests.contract.test_table import address, body, named

ME = "/api/v1/users/me"
LOGIN = "/api/v1/auth/login"
SHAPE = {"code", "message", "details", "timestamp", "request_id", "retry_after", "limit", "reset_at"}


@pytest.fixture
async def proxied(template: Path, tmp_path: Path, conformity: Conformity) -> AsyncIterator[House]:
    async for built in build(tmp_path, copy_of(template, tmp_path), check=conformity.check, trusted_proxies=1):
        yield built


async def spend(house: House, path: str, times: int, headers: dict[str, str] | None = None) -> list[int]:
    statuses = []
    for _ in range(times):
        async with house.client.get(path, headers=headers) as response:
            statuses.append(response.status)
    return statuses


async def remaining(house: House, headers: dict[str, str], path: str = ME) -> int:
    async with house.client.get(path, headers=headers) as response:
        return int(response.headers["X-RateLimit-Remaining"])


async def test_a_free_trial_has_sixty_requests_a_minute_and_then_waits(house: House) -> None:
    headers = await house.owner(tier="free_trial")
    house.clock.seconds = 1_764_000_010.0
    assert set(await spend(house, ME, 60, headers)) == {200}
    async with house.client.get(ME, headers=headers) as response:
        error = (await response.json())["error"]
        assert response.status == 429
        assert response.headers["Retry-After"] == "50"
        assert response.headers["X-RateLimit-Remaining"] == "0"
        assert response.headers["X-RateLimit-Reset"] == "1764000060"
        assert response.headers["RateLimit"] == '"minute";r=0;t=50'
    assert set(error) == SHAPE
    assert (error["code"], error["retry_after"], error["limit"]) == ("RATE_LIMIT_EXCEEDED", 50, 60)
    assert error["message"] == "Rate limit exceeded. Please retry after 50 seconds."
    assert (error["reset_at"], error["details"]) == ("2025-11-24T16:01:00Z", "window=minute")
    house.clock.seconds += 50
    assert await spend(house, ME, 1, headers) == [200]


async def test_sixty_one_at_once_are_sixty(house: House) -> None:
    headers = await house.owner(tier="free_trial")
    found = await asyncio.gather(*(spend(house, ME, 1, headers) for _ in range(61)))
    assert Counter(status for statuses in found for status in statuses) == {200: 60, 429: 1}


async def test_another_organisation_is_counted_apart(house: House) -> None:
    headers = await house.owner(tier="free_trial")
    await spend(house, ME, 61, headers)
    assert await spend(house, ME, 1, await house.owner("other@example.com", tier="free_trial")) == [200]


async def test_members_of_one_organisation_share_its_limit(house: House) -> None:
    owner = await house.owner(tier="free_trial")
    before = await remaining(house, owner)
    await spend(house, "/api/v1/chatbots", 1, await house.member("viewer", owner))
    assert await remaining(house, owner) == before - 2


async def test_what_has_not_changed_does_not_count(house: House) -> None:
    headers = await house.owner(tier="free_trial")
    async with house.client.get(ME, headers=headers) as response:
        etag, left = response.headers["ETag"], response.headers["X-RateLimit-Remaining"]
    async with house.client.get(ME, headers={**headers, "If-None-Match": etag}) as response:
        assert (response.status, response.headers["X-RateLimit-Remaining"]) == (304, left)
    assert await remaining(house, headers) == int(left) - 1


async def test_an_enterprise_is_told_the_largest_number(house: House) -> None:
    async with house.client.get(ME, headers=await house.owner()) as response:
        assert response.headers["X-RateLimit-Limit"] == response.headers["X-RateLimit-Remaining"] == "2147483647"


async def test_a_visitor_is_counted_for_the_chatbot_and_alone(house: House) -> None:
    owner = await house.owner()
    bot = await house.published(owner, type="text")
    one, other = await house.visitor(bot["id"]), await house.visitor(bot["id"])
    path = "/api/v1/history/conversations"
    assert await spend(house, path, VISITOR + 1, one) == [200] * VISITOR + [429]
    assert await spend(house, path, 1, other) == [200]
    assert await spend(house, ME, 1, owner) == [200]


async def test_an_address_without_credentials_has_sixty_requests_a_minute(house: House) -> None:
    path = "/api/v1/chatbots/cb_none/config"
    assert await spend(house, path, ANONYMOUS + 1) == [404] * ANONYMOUS + [429]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [(ME, {}, 401), (ME, {"Authorization": "Bearer forged"}, 401), ("/api/v1/nothing", {}, 404)],
)
async def test_who_tries_doors_is_stopped(house: House, path: str, headers: dict[str, str], status: int) -> None:
    assert await spend(house, path, ANONYMOUS + 1, headers) == [status] * ANONYMOUS + [429]
    assert await spend(house, "/api/v1/auth/health", 1) == [200]
    assert await spend(house, "/api/v1/auth/openapi.json", 1) == [200]


async def test_who_is_signed_in_does_not_suffer_from_others_at_the_same_address(house: House) -> None:
    headers = await house.owner()
    await spend(house, ME, ANONYMOUS + 1)
    assert await spend(house, ME, 1, headers) == [200]


@pytest.mark.parametrize("path", ["/api/v1/auth/health", "/api/v1/nothing", "/api/v1/auth/openapi.json", ME])
async def test_every_answer_of_the_api_tells_where_one_stands(house: House, path: str) -> None:
    for method, headers in (("GET", {}), ("TRACE", {}), ("GET", {"API-Version": "v9"}), ("HEAD", {})):
        async with house.client.request(method, path, headers=headers) as response:
            told = {name for name in response.headers if "RateLimit" in name}
            assert told == {
                "X-RateLimit-Limit",
                "X-RateLimit-Remaining",
                "X-RateLimit-Reset",
                "RateLimit-Policy",
                "RateLimit",
            }


async def test_an_allowed_websites_scripts_can_read_the_limits(house: House) -> None:
    bot = await house.published(await house.owner())
    async with house.client.get(f"/api/v1/chatbots/{bot['id']}/config", headers={"Origin": SITE}) as response:
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        mine = {name for name in response.headers if "RateLimit" in name} | {"X-Request-ID", "API-Version", "ETag"}
        assert mine <= set(exposed)


async def try_login(house: House, email: str, password: str = "wrong", place: str | None = None) -> int:
    headers = {"X-Forwarded-For": place} if place else {}
    async with house.client.post(LOGIN, json={"email": email, "password": password}, headers=headers) as response:
        return response.status


async def test_one_signs_in_five_times_a_minute_at_most(house: House) -> None:
    await house.register()
    statuses = [await try_login(house, "USER@example.com" if n % 2 else "user@example.com") for n in range(6)]
    assert statuses == [401] * 5 + [429]
    assert await try_login(house, "user@example.com", PASSWORD) == 429
    house.clock.seconds += 60
    assert await try_login(house, "user@example.com", PASSWORD) == 200


async def test_a_forwarded_address_that_nobody_vouches_for_changes_nothing(house: House) -> None:
    statuses = [await try_login(house, "user@example.com", place=f"192.0.2.{n}") for n in range(6)]
    assert statuses == [401] * 5 + [429]


async def test_who_signs_in_rightly_does_not_use_up_what_failures_may(house: House) -> None:
    for n in range(FAILURES_OF_ADDRESS + 1):
        await house.register(f"user{n}@example.com")
    statuses = [await try_login(house, f"user{n}@example.com", PASSWORD) for n in range(FAILURES_OF_ADDRESS + 1)]
    assert set(statuses) == {200}


async def test_stolen_passwords_are_tried_in_vain_from_many_addresses(proxied: House) -> None:
    """A thousand attempts, from fifty addresses at a hundred accounts, each pair ten times apart."""
    tried = [(f"user{n % 100}@example.com", f"192.0.2.{(n // 20) % 50}") for n in range(1000)]
    found: Counter[tuple[str, int]] = Counter()
    for email, place in tried:
        status = await try_login(proxied, email, place=place)
        found[f"email {email}", status] += 1
        found[f"place {place}", status] += 1
    heard = {key: n for (key, status), n in found.items() if status == 401}
    assert max(n for key, n in heard.items() if key.startswith("place")) == FAILURES_OF_ADDRESS
    assert sum(n for key, n in heard.items() if key.startswith("email")) == 50 * FAILURES_OF_ADDRESS


async def test_one_account_is_tried_in_vain_from_many_addresses(proxied: House) -> None:
    statuses = [await try_login(proxied, "user@example.com", place=f"192.0.2.{n}") for n in range(20)]
    assert statuses == [401] * FAILURES_OF_ACCOUNT + [429] * (20 - FAILURES_OF_ACCOUNT)


async def exhausted(house: House, endpoint: Endpoint) -> dict[str, str]:
    """Headers of someone whose last request of the minute has been made."""
    if endpoint.public:
        await spend(house, "/api/v1/nothing", ANONYMOUS)
        return {"Origin": ORIGIN}
    owner = await house.owner(tier="free_trial")
    principal = await house.deps.tokens.verify(owner["Authorization"].split()[1])
    await house.deps.limits.charge(await house.deps.limits.allowances(principal, ""), 60)
    return owner


@pytest.mark.parametrize("endpoint", named([e for e in table() if e.counted]))
async def test_over_the_limit_every_endpoint_asks_to_wait(house: House, endpoint: Endpoint) -> None:
    headers = await exhausted(house, endpoint)
    given = body(endpoint) if endpoint.method in ("POST", "PUT", "PATCH") else None
    async with house.client.request(endpoint.method, address(endpoint), headers=headers, json=given) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"], set(error)) == (429, "RATE_LIMIT_EXCEEDED", SHAPE)
        assert int(response.headers["Retry-After"]) == error["retry_after"] > 0
        assert error["request_id"] == response.headers["X-Request-ID"]


def test_only_health_is_not_counted() -> None:
    assert all("/health" in e.path for e in table() if not e.counted)
