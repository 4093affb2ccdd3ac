"""The composition root: settings in, everything else out, each thing built once and passed by argument."""

import asyncio  # create_task only inside the TaskGroup of `house`
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final

from aiohttp import web

from api._kit.auth import Tokens
from api._kit.choices import Choices
from api._kit.endpoint import Deps
from api._kit.events import Announcer
from api._kit.health import Condition, Probe, Vitals
from api._kit.idempotency import Replays
from api._kit.jobs import JobHandler
from api._kit.limits import Limits
from api._kit.plans import FixedPlans
from api._kit.sse import Background, Streams
from api._kit.store import Database
from api._kit.values import milliseconds
from api.auth import mails as auth_mails
from api.auth.store import Factors, IdentitySecrets, Revocations
from api.chatbots.drafts import Drafts
from api.chatbots.store import BotParts, Bots
from api.history import upkeep
from api.history.service import EXPORT, TIDY
from api.history.store import Journal
from api.llm.catalogue import installed
from api.llm.choosing import ChosenModels
from api.state.live import LiveStates, keeping
from api.users import mails as user_mails
from api.users.keys import Keys
from api.users.store import Accounts
from avatars.library import AvatarLibrary
from pipelines.core.endpoint import EndpointRules
from pipelines.engine import Engine
from pipelines.known_answers import KnownAnswers
from pipelines.models.store import ModelStore
from pipelines.ports import Clock, NoGuard
from pipelines.providers.base import LlmOptions
from pipelines.registry import Providers, ProviderSettings, build
from pipelines.workers.process import WorkerProcess
from server.core.breaker import Breaker
from server.demo import ensure_demo
from server.gateway import Files, application
from server.hub import Hub
from server.inbox import Parts
from server.infra import retention
from server.infra.box import RlimitedBox
from server.infra.clock import Dice, Ids, SystemClock
from server.infra.crypto import AesVault
from server.infra.db import check_durable, connect, migrate, ping
from server.infra.egress import Destinations, GuardedEgress, allowed_places
from server.infra.hashing import Argon2Passwords
from server.infra.jobs import Jobs
from server.infra.limits import counting
from server.infra.mail import mailer
from server.infra.media import MediaFolder
from server.infra.model_client import model_client
from server.infra.neighbours import Neighbours
from server.infra.outbox import Outbox
from server.infra.secrets import keyring
from server.infra.speech import SpeechFiles
from server.live import watching
from server.proxy import Rows
from server.samples import VoiceSamples, offered
from server.settings import Settings
from server.shape import Shape
from server.sockets import Sockets
from server.telemetry import Metrics, watch_loop


@dataclass(frozen=True, slots=True)
class House:
    """What `serve` runs."""

    app: web.Application
    hub: Hub
    sockets: Sockets
    vitals: Vitals
    metrics: Metrics
    providers: Providers


def model_store(settings: Settings) -> ModelStore:
    return ModelStore(settings.data_dir / "models")


def provider_settings(settings: Settings) -> ProviderSettings:
    return ProviderSettings(
        stt_model=settings.stt.model,
        stt_threads=settings.stt.threads,
        voice=settings.tts.voice or FAST_VOICE,
        tts_threads=settings.tts.threads,
        llm_base_url=settings.llm.base_url,
        llm_model=settings.llm.model,
        llm_api_key=settings.llm.api_key.get_secret_value(),
    )


CLOSING: Final = ("user.logout", "user.tokens_revoked", "chatbot.deleted")
"""Events that close sockets, in whichever process they are."""
MODEL_PAUSE: Final = 30.0
"""Seconds for which a language model that failed is left alone, where there is another one to ask."""
FAST_VOICE: Final = "en_US-joe-medium"
"""Speaks where no better voice is chosen or keeps up."""


