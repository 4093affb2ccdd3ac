"""The front door: health, headers, cross-origin rules, files, and refusals that no service makes."""

import json
from pathlib import Path

import pytest

from api._kit.limits import PREFLIGHTS
from server.demo import CHATBOT, ensure_demo
from server.gateway import Files
from tests.contract.conformity import Conformity
from tests.contract.house import ORIGIN, SITE, House, build, copy_of


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Files as the builds leave them."""
    for name, text in {
        "widget/widget.js": "loader",
        "widget/manifest.json": json.dumps({"build": "abc123"}),
        "widget/w/abc123/panel.js": "panel",
        "demo/index.html": "<!doctype html>",
        "demo/demo.css": "body{}",
        "docs/swagger.html": "<!doctype html>",
        "docs/redoc.html": "<!doctype html>",
        "account/index.html": "<!doctype html>",
        "account/account.js": "",
        "avatars/avatar_female_01.glb": "glTF",
        "secret.txt": "secret",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Files(**{name: tmp_path / name for name in ("widget", "demo", "docs", "account", "avatars")})


@pytest.fixture
async def furnished(template: Path, tmp_path: Path, conformity: Conformity, files: Files):  # type: ignore[no-untyped-def]
    async for built in build(tmp_path, copy_of(template, tmp_path), check=conformity.check, files=files):
        yield built


async def test_the_health_of_every_service_is_told(house: House) -> None:
    report = await house.json("GET", "/health", 200)
    assert (report["status"], report["version"]) == ("ok", "0.1.0")
    assert report["services"]["auth"] == "ok"


async def test_a_part_that_does_not_answer_degrades_the_server(house: House) -> None:
    async def broken() -> str:
        raise ConnectionError

    house.deps.vitals.watch("llm", broken)  # type: ignore[arg-type]
    assert (await house.json("GET", "/health", 200))["parts"] == {"llm": "unavailable"}
    house.deps.vitals.watch("database", broken)  # type: ignore[arg-type]
    assert (await house.json("GET", "/health", 503))["status"] == "unavailable"


async def test_a_server_that_is_stopping_lives_and_is_not_ready(house: House) -> None:
    house.deps.vitals.draining = True
    await house.json("GET", "/health/live", 200)
    error = await house.refused("GET", "/health/ready", 503, "SERVICE_UNAVAILABLE")
    assert error["details"] == "stopping"


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/v1/nothing", "/api/v1/chatbots/a%00b", "/api/v1/nobody/openapi.json"]
)
async def test_what_is_not_there_is_refused_in_the_envelope(house: House, path: str) -> None:
    await house.refused("GET", path, 404, "RESOURCE_NOT_FOUND", headers=await house.owner())


async def test_the_clients_request_id_is_echoed(house: House) -> None:
    async with house.client.get("/api/v1/users/me", headers={"X-Request-ID": "my-id.1"}) as response:
        assert response.headers["X-Request-ID"] == "my-id.1"
        assert (await response.json())["error"]["request_id"] == "my-id.1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>"])
async def test_a_request_id_of_other_signs_is_replaced(house: House, given: str) -> None:
    async with house.client.get("/health", headers={"X-Request-ID": given}) as response:
        assert response.headers["X-Request-ID"].startswith("req_")


@pytest.mark.parametrize(("version", "status"), [("v1", 200), ("v2", 200), ("v3", 400), ("", 400)])
async def test_known_versions_are_served_by_the_first(house: House, version: str, status: int) -> None:
    headers = {**await house.owner(), "API-Version": version}
    async with house.client.get("/api/v1/users/me", headers=headers) as response:
        assert (response.status, response.headers["API-Version"]) == (status, "v1")


async def test_every_answer_is_hardened(house: House) -> None:
    async with house.client.get("/api/v1/users/me") as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Cache-Control"] == "no-store"


async def test_an_allowed_website_may_ask_and_read(house: House) -> None:
    await house.published(await house.owner())
    asking = {"Origin": SITE, "Access-Control-Request-Method": "POST"}
    async with house.client.options("/api/v1/auth/visitor-token", headers=asking) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (204, SITE)
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    async with house.client.get("/api/v1/users/me", headers={"Origin": SITE}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (401, SITE)
        assert "X-Request-ID" in response.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_another_website_may_not_read(house: House) -> None:
    await house.published(await house.owner())
    asking = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with house.client.options("/api/v1/auth/visitor-token", headers=asking) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
    async with house.client.get("/health", headers={"Origin": "https://evil.example"}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_website_is_looked_up_once_in_a_while(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.published(await house.owner())
    asked, look = list[str](), house.deps.bots.origin_known

    async def noted(origin: str) -> bool:
        asked.append(origin)
        return await look(origin)

    monkeypatch.setattr(house.deps.bots, "origin_known", noted)
    evil = "https://evil.example"
    for origin, allowed in ((SITE, SITE), (evil, None)) * 3:
        async with house.client.get("/api/v1/users/me", headers={"Origin": origin}) as response:
            assert response.headers.get("Access-Control-Allow-Origin") == allowed
    assert asked == [SITE, evil]
    house.clock.seconds += 60
    async with house.client.get("/api/v1/users/me", headers={"Origin": SITE}) as response:
        assert asked == [SITE, evil, SITE]


async def test_preflights_of_one_address_are_counted(house: House) -> None:
    asking = {"Origin": SITE, "Access-Control-Request-Method": "POST"}
    seen = []
    for _ in range(PREFLIGHTS + 1):
        async with house.client.options("/api/v1/auth/visitor-token", headers=asking) as response:
            seen.append(response.status)
    assert seen == [204] * PREFLIGHTS + [429]
    async with house.client.get("/api/v1/users/me") as response:
        assert response.status == 401


@pytest.mark.parametrize(
    ("path", "cache", "policy"),
    [
        ("/", "no-cache", "script-src 'self'"),
        ("/demo/demo.css", "no-cache", "script-src 'self'"),
        ("/docs", "no-cache", "script-src 'self'"),
        ("/redoc", "no-cache", "script-src 'self'"),
        ("/account/", "no-cache", "script-src 'self'"),
        ("/account/account.js", "no-cache", "script-src 'self'"),
        ("/widget.js", "public, max-age=300", "default-src 'none'"),
        ("/w/abc123/panel.js", "public, max-age=31536000, immutable", "default-src 'none'"),
        ("/w/abc123/widget.js", "public, max-age=31536000, immutable", "default-src 'none'"),
        ("/avatars/avatar_female_01.glb", "public, max-age=3600", "default-src 'none'"),
    ],
)
async def test_files_are_served_with_their_caching_and_policy(
    furnished: House, path: str, cache: str, policy: str
) -> None:
    async with furnished.client.get(path) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == cache
        assert policy in response.headers["Content-Security-Policy"]
        assert "unsafe-inline'; script" not in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/widget.js", "/w/abc123/panel.js", "/avatars/avatar_female_01.glb"])
async def test_any_page_may_load_the_widgets_files(furnished: House, path: str) -> None:
    async with furnished.client.get(path, headers={"Origin": "https://anyone.example"}) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize(
    "path", ["/w/..%2F..%2Fsecret.txt", "/w/%2e%2e/%2e%2e/secret.txt", "/avatars/..%2Fsecret.txt", "/docs/nothing.js"]
)
async def test_nothing_outside_the_folders_is_served(furnished: House, path: str) -> None:
    await furnished.json("GET", path, 404)


def test_the_pinned_script_carries_its_digest(files: Files) -> None:
    build = files.build()
    assert build is not None
    assert build.path == "/w/abc123/widget.js"
    assert build.integrity.startswith("sha384-")


def test_without_a_build_there_is_no_pinned_script(tmp_path: Path) -> None:
    assert Files(widget=tmp_path).build() is None


async def test_the_demo_page_learns_its_chatbot(house: House) -> None:
    assert (await house.json("GET", "/demo.json", 200))["chatbot_id"] == "cb_demo"


async def test_the_demo_chatbot_is_made_once_and_may_be_shown_here(house: House) -> None:
    for origins in ([ORIGIN], ["http://127.0.0.1:8000"]):
        made = await ensure_demo(house.deps.database, house.accounts, now=house.deps.now(), origins=origins)
        assert made == CHATBOT
    for origin in (ORIGIN, "http://127.0.0.1:8000"):
        config = await house.json("GET", f"/api/v1/chatbots/{CHATBOT}/config", 200, headers={"Origin": origin})
        assert (config["name"], config["type"]) == ("Ava", "3d")


async def test_the_demo_chatbot_is_brought_up_to_date(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"now": house.deps.now(), "origins": [ORIGIN]}
    await ensure_demo(house.deps.database, house.accounts, **made)
    monkeypatch.setattr("server.demo.SETTINGS", {"prompt": "You are another Ava."})
    await ensure_demo(house.deps.database, house.accounts, **made)
    bot = await house.deps.bots.find(CHATBOT)
    assert bot is not None
    assert (bot.prompt, bot.status) == ("You are another Ava.", "active")
