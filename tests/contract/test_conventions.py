"""What every route obeys, read from the table and from the list of refusals."""

from datetime import date

import pytest
from aiohttp.test_utils import TestClient, TestServer

from api._kit import errors
from api._kit.endpoint import Ctx, Deprecation, Endpoint, Service
from api._kit.openapi import document
from api._kit.paging import Page, Pagination, links
from server.gateway import application, table
from tests.contract.house import House
from tests.contract.test_table import address, named

CODES = {
    400: {"INVALID_REQUEST", "MISSING_FIELD", "INVALID_FORMAT", "EMPTY_CONTENT", "URL_NOT_ALLOWED"},
    401: {"INVALID_TOKEN", "INVALID_CREDENTIALS", "MFA_REQUIRED"},
    403: {"FORBIDDEN", "ORIGIN_NOT_ALLOWED", "QUOTA_EXCEEDED", "CONSENT_REQUIRED", "EMAIL_NOT_VERIFIED"},
    404: {"RESOURCE_NOT_FOUND"},
    405: {"METHOD_NOT_ALLOWED"},
    409: {"DUPLICATE_RESOURCE", "STATE_CONFLICT", "IDEMPOTENCY_CONFLICT", "SAFETY_HOLD"},
    412: {"PRECONDITION_FAILED"},
    413: {"PAYLOAD_TOO_LARGE"},
    415: {"UNSUPPORTED_MEDIA_TYPE"},
    429: {"RATE_LIMIT_EXCEEDED"},
    500: {"INTERNAL_ERROR"},
    503: {"SERVICE_UNAVAILABLE", "CHATBOT_UNAVAILABLE", "UPSTREAM_ERROR"},
}
COMPUTED = {"/embed"}
"""Single answers that are no resources of their own."""
MUTABLE = [
    e
    for e in table()
    if e.method == "GET"
    and not issubclass(e.returns, Page)
    and "health" not in e.path
    and ("{" in e.path or e.path.endswith("/me"))
    and not e.path.endswith(tuple(COMPUTED))
    and not e.streams
]
WRITING = [e for e in table() if e.method in ("POST", "PUT", "PATCH")]


def refusals() -> list[type[errors.ApiError]]:
    found: list[type[errors.ApiError]] = []
    pending: list[type[errors.ApiError]] = [errors.ApiError]
    while pending:
        kinds = pending.pop().__subclasses__()
        pending += kinds
        found += kinds
    return [kind for kind in found if kind.__module__ == errors.__name__]


def test_the_refusals_are_those_of_the_error_table() -> None:
    codes: dict[int, set[str]] = {}
    for kind in refusals():
        codes.setdefault(kind.status, set()).add(kind.code)
    assert codes == CODES


def test_a_spent_quota_says_how_much_there_was_and_where_there_is_more() -> None:
    error = errors.QuotaExceeded(limit=3, used=3, upgrade_url="https://example.com/plans")
    shown = errors.envelope(error, "req_1", "2025-12-29T10:30:00Z")["error"]
    assert (error.status, shown["limit"], shown["used"]) == (403, 3, 3)
    assert shown["upgrade_url"] == "https://example.com/plans"


@pytest.mark.parametrize("endpoint", named(MUTABLE))
def test_what_can_change_has_an_etag(endpoint: Endpoint) -> None:
    assert endpoint.etag


@pytest.mark.parametrize("endpoint", named(WRITING))
async def test_every_refusal_carries_its_request_id(house: House, endpoint: Endpoint) -> None:
    owner = await house.owner()
    forms = {"Content-Type": "text/plain"}
    for headers, sent in (({}, None), (owner, b"[]"), ({**owner, **forms}, b"x"), (owner, b" " * 20_000_000)):
        typed = {"Content-Type": "application/json", "X-Request-ID": "mine-1", **headers}
        async with house.client.request(endpoint.method, address(endpoint), headers=typed, data=sent) as response:
            error = (await response.json())["error"]
            assert response.status in CODES
            assert error["code"] in CODES[response.status]
            assert error["request_id"] == response.headers["X-Request-ID"] == "mine-1"
            assert {"code", "message", "details", "timestamp", "request_id"} <= set(error)


async def test_a_stale_write_names_several_states(house: House) -> None:
    headers = await house.owner()
    async with house.client.get("/api/v1/users/me", headers=headers) as response:
        etag = response.headers["ETag"]
    path, sent = "/api/v1/users/me", {"name": "Ada"}
    given = {**headers, "If-Match": f'"other", {etag}'}
    await house.json("PATCH", path, 200, headers=given, json=sent)
    stale = {**headers, "If-Match": '"other", "another"'}
    await house.refused("PATCH", path, 412, "PRECONDITION_FAILED", headers=stale, json=sent)


def test_past_the_end_the_page_before_is_the_last_one() -> None:
    pages = Pagination(page=9, limit=20, total_items=30, total_pages=2, has_next=False, has_prev=True)
    assert '</bots?page=2>; rel="prev"' in links("/bots", {}, pages)


@pytest.mark.parametrize("limit", [0, 101])
async def test_a_limit_outside_of_its_bounds_is_refused_and_not_clamped(house: House, limit: int) -> None:
    path = f"/api/v1/chatbots?limit={limit}"
    await house.refused("GET", path, 400, "INVALID_FORMAT", headers=await house.owner())


@pytest.mark.parametrize("word", ["health", "create", "pages", "openapi.json"])
async def test_a_reserved_word_is_no_id(house: House, word: str) -> None:
    async with house.client.patch(f"/api/v1/chatbots/{word}", headers=await house.owner(), json={}) as response:
        assert response.status in (404, 405)


OLD = Deprecation(date(2026, 1, 31), date(2026, 7, 31), "/api/v1/new", "https://example.com/news")


@pytest.mark.parametrize(
    ("announced", "sunset"), [(date(2026, 1, 31), date(2026, 7, 30)), (date(2026, 8, 31), date(2027, 2, 27))]
)
def test_an_endpoint_does_not_go_within_six_months(announced: date, sunset: date) -> None:
    with pytest.raises(ValueError, match="6 months"):
        Deprecation(announced, sunset, "/new", "/news")


def test_a_short_month_ends_the_notice_on_its_last_day() -> None:
    assert Deprecation(date(2026, 8, 31), date(2027, 2, 28), "/new", "/news")


def test_an_endpoint_that_goes_says_when_and_what_comes() -> None:
    assert dict(OLD.headers) == {
        "Deprecation": "@1769817600",
        "Sunset": "Fri, 31 Jul 2026 00:00:00 GMT",
        "Link": '<https://example.com/news>; rel="deprecation", </api/v1/new>; rel="successor-version"',
    }


async def test_every_answer_of_an_endpoint_that_goes_says_so(house: House) -> None:
    old = Service("old", 9000, "Old", "what goes")

    @old.get("/thing", who="M", returns=errors.FieldProblem, deprecation=OLD)
    async def thing(ctx: Ctx) -> errors.FieldProblem:
        """A thing."""
        return errors.FieldProblem(field="a", code="b", message="c")

    headers = await house.owner()
    async with TestClient(TestServer(application(house.deps, services=(old,)))) as client:
        for given, status in ((headers, 200), ({}, 401)):
            async with client.get("/api/v1/old/thing", headers=given) as response:
                assert response.status == status
                assert {name: response.headers[name] for name in OLD.headers} == dict(OLD.headers)
    described = document((old,), version="1", origin="http://localhost")
    assert described["paths"]["/api/v1/old/thing"]["get"]["deprecated"] is True