@asynccontextmanager
async def house(
    settings: Settings, providers: Providers | None = None, form: Shape | None = None
) -> AsyncIterator[House]:
    """Everything, running: workers loading, sessions possible. In another `form` than one process for all, only rows
    that need the models have them, and the jobs and sockets beside them; every process tells of what it records.

    Raises ModelMissing, UnknownModel, NoSecretKey, ValueError.

    `providers` replaces those that the settings name.
    """
    form = form or Shape()
    providers = providers or build(model_store(settings), provider_settings(settings))
    if not form.talks:
        providers = replace(providers, workers=())
    clock, ids, metrics, announcer = SystemClock(), Ids(), Metrics(), Announcer()
    database = connect(settings.database, announce=announcer.announce, clock=clock, ids=ids)
    local = database.dialect == "sqlite"
    keys = keyring(settings.secret_key.get_secret_value(), data_dir=settings.data_dir, local=local)
    destinations = Destinations(allowed_places(settings.egress.allow))
    passwords, box = Argon2Passwords(), RlimitedBox()
    speech = SpeechFiles(box)
    egress = GuardedEgress(destinations, agent=f"machineavatars/{version('machineavatars')} (+{settings.origin})")
    counters = counting(settings.redis_url, clock=clock, counted=lambda store: metrics.limits.labels(store).inc())
    rows = Rows(form.elsewhere, clock=clock)
    try:
        box.start()
        await check_durable(database)
        media = MediaFolder(settings.data_dir / "media", keys.derive("media"), clock=clock)
        library = AvatarLibrary.scan().list()
        choices = Choices(
            avatars=frozenset(avatar.id for avatar in library),
            voices=providers.voices,
            avatar_voices={} if settings.tts.voice else {avatar.id: avatar.recipe.voice for avatar in library},
            portraits=frozenset(avatar.id for avatar in library if avatar.thumbnail.is_file()),
            library=library,
            samples=offered(VoiceSamples(settings.data_dir, providers.voices, providers.tts, speech), media),
        )
        revocations, vault = Revocations(database, clock=clock), AesVault(keys.derive("vault"))
        tokens = Tokens(keys.derive("tokens"), clock=clock, ids=ids, revocations=revocations)
        accounts = Accounts(database, clock=clock, ids=ids)
        journal = Journal(database, clock=clock, ids=ids)
        bots = Bots(database, choices)
        live = LiveStates(clock)
        live.listen(announcer)
        options = LlmOptions(
            max_tokens=settings.llm.max_tokens,
            temperature=settings.llm.temperature,
        )
        models = ChosenModels(
            database,
            vault,
            clock,
            own=providers.llm,
            installed=installed(
                providers.llm.capabilities,
                providers.stt.capabilities.model,
                [voice.engine for voice in providers.voices],
            ),
            options=options,
            connect=lambda endpoint: model_client(destinations, egress.names),
            gate=lambda: Breaker(MODEL_PAUSE),
            patience=settings.llm.first_token_timeout,
        )
        engine = Engine(
            models=models,
            stt=providers.stt,
            tts=providers.tts,
            retriever=KnownAnswers(),
            guard=NoGuard(),
            journal=journal,
            clock=clock,
            ids=ids,
            voices=providers.voices,
        )
        vitals = Vitals(clock, version("machineavatars"), tuple(service.name for service in form.services))
        vitals.watch("database", _database(database))
        for worker in providers.workers:
            vitals.watch(worker.spec.kind, _worker(worker))
        vitals.watch("limits", counters.condition)
        for name, row in rows.by_name.items():
            vitals.elsewhere(name, row.condition)
        plans = FixedPlans(accounts.tier, clock=clock)
        limits = Limits(
            counters, plans, clock=clock, anonymous=settings.limits.anonymous, visitor=settings.limits.visitor
        )
        files = Files()
        rules = EndpointRules(hangover_ms=settings.turn.hangover_ms, cap_ms=int(settings.turn.utterance_cap_s * 1000))
        parts = Parts(engine, providers.vad, rules, metrics, watching(live, clock))
        hub = Hub(parts, bots, journal, max_sessions=settings.max_sessions)
        streams = Streams(clock)
        background = Background(streams)
        deps = Deps(
            clock=clock,
            ids=ids,
            database=database,
            tokens=tokens,
            passwords=passwords,
            vault=vault,
            revocations=revocations,
            accounts=accounts,
            keys=Keys(database, clock=clock),
            factors=Factors(database),
            identities=IdentitySecrets(database, vault, clock=clock),
            bots=bots,
            parts=BotParts(clock),
            models=models,
            drafts=Drafts(choices, clock),
            conversations=journal,
            streams=streams,
            background=background,
            calls=hub,
            engine=engine,
            speech=speech,
            box=box,
            egress=egress,
            media=media,
            plans=plans,
            limits=limits,
            replays=Replays(database, vault, clock=clock),
            live=live,
            vitals=vitals,
            origin=settings.origin,
            choices=choices,
            widget=files.build(),
        )
        demo = None
        if not form.alone:
            demo = await ensure_demo(database, accounts, now=deps.now(), origins=demo_origins(settings))
        app = application(
            deps,
            services=form.services,
            files=files,
            trusted_proxies=form.trusted_proxies(settings),
            demo_chatbot=demo,
            elsewhere=rows.by_name.values(),
            alone=form.alone,
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker.run(), name=f"worker {worker.spec.kind}") for worker in providers.workers]
            tasks.append(group.create_task(watch_loop(metrics, clock), name="loop watch"))
            tasks.append(group.create_task(models.run(), name="models"))
            if form.elsewhere:
                tasks.append(group.create_task(rows.run(), name="rows"))
            outbox = Outbox(database, announcer, clock=clock, dice=Dice())
            outbox.consumer("state", {"conversation.ended"}, keeping(database, live))
            jobs = Jobs(database, announcer, clock=clock, ids=ids, dice=Dice())
            jobs.handle(EXPORT, upkeep.exporting(database, media, settings.origin))
            jobs.handle(TIDY, upkeep.tidying(database, media))
            jobs.every("history.idle", upkeep.IDLE_EVERY, upkeep.ending_idle(database, bots, clock))
            jobs.every("retention", retention.EVERY, retention.pruning(database, clock))
            for type, handler in mail_jobs(settings, database, accounts, vault, clock).items():
                jobs.handle(type, handler, seconds=60)
            jobs.handle(user_mails.PURGE, user_mails.purging(database, clock))
            async with AsyncExitStack() as running:
                await running.enter_async_context(outbox)
                if form.talks:
                    await running.enter_async_context(jobs)
                await running.enter_async_context(hub)
                await running.enter_async_context(background)
                sockets = Sockets(hub, tokens, metrics, clock=clock, origin=settings.origin)
                if form.talks:
                    sockets.attach(app)
                if not local:
                    neighbours = Neighbours(database, announcer, CLOSING, clock=clock)
                    tasks.append(group.create_task(neighbours.run(), name="neighbours"))
                announcer.on("user.logout", lambda event: sockets.revoke(event.data["user_id"], event.data["session"]))
                announcer.on("user.tokens_revoked", lambda event: sockets.revoke(event.data["user_id"]))
                announcer.on("chatbot.deleted", lambda event: sockets.revoke(chatbot_id=event.data["chatbot_id"]))
                yield House(app, hub, sockets, vitals, metrics, providers)
            for task in tasks:
                task.cancel()
    finally:
        passwords.close()
        speech.close()
        box.close()
        await egress.close()
        await counters.close()
        await rows.close()
        await database.close()


