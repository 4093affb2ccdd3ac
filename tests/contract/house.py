"""A whole REST house for a test: a database of its own, a scripted engine, one account of each role."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import update

from api._kit.auth import Tokens
from api._kit.choices import Choices
from api._kit.endpoint import Deps
from api._kit.events import ANY, Announcer, Event
from api._kit.health import Vitals
from api._kit.idempotency import Replays
from api._kit.limits import Limits
from api._kit.plans import FixedPlans
from api._kit.ports import Bot, Conversation
from api._kit.store import PLATFORM
from api.auth.store import Revocations
from api.chatbots.store import BotParts, Bots
from api.history.store import Journal
from api.users.store import Accounts, organizations
from pipelines.engine import Answer
from pipelines.frames import OUTPUT_RATE, Cue, SpeechChunk, Viseme
from pipelines.providers.base import Voice
from pipelines.registry import Voices
from server.gateway import SERVICES, Files, application
from server.infra import db
from server.infra.box import RlimitedBox
from server.infra.clock import Ids
from server.infra.crypto import AesVault
from server.infra.egress import GuardedEgress
from server.infra.hashing import Argon2Passwords
from server.infra.limits import LocalCounters
from server.infra.media import MediaFolder
from server.infra.speech import SpeechFiles

ORIGIN = "http://localhost:8000"
SITE = "https://shop.example"
PASSWORD = "a long sentence of mine"
KEY = b"k" * 32
VOICE = Voice("tone", "Tone", "en-US", "neutral", "fake", "fast", "CC0")


class HandClock:
    """Time that a test moves by hand."""

    def __init__(self, now: float = 1_764_000_000.0) -> None:
        self.seconds = now

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class ScriptedEngine:
    """Answers every question with the same words, and journals both sides as the real engine does."""

    journal: Journal
    ids: Ids
    text: str = "Hello, I can help you."
    failure: Exception | None = None
    heard: list[bytes] = field(default_factory=list)
    asked: int = 0

    async def respond(
        self,
        bot: Bot,
        conversation: Conversation,
        *,
        text: str | None = None,
        audio: bytes | None = None,
        client_message_id: str | None = None,
        voice: bool,
        face: bool,
    ) -> Answer:
        self.asked += 1
        if self.failure:
            raise self.failure
        transcript = None
        if audio is not None:
            self.heard.append(audio)
            transcript = "what was said"
        said = await self.journal.user_message(conversation, text or transcript or "", client_id=client_message_id)
        message_id = self.ids.new("msg")
        await self.journal.assistant_message(conversation, message_id, self.text, finish_reason="stop")
        visemes = (Viseme(0, 10, 0.8), Viseme(2400, 10, 0.0)) if face else ()
        speech = (SpeechChunk(1, 0, 0, bytes(2 * OUTPUT_RATE // 10), visemes=visemes),) if voice else ()
        return Answer(
            message_id,
            conversation.id,
            said.message_id,
            self.text,
            "stop",
            transcript=transcript,
            speech=speech,
            cues=(Cue(1, 0, "emotion", "joy"), Cue(1, 2400, "gesture", "nod")) if face else (),
            latency_ms={"first_token_ms": 3.0, "total_ms": 9.0},
        )


@dataclass
class House:
    deps: Deps
    accounts: Accounts
    engine: ScriptedEngine
    clock: HandClock
    announcer: Announcer
    events: list[Event]
    client: TestClient[Any, Any]
    folder: Path

    async def register(self, email: str = "user@example.com", name: str = "Ada", *, tier: str = "enterprise") -> str:
        """A new owner's id. The organisation has a tier without limits unless another is given."""
        body = {"email": email, "password": PASSWORD, "name": name, "accept_terms": True}
        async with self.client.post("/api/v1/auth/register", json=body) as response:
            assert response.status == 201, await response.text()
            made = await response.json()
        async with self.deps.database.uow(PLATFORM) as tx:
            organization = organizations.c.id == made["organization_id"]
            await tx.run(update(organizations).where(organization).values(tier=tier))
            await tx.commit()
        return str(made["user_id"])

    async def login(self, email: str = "user@example.com") -> dict[str, str]:
        """Headers of a member who has signed in."""
        body = {"email": email, "password": PASSWORD}
        async with self.client.post("/api/v1/auth/login", json=body) as response:
            assert response.status == 200, await response.text()
            return bearer((await response.json())["access_token"])

    async def owner(self, email: str = "user@example.com", *, tier: str = "enterprise") -> dict[str, str]:
        await self.register(email, tier=tier)
        return await self.login(email)

    async def member(self, role: Any, owner: dict[str, str]) -> dict[str, str]:
        """A token of another role in the owner's organisation."""
        principal = await self.deps.tokens.verify(owner["Authorization"].split()[1])
        token, _ = self.deps.tokens.account(principal.user_id, principal.organization_id, role, version=0)
        return bearer(token)

    async def chatbot(self, headers: dict[str, str], **more: Any) -> dict[str, Any]:
        body = {"name": "Support Bot", "type": "3d", **more}
        return await self.json("POST", "/api/v1/chatbots/create", 201, headers=headers, json=body)

    async def published(self, headers: dict[str, str], **more: Any) -> dict[str, Any]:
        """A published chatbot that SITE may show."""
        bot = await self.chatbot(headers, **more)
        path = f"/api/v1/chatbots/{bot['id']}"
        await self.json("PATCH", path, 200, headers=headers, json={"allowed_origins": [SITE]})
        await self.json("POST", f"{path}/publish", 200, headers=headers, json={})
        return bot

    async def visitor(self, chatbot_id: str) -> dict[str, str]:
        grant = await self.json(
            "POST",
            "/api/v1/auth/visitor-token",
            201,
            headers={"Origin": SITE},
            json={"chatbot_id": chatbot_id},
        )
        return {**bearer(grant["access_token"]), "Origin": SITE}

    async def job(self, headers: dict[str, str]) -> str:
        """The id of a job of this caller's organisation, which nobody does."""
        caller = await self.deps.tokens.verify(headers["Authorization"].split()[1])
        async with self.deps.database.uow(caller.organization_id) as tx:
            job_id = await tx.enqueue("test", {}, request_id="req_1")
            await tx.commit()
        return job_id

    async def json(self, method: str, path: str, status: int, **more: Any) -> Any:
        """The body of a response that has this status."""
        async with self.client.request(method, path, **more) as response:
            assert response.status == status, f"{method} {path}: {response.status} {await response.text()}"
            return await response.json()

    async def refused(self, method: str, path: str, status: int, code: str, **more: Any) -> dict[str, Any]:
        """The error of a response that has this status and code."""
        error = (await self.json(method, path, status, **more))["error"]
        assert error["code"] == code, error
        return dict(error)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def build(
    folder: Path, url: str, *, check: Any = None, files: Files | None = None, trusted_proxies: int = 0
) -> AsyncIterator[House]:
    """Everything that compose puts together, on the database at `url`. `check` sees every response."""
    clock, ids, announcer = HandClock(), Ids(), Announcer()
    events: list[Event] = []
    announcer.on(ANY, events.append)
    database = db.connect(url, announce=announcer.announce, clock=clock, ids=ids)
    passwords, box, egress = Argon2Passwords(memory_kib=64, time_cost=1), RlimitedBox(), GuardedEgress()
    speech = SpeechFiles(box)
    revocations = Revocations(database, clock=clock)
    choices = Choices(
        frozenset({"avatar_female_01", "avatar_plain"}),
        Voices([VOICE], "tone"),
        portraits=frozenset({"avatar_female_01"}),
    )
    accounts, journal = Accounts(database, clock=clock, ids=ids), Journal(database, clock=clock, ids=ids)
    engine = ScriptedEngine(journal, ids)
    plans = FixedPlans(accounts.tier, clock=clock)
    vitals = Vitals(clock, "0.1.0", tuple(service.name for service in SERVICES))
    vitals.ready = True
    deps = Deps(
        clock=clock,
        ids=ids,
        database=database,
        tokens=Tokens([KEY], clock=clock, ids=ids, revocations=revocations),
        passwords=passwords,
        vault=AesVault([KEY]),
        revocations=revocations,
        accounts=accounts,
        bots=Bots(database, choices),
        parts=BotParts(clock),
        conversations=journal,
        engine=engine,
        speech=speech,
        box=box,
        egress=egress,
        media=MediaFolder(folder / "media", [KEY], clock=clock),
        plans=plans,
        replays=Replays(database, [KEY], clock=clock),
        limits=Limits(LocalCounters(), plans, clock=clock),
        vitals=vitals,
        origin=ORIGIN,
        choices=choices,
    )
    app = application(deps, files=files, trusted_proxies=trusted_proxies, demo_chatbot="cb_demo")
    trace = aiohttp.TraceConfig()
    if check:
        trace.on_request_end.append(check)
    client = TestClient(TestServer(app), trace_configs=[trace])
    await client.start_server()
    try:
        yield House(deps, accounts, engine, clock, announcer, events, client, folder)
    finally:
        await client.close()
        await database.close()
        passwords.close()
        speech.close()
        box.close()
        await egress.close()


def migrated(folder: Path) -> Path:
    """A database file with all tables, made once to be copied."""
    path = folder / "template.db"
    asyncio.run(db.migrate(f"sqlite+aiosqlite:///{path}"))
    return path


def copy_of(template: Path, folder: Path) -> str:
    """The address of a fresh copy."""
    target = folder / "house.db"
    shutil.copyfile(template, target)
    return f"sqlite+aiosqlite:///{target}"
