"""A whole REST house for a test: a database of its own, a scripted engine, one account of each role."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestClient, TestServer
from openai import DefaultAsyncHttpxClient
from sqlalchemy import select, update

from api._kit.auth import Tokens
from api._kit.choices import Choices
from api._kit.endpoint import Deps
from api._kit.events import ANY, Announcer, Event
from api._kit.health import Vitals
from api._kit.idempotency import Replays
from api._kit.jobs import JobHandler
from api._kit.limits import Limits
from api._kit.mail import Mail
from api._kit.plans import FixedPlans
from api._kit.ports import Bot, Conversation
from api._kit.sse import Background, Streams
from api._kit.store import PLATFORM, Tenant, jobs, metadata
from api.auth import mails as auth_mails
from api.auth.store import Factors, IdentitySecrets, Revocations
from api.chatbots.drafts import Drafts
from api.chatbots.store import BotParts, Bots
from api.history import upkeep
from api.history.service import EXPORT, TIDY
from api.history.store import Journal
from api.llm.catalogue import installed
from api.llm.choosing import ChosenModels
from api.state.live import LiveStates
from api.users import mails as user_mails
from api.users.keys import Keys
from api.users.store import Accounts, organizations, users
from pipelines.engine import Answer, Listener, Spoken
from pipelines.frames import OUTPUT_RATE, Cue, SpeechChunk, TextDelta, Transcript, Viseme, Word
from pipelines.providers.base import LlmOptions, Voice
from pipelines.registry import Voices
from server.core.breaker import Breaker
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
from tests.contract.shapes import ALL_SPLIT, rows_of
from tests.support.fakes import ScriptedLlm

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
    said: list[str] = field(default_factory=list)
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
        listener: Listener | None = None,
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
        spoken = await self.say(self.text, "tone", face=face) if voice else Spoken()
        if listener:
            listener.begun(message_id, transcript)
            for frame in (TextDelta(1, self.text), *spoken.speech, *spoken.cues):
                listener.hear(frame)
        await self.journal.assistant_message(conversation, message_id, self.text, finish_reason="stop")
        return Answer(
            message_id,
            conversation.id,
            said.message_id,
            self.text,
            "stop",
            transcript=transcript,
            speech=spoken.speech,
            cues=spoken.cues,
            latency_ms={"first_token_ms": 3.0, "total_ms": 9.0},
        )

    async def say(self, text: str, voice: str, *, face: bool = False) -> Spoken:
        self.said.append(text)
        visemes = (Viseme(0, 10, 0.8), Viseme(2400, 10, 0.0)) if face else ()
        speech = SpeechChunk(1, 0, 0, bytes(2 * OUTPUT_RATE // 10), visemes=visemes)
        return Spoken((speech,), (Cue(1, 0, "emotion", "joy"), Cue(1, 2400, "gesture", "nod")) if face else ())

    async def transcribe(self, audio: bytes, language: str) -> Transcript:
        self.heard.append(audio)
        return Transcript(0, "what was said", language, segments=(Word(0, 3200, 0, 13),))

    def voice_of(self, bot: Bot) -> str:
        return "tone"


class Nobody:
    """No client is connected to any conversation."""

    async def hang_up(self, conversation_id: str) -> None:
        pass


@dataclass
class Mailbox:
    """Keeps mails instead of sending them."""

    mails: list[Mail] = field(default_factory=list)

    async def send(self, mail: Mail, *, id: str) -> None:
        self.mails.append(mail)


@dataclass
class DueJob:
    """A job's only run."""

    row: dict[str, Any]
    chatbot_id: str | None = None
    request_id: str | None = None
    attempt: int = 1

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def tenant(self) -> Tenant:
        return self.row["organization_id"] or PLATFORM

    @property
    def payload(self) -> dict[str, Any]:
        return dict(self.row["payload"])

    def cancelled(self) -> bool:
        return False

    async def progress(self, percent: int, counts: Any = None) -> None:
        pass


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
    mailbox: "Mailbox"
    handlers: dict[str, JobHandler]

    async def mails(self) -> list[Mail]:
        """Do the jobs that are due, and take what was sent out of the mailbox."""
        due = (jobs.c.type.in_(self.handlers), jobs.c.status == "queued", jobs.c.run_at <= self.deps.now())
        async with self.deps.database.uow(PLATFORM) as tx:
            rows = await tx.all(select(jobs).where(*due).order_by(jobs.c.id))
            await tx.run(update(jobs).where(*due).values(status="succeeded"))
            await tx.commit()
        for row in rows:
            await self.handlers[row["type"]](DueJob(row))
        taken, self.mailbox.mails = self.mailbox.mails, []
        return taken

    async def token(self, kind: str) -> str:
        """What the link of the only mail of this kind carries."""
        (found,) = [mail.link for mail in await self.mails() if f"#{kind}=" in mail.link]
        return found.rpartition("=")[2]

    async def kept(self) -> str:
        """Every row of every table, as text."""
        async with self.deps.database.view(PLATFORM) as tx:
            return "\n".join([f"{table.name} {await tx.all(select(table))}" for table in metadata.sorted_tables])

    async def verified(self, email: str = "user@example.com", *, tier: str = "enterprise") -> dict[str, str]:
        """An owner whose address is confirmed."""
        headers = await self.owner(email, tier=tier)
        async with self.deps.database.uow(PLATFORM) as tx:
            await tx.run(update(users).where(users.c.email == email).values(email_verified=True))
            await tx.commit()
        return headers

    async def joined(self, owner: dict[str, str], email: str, role: str = "viewer", **more: Any) -> dict[str, str]:
        """Someone who was invited by a verified owner, has joined and signed in."""
        await self.mails()
        body = {"email": email, "role": role, **more}
        await self.json("POST", "/api/v1/users/invite", 201, headers=owner, json=body)
        token = await self.token("invite")
        person = {"email": email, "password": PASSWORD, "name": "Grace", "accept_terms": True, "invite_token": token}
        await self.json("POST", "/api/v1/auth/register", 201, json=person)
        return await self.login(email)

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

    async def api_key(self, headers: dict[str, str], *scopes: str, **more: Any) -> str:
        """The id of a new API key."""
        return str((await self.key(headers, *scopes, **more))["id"])

    async def key(self, headers: dict[str, str], *scopes: str, **more: Any) -> Any:
        """A new API key, as it is shown once."""
        body = {"name": "Our website", "scopes": scopes or ["users:read"], **more}
        return await self.json("POST", "/api/v1/users/me/api-keys", 201, headers=headers, json=body)

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
    folder: Path,
    url: str,
    *,
    check: Any = None,
    files: Files | None = None,
    trusted_proxies: int = 0,
    split: bool = ALL_SPLIT,
) -> AsyncIterator[House]:
    """Everything that compose puts together, on the database at `url`: one application, or where it is `split` one for
    each row, behind a gateway. `check` sees every response."""
    clock, ids, announcer = HandClock(), Ids(), Announcer()
    events: list[Event] = []
    announcer.on(ANY, events.append)
    database = db.connect(url, announce=announcer.announce, clock=clock, ids=ids)
    passwords, box, egress = Argon2Passwords(memory_kib=64, time_cost=1), RlimitedBox(), GuardedEgress()
    speech = SpeechFiles(box)
    revocations, vault, mailbox = Revocations(database, clock=clock), AesVault([KEY]), Mailbox()
    choices = Choices(
        frozenset({"avatar_female_01", "avatar_plain"}),
        Voices([VOICE], "tone"),
        portraits=frozenset({"avatar_female_01"}),
    )
    accounts, journal = Accounts(database, clock=clock, ids=ids), Journal(database, clock=clock, ids=ids)
    engine = ScriptedEngine(journal, ids)
    models = ChosenModels(
        database,
        vault,
        clock,
        own=ScriptedLlm(["Hello ", "there."]),
        installed=installed(ScriptedLlm.capabilities, "whisper-tiny.en", ["fake"]),
        options=LlmOptions(),
        connect=lambda endpoint: DefaultAsyncHttpxClient(trust_env=False),
        gate=lambda: Breaker(30.0),
    )
    plans = FixedPlans(accounts.tier, clock=clock)
    streams = Streams(clock)
    background = Background(streams)
    live = LiveStates(clock)
    live.listen(announcer)
    vitals = Vitals(clock, "0.1.0", tuple(service.name for service in SERVICES))
    vitals.ready = True
    deps = Deps(
        clock=clock,
        ids=ids,
        database=database,
        tokens=Tokens([KEY], clock=clock, ids=ids, revocations=revocations),
        passwords=passwords,
        vault=vault,
        revocations=revocations,
        accounts=accounts,
        keys=Keys(database, clock=clock),
        factors=Factors(database),
        identities=IdentitySecrets(database, vault, clock=clock),
        bots=Bots(database, choices),
        parts=BotParts(clock),
        models=models,
        drafts=Drafts(choices, clock),
        conversations=journal,
        streams=streams,
        background=background,
        calls=Nobody(),
        engine=engine,
        speech=speech,
        box=box,
        egress=egress,
        media=MediaFolder(folder / "media", [KEY], clock=clock),
        plans=plans,
        replays=Replays(database, vault, clock=clock),
        limits=Limits(LocalCounters(), plans, clock=clock),
        live=live,
        vitals=vitals,
        origin=ORIGIN,
        choices=choices,
    )
    shape = AsyncExitStack()
    await shape.enter_async_context(background)
    elsewhere = await shape.enter_async_context(rows_of(deps)) if split else ()
    app = application(deps, files=files, trusted_proxies=trusted_proxies, demo_chatbot="cb_demo", elsewhere=elsewhere)
    trace = aiohttp.TraceConfig()
    if check:
        trace.on_request_end.append(check)
    client = TestClient(TestServer(app), trace_configs=[trace])
    await client.start_server()
    try:
        handlers = {
            auth_mails.JOB: auth_mails.mailing(database, accounts, mailbox, clock=clock, origin=ORIGIN),
            user_mails.JOB: user_mails.mailing(database, mailbox, vault, origin=ORIGIN),
            user_mails.PURGE: user_mails.purging(database, clock),
            EXPORT: upkeep.exporting(database, deps.media, ORIGIN),
            TIDY: upkeep.tidying(database, deps.media),
        }
        yield House(deps, accounts, engine, clock, announcer, events, client, folder, mailbox, handlers)
    finally:
        await client.close()
        await models.close()
        await shape.aclose()
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
