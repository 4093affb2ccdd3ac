"""Knock at the websocket with what is not allowed there: each is refused, and nobody's token is written down.

    python -m tests.faults.websocket [--mutant]

A token is good for one bot, one user, one website and one hour, comes in the auth payload only, and closes its socket
when it is revoked; events have a size and a pace. The exit code is 1 when one of these does not hold. `--mutant` runs a
server that does not look at the Origin; then the exit code is 0 only if the check caught it.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import socketio

from bench.client import TEXT_CAPS, ChatClient, visitor_token
from bench.instant_model import instant_model
from bench.serving import free_port, serving
from server import wire
from tests.faults.kill9 import BOT

CARELESS = ("-m", "tests.faults.broken", "origin")
EVENTS_A_MINUTE = 120
CLOSED_SECONDS = 10.0
PERSON = {"email": "ada@example.com", "password": "a long passphrase", "name": "Ada", "accept_terms": True}


@dataclass(slots=True)
class Attempt:
    """A server to be knocked at, the tokens that were shown to it, and what did not hold."""

    url: str
    tokens: list[str] = field(default_factory=list)

    async def visitor(self) -> str:
        self.tokens.append(await visitor_token(self.url, BOT, self.url))
        return self.tokens[-1]

    async def refused(self, *, auth: Any = None, query: str = "", **headers: str) -> bool:
        """Whether the namespace stays closed."""
        sio = socketio.AsyncClient(reconnection=False)
        try:
            await sio.connect(
                f"{self.url}/{query}",
                headers={"Origin": self.url, **headers},
                auth=auth,
                transports=["websocket"],
                namespaces=[wire.NAMESPACE],
                wait_timeout=3,
            )
        except socketio.exceptions.ConnectionError:
            return True
        finally:
            await sio.disconnect()
        return False

    def chat(self, token: str, bot: str = BOT) -> ChatClient:
        chat = ChatClient(self.url, bot, caps=TEXT_CAPS)
        chat.token = token
        return chat


async def another_website(at: Attempt) -> bool:
    auth = {"token": await at.visitor()}
    return await at.refused(auth=auth, Origin="https://evil.example") and await at.refused(auth=auth, Origin="null")


async def no_token_but_in_the_url(at: Attempt) -> bool:
    token = await at.visitor()
    async with aiohttp.ClientSession() as http:
        statuses = []
        for name in ("token", "access_token"):
            async with http.get(f"{at.url}/api/v1/users/me?{name}={token}") as answer:
                statuses.append(answer.status)
    return await at.refused(query=f"?token={token}") and statuses == [401, 401]


async def no_token_but_in_a_cookie(at: Attempt) -> bool:
    token = await at.visitor()
    return await at.refused(Cookie=f"token={token}; access_token={token}", Authorization=f"Bearer {token}")


async def one_hour(at: Attempt) -> bool:
    claims = jwt.decode(await at.visitor(), options={"verify_signature": False})
    return bool(claims["exp"] - claims["iat"] == 3600 and claims["bot"] == BOT and claims["origin"] == at.url)


async def another_bot(at: Attempt) -> bool:
    """A published bot that exists, but is not the token's."""
    async with aiohttp.ClientSession(at.url, headers=await member(at, "bots@example.com")) as http:
        made = await http.post("/api/v1/chatbots/create", json={"name": "Mine", "type": "text"})
        bot = (await made.json())["id"]
    chat = at.chat(await at.visitor(), bot)
    with suppress(TimeoutError, socketio.exceptions.TimeoutError):
        async with asyncio.timeout(3):
            async with chat:
                return False
    return bool(chat.of("err") and chat.of("err")[0]["code"] in ("FORBIDDEN", "RESOURCE_NOT_FOUND"))


async def another_users_conversation(at: Attempt) -> bool:
    async with at.chat(await at.visitor()) as owner:
        theirs = owner.ready["conversation_id"]
        thief = at.chat(await at.visitor())
        with suppress(TimeoutError, socketio.exceptions.TimeoutError):
            async with asyncio.timeout(3):
                await thief.join(conversation_id=theirs)
        await thief._sio.disconnect()
    return thief.ready.get("conversation_id") != theirs and bool(thief.of("err"))