def mail_jobs(
    settings: Settings, database: Database, accounts: Accounts, vault: AesVault, clock: Clock
) -> dict[str, JobHandler]:
    """Jobs that write to people."""
    post = mailer(settings, clock=clock)
    return {
        auth_mails.JOB: auth_mails.mailing(database, accounts, post, clock=clock, origin=settings.origin),
        user_mails.JOB: user_mails.mailing(database, post, vault, origin=settings.origin),
    }


def demo_origins(settings: Settings) -> list[str]:
    """Where the demo chatbot may be shown: at the public URL and on this machine."""
    return [settings.origin, *(f"http://{host}:{settings.port}" for host in ("localhost", "127.0.0.1"))]


async def demo_chatbot(settings: Settings) -> str:
    """Make sure that the demo chatbot is in the database; returns its id."""
    clock = SystemClock()
    await migrate(settings.database)
    database = connect(settings.database)
    try:
        accounts = Accounts(database, clock=clock, ids=Ids())
        now = milliseconds(clock.now())
        return await ensure_demo(database, accounts, now=now, origins=demo_origins(settings))
    finally:
        await database.close()


def _database(database: Database) -> Probe:
    async def probe() -> Condition:
        await ping(database)
        return "ok"

    return probe


def _worker(worker: WorkerProcess) -> Probe:
    async def probe() -> Condition:
        return "ok" if worker.state == "ready" else "unavailable"

    return probe
