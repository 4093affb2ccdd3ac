"""The page that mails lead to."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page, expect

from tests.browser.chromium import chromium
from tests.security.test_mail import Letterbox, serving
from tests.security.test_sessions import PASSWORD, Person, token_of
from tests.support.live import live

pytestmark = pytest.mark.browser


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[str, Letterbox, Person, Callable[[], Page]]]:
    """A server that mails, someone with an account there, and a browser whose console must stay without errors."""
    box, errors = Letterbox(), list[str]()
    async with serving(box) as port, chromium() as browser:
        smtp = {"host": "127.0.0.1", "port": port, "security": "none"}
        async with live(folder, smtp=smtp) as server, aiohttp.ClientSession(server.url) as http:
            person = Person(http, "ada@example.com")
            await person.register()
            page = await browser.new_page()
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            yield server.url, box, person, lambda: page
    assert [error for error in errors if "Content Security Policy" in error or "TypeError" in error] == []


async def test_an_address_is_confirmed_by_a_press_and_not_by_opening_the_link(tmp_path: Path) -> None:
    async with opened(tmp_path) as (url, box, person, page):
        await page().goto(f"{url}/account/#verify={await token_of(box, 'verify')}")
        await expect(page()).to_have_url(f"{url}/account/")
        assert not (await person.ask("GET", "/users/me"))["email_verified"]
        await page().get_by_role("button", name="Confirm my address").click()
        await expect(page().get_by_role("status")).to_contain_text("confirmed")
        assert (await person.ask("GET", "/users/me"))["email_verified"]


async def test_a_password_is_chosen_and_a_link_that_was_used_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as (url, box, person, page):
        await person.ask("POST", "/auth/forgot-password", {"email": person.email})
        link = f"{url}/account/#reset={await token_of(box, 'reset')}"
        for said in ("is changed", "has been used or has expired"):
            await page().goto("about:blank")
            await page().goto(link)
            await page().get_by_label("New password").fill("another long sentence")
            await page().get_by_role("button").click()
            await expect(page().get_by_role("status")).to_contain_text(said)
        login = {"email": person.email, "password": PASSWORD}
        await person.ask("POST", "/auth/login", login, status=401)
        await person.ask("POST", "/auth/login", {**login, "password": "another long sentence"})


async def test_who_was_invited_joins_on_the_page(tmp_path: Path) -> None:
    async with opened(tmp_path) as (url, box, person, page):
        await person.ask("POST", "/auth/verify-email", {"token": await token_of(box, "verify")})
        await person.ask("POST", "/users/invite", {"email": "grace@example.com", "role": "editor"}, status=201)
        await page().goto(f"{url}/account/#invite={await token_of(box, 'invite')}")
        await page().get_by_label("E-mail address").fill("grace@example.com")
        await page().get_by_label("Your name").fill("Grace")
        await page().get_by_label("Password", exact=True).fill(PASSWORD)
        await page().get_by_label("I accept").check()
        await page().get_by_role("button", name="Join").click()
        await expect(page().get_by_role("status")).to_contain_text("Welcome")
        assert len((await person.ask("GET", "/users"))["data"]) == 2


async def test_half_a_link_asks_for_the_mail(tmp_path: Path) -> None:
    async with opened(tmp_path) as (url, _, __, page):
        for broken in ("", "#verify", "#nothing=abc", "#constructor=abc"):
            await page().goto("about:blank")
            await page().goto(f"{url}/account/{broken}")
            await expect(page().get_by_role("status")).to_contain_text("not complete")
            await expect(page().get_by_role("button")).to_have_count(0)