async def too_large(at: Attempt) -> bool:
    async with at.chat(await at.visitor()) as chat:
        await chat.emit("say", {"id": "x", "text": "y" * 66_000})
        error = await chat.wait("err", timeout=5)
        return error.payload["code"] == "PAYLOAD_TOO_LARGE" and (await chat.say("Still there?", "m"))["ok"]


async def too_many(at: Attempt) -> bool:
    """The hello counts as well."""
    async with at.chat(await at.visitor()) as chat:
        for _ in range(EVENTS_A_MINUTE - 1):
            await chat.emit("config", {})
        await chat.emit("say", {"id": "over", "text": "Hello"})
        error = await chat.wait("err", timeout=5)
        return error.payload["code"] == "RATE_LIMIT_EXCEEDED" and error.payload["ref"] == "over"


async def too_fast(at: Attempt) -> bool:
    """Eight seconds of sound in no time."""
    frame = wire.Media(wire.Kind.MIC_PCM16, 0, 0, 16_000, 0, bytes(3200)).pack()
    async with at.chat(await at.visitor()) as chat:
        for _ in range(80):
            await chat.emit("mic", frame)
        error = await chat.wait("err", timeout=5)
        return error.payload["code"] == "RATE_LIMIT_EXCEEDED" and error.payload["param"] == "mic"


async def revoked(at: Attempt) -> bool:
    headers = await member(at, "ada@example.com")
    async with aiohttp.ClientSession(at.url, headers=headers) as http:
        made = await http.post("/api/v1/chatbots/create", json={"name": "Mine", "type": "text"})
        bot = (await made.json())["id"]
        async with at.chat(at.tokens[-1], bot) as chat:
            await http.post("/api/v1/auth/logout")
            bye = await chat.wait("bye", timeout=CLOSED_SECONDS)
    return bye.payload["reason"] == "revoked" and await at.refused(auth={"token": at.tokens[-1]})


async def member(at: Attempt, email: str) -> dict[str, str]:
    """The headers of somebody who has just registered."""
    async with aiohttp.ClientSession(at.url) as http:
        await http.post("/api/v1/auth/register", json={**PERSON, "email": email})
        login = {"email": email, "password": PERSON["password"]}
        async with http.post("/api/v1/auth/login", json=login) as answer:
            at.tokens.append((await answer.json())["access_token"])
    return {"Authorization": f"Bearer {at.tokens[-1]}"}


CHECKS: tuple[Callable[[Attempt], Awaitable[bool]], ...] = (
    another_website,
    no_token_but_in_the_url,
    no_token_but_in_a_cookie,
    one_hour,
    another_bot,
    another_users_conversation,
    too_large,
    too_many,
    too_fast,
    revoked,
)


async def main(program: tuple[str, ...]) -> list[str]:
    """The names of what did not hold."""
    port, failed = free_port(), list[str]()
    at = Attempt(f"http://localhost:{port}")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        async with instant_model() as model:
            settings = {"MA_LLM__BASE_URL": model, "MA_LLM__MODEL": "instant", "MA_LOG_LEVEL": "debug"}
            async with serving(data, port, program=program, **settings):
                for check in CHECKS:
                    try:
                        held = await check(at)
                    except (TimeoutError, socketio.exceptions.SocketIOError):
                        held = False
                    if not held:
                        failed.append(check.__name__.replace("_", " "))
        log = (data / "server.log").read_text()
    if not log or any(token in log for token in at.tokens):
        failed.append("no token in the log")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutant", action="store_true", help="a server that ignores the Origin; it must be caught")
    chosen = parser.parse_args()
    found = asyncio.run(main(CARELESS if chosen.mutant else ("-m", "server")))
    print(f"{len(CHECKS) + 1} rules of the websocket, not held: {', '.join(found) or 'none'}")
    if chosen.mutant:
        print("caught" if found == ["another website"] else "NOT CAUGHT")
        sys.exit(0 if found == ["another website"] else 1)
    sys.exit(1 if found else 0)
