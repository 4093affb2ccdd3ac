"""From the mail to the socket and back: who loses a right is off the line at once, whatever took it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api.auth import service
from bench.client import TEXT_CAPS, ChatClient
from tests.security.test_mail import Letterbox, serving
from tests.support.live import live

PASSWORD = "a long sentence of mine"


@dataclass
class Person:
    """Someone who uses the REST API; `token` is the one they were given last."""

    http: aiohttp.ClientSession
    email: str
    token: str = ""

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, token: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token or self.token}"} if token or self.token else {}
        async with self.http.request(method, f"/api/v1{path}", json=body, headers=headers) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def register(self, **more: str) -> None:
        body = {"email": self.email, "password": PASSWORD, "name": "Ada", "accept_terms": True, **more}
        await self.ask("POST", "/auth/register", body, status=201)
        login = {"email": self.email, "password": PASSWORD}
        self.token = (await self.ask("POST", "/auth/login", login))["access_token"]


@dataclass
class Office:
    """A server that mails, its owner, a member who was invited, and a chatbot that both may talk to."""

    url: str
    owner: Person
    member: Person
    chatbot_id: str

    def chat(self, person: Person) -> ChatClient:
        client = ChatClient(self.url, self.chatbot_id, caps=TEXT_CAPS)
        client.token = person.token
        return client


async def token_of(box: Letterbox, kind: str) -> str:
    """What the link of the newest mail carries, once it has come."""
    async with asyncio.timeout(10):
        while True:
            for mail in reversed(box.taken):
                text = mail.get_body(("plain",))
                if text is not None and (found := re.search(rf"#{kind}=(\S+)", text.get_content())):
                    return found[1]
            await asyncio.sleep(0.02)


@asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    box = Letterbox()
    async with serving(box) as port:
        smtp = {"host": "127.0.0.1", "port": port, "security": "none"}
        async with live(folder, smtp=smtp) as server, aiohttp.ClientSession(server.url) as http:
            owner, member = Person(http, "ada@example.com"), Person(http, "grace@example.com")
            await owner.register()
            await owner.ask("POST", "/auth/verify-email", {"token": await token_of(box, "verify")})
            await owner.ask("POST", "/users/invite", {"email": member.email, "role": "editor"}, status=201)
            await member.register(invite_token=await token_of(box, "invite"))
            bot = await owner.ask("POST", "/chatbots/create", {"name": "Ours", "type": "text"}, status=201)
            yield Office(server.url, owner, member, bot["id"])


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"status": "suspended"}, {"status": "removed"}])
async def test_a_member_who_is_changed_is_off_the_line(tmp_path: Path, change: dict[str, str]) -> None:
    async with office(tmp_path) as us, us.chat(us.member) as chat, us.chat(us.owner) as other:
        member_id = (await us.member.ask("GET", "/users/me"))["id"]
        await us.owner.ask("PATCH", f"/users/{member_id}", change)
        bye: Any = (await chat.wait("bye", timeout=5)).payload
        assert (bye["reason"], bye["reconnect"]) == ("revoked", False)
        await us.member.ask("GET", "/users/me", status=401)
        assert not other.of("bye")


async def test_a_token_that_is_exchanged_twice_closes_the_sockets_of_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "GRACE_MS", 0)
    async with office(tmp_path) as us:
        stolen = us.member.token
        us.member.token = (await us.member.ask("POST", "/auth/refresh"))["access_token"]
        async with us.chat(us.member) as chat, us.chat(us.owner) as other:
            await us.member.ask("POST", "/auth/refresh", status=401, token=stolen)
            bye: Any = (await chat.wait("bye", timeout=5)).payload
            assert bye["reason"] == "revoked"
            assert not other.of("bye")


async def test_a_new_password_closes_every_socket_of_its_owner(tmp_path: Path) -> None:
    async with office(tmp_path) as us, us.chat(us.member) as chat:
        body = {"current_password": PASSWORD, "new_password": "another long sentence"}
        await us.member.ask("PATCH", "/users/me", body)
        bye: Any = (await chat.wait("bye", timeout=5)).payload
        assert bye["reason"] == "revoked"


async def test_a_chatbot_that_is_deleted_is_silent_for_everybody(tmp_path: Path) -> None:
    async with office(tmp_path) as us:
        other = await us.owner.ask("POST", "/chatbots/create", {"name": "Another", "type": "text"}, status=201)
        spared = Office(us.url, us.owner, us.member, other["id"])
        async with us.chat(us.member) as chat, spared.chat(us.member) as elsewhere:
            await us.owner.ask("DELETE", f"/chatbots/{us.chatbot_id}")
            bye: Any = (await chat.wait("bye", timeout=5)).payload
            assert (bye["reason"], bye["reconnect"]) == ("revoked", False)
            assert not elsewhere.of("bye")
