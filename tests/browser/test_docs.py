"""The documentation pages: offline, under their content security policy, and good for trying calls out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page, expect

from tests.browser.chromium import chromium
from tests.support.live import live

PERSON = {"email": "user@example.com", "password": "a long sentence of mine"}
MARK = "https://cdn.redoc.ly/redoc/logo-mini.svg"
HEIGHT = {"width": 1280, "height": 1600}

pytestmark = pytest.mark.browser


@asynccontextmanager
async def opened(data: Path, path: str) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page of the server, and what its console complains about, but for ReDoc's own mark: it is on another server."""
    async with live(data) as server, chromium() as browser:
        async with aiohttp.ClientSession(server.url) as http:
            body = {**PERSON, "name": "Ada Lovelace", "accept_terms": True}
            async with http.post("/api/v1/auth/register", json=body) as made:
                assert made.status == 201
        page = await browser.new_page(viewport=HEIGHT)
        complaints: list[str] = []
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type == "error" and MARK not in said.text else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{server.url}{path}")
        yield page, complaints


async def test_someone_signs_in_in_swagger_ui_and_reads_their_own_account(tmp_path: Path) -> None:
    async with opened(tmp_path, "/docs") as (page, complaints):
        login = page.locator('[id^="operations-auth-"][id$=".login"]')
        await login.locator(".opblock-summary-control").dispatch_event("click")
        await expect(login.locator("textarea.body-param__text")).to_contain_text(PERSON["email"])
        await login.get_by_role("button", name="Execute").click()
        await expect(login.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        await login.locator(".opblock-summary-control").dispatch_event("click")
        me = page.locator('[id^="operations-users-"][id$=".me"]')
        await me.locator(".opblock-summary-control").dispatch_event("click")
        await me.get_by_role("button", name="Execute").click()
        answer = me.locator(".live-responses-table")
        await expect(answer.locator(".response-col_status").last).to_contain_text("200")
        await expect(answer).to_contain_text("Ada Lovelace")
        assert complaints == []


async def test_redoc_shows_every_service_and_samples_in_three_languages(tmp_path: Path) -> None:
    async with opened(tmp_path, "/redoc#tag/auth/operation/auth.login") as (page, complaints):
        for title in ("auth", "users", "chatbots", "history"):
            await expect(page.locator(f'[data-item-id="tag/{title}"]').first).to_be_visible()
        samples = page.locator('[id="tag/auth/operation/auth.login"]')
        for label in ("cURL", "Python", "JavaScript"):
            await expect(samples.get_by_role("tab", name=label)).to_be_visible()
        assert complaints == []
