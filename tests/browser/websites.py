"""Somebody's website: one page on another origin than the server's, with the script tag and the headers it was told."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.browser.visitor import Visitor

PASSWORD = "a long passphrase"


@dataclass(slots=True)
class Website:
    """`body` and `headers` may be set at any time."""

    origin: str
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@asynccontextmanager
async def website() -> AsyncIterator[Website]:
    async def page(_: web.Request) -> web.Response:
        text = f"<!doctype html><html lang=en><title>Shop</title><h1>Shop</h1>{site.body}"
        return web.Response(text=text, content_type="text/html", headers=site.headers)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/favicon.ico", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site = Website(f"http://127.0.0.1:{runner.addresses[0][1]}")
        yield site
    finally:
        await runner.cleanup()


async def embedded(server: str, owner: str, *origins: str) -> dict[str, Any]:
    """Registers `owner`, publishes a 3D chatbot for these origins, and returns what `embed` says."""
    account = {"email": owner, "password": PASSWORD, "name": "Ada", "accept_terms": True}
    async with aiohttp.ClientSession(f"{server}/api/v1/", raise_for_status=True) as http:
        await http.post("auth/register", json=account)
        async with http.post("auth/login", json={"email": owner, "password": PASSWORD}) as answer:
            http.headers["Authorization"] = f"Bearer {(await answer.json())['access_token']}"
        async with http.post("chatbots/create", json={"name": "Shop assistant", "type": "3d"}) as answer:
            bot = (await answer.json())["id"]
        await http.patch(f"chatbots/{bot}", json={"allowed_origins": origins})
        await http.post(f"chatbots/{bot}/publish", json={})
        async with http.get(f"chatbots/{bot}/embed") as answer:
            return dict(await answer.json())


async def kept(server: str, visitor: Visitor) -> list[dict[str, Any]]:
    """The messages that the server has kept of this visitor's conversation with the demo chatbot, oldest first."""
    stored = await visitor.look("JSON.parse(localStorage.getItem('machineavatars:cb_demo'))")
    asked = {"chatbot_id": "cb_demo", "visitor_id": stored["visitor"]}
    origin = {"Origin": await visitor.look("location.origin")}
    async with aiohttp.ClientSession(f"{server}/api/v1/", raise_for_status=True) as http:
        async with http.post("auth/visitor-token", json=asked, headers=origin) as answer:
            http.headers["Authorization"] = f"Bearer {(await answer.json())['access_token']}"
        async with http.get(f"history/conversations/{stored['conversation']}/messages") as answer:
            return list((await answer.json())["data"])
