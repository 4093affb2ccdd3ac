"""All live sessions in one TaskGroup: opened by a hello, kept while their socket is away, drained last."""

import asyncio  # create_task only inside the hub's TaskGroup
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import Self

import structlog

from api._kit.auth import Principal
from api._kit.errors import BadRequest, ChatbotUnavailable, Forbidden, NotFound, Unavailable
from api._kit.ports import Bots, Conversations
from api._kit.values import milliseconds
from pipelines.ports import Bot, Conversation, JournalUnavailable, UnknownConversation, Visit
from server import wire
from server.inbox import Parts
from server.outgoing import Link
from server.session import Session

TTL = 120
"""Seconds that a session outlives its socket."""
SWEEP = 5.0
SHARED = 256
"""Bots that are kept for those who come next."""
LEAVE = 3.0
"""Seconds that sessions have to keep what was heard of their last reply."""

RETRY_MS, SPREAD_MS = 1000, 5000
"""When clients of a server that stops should come back: from the first on, evenly over the second."""

log = structlog.get_logger()


class Hub:
    """Use as an async context manager: every session ends before it is left."""

    def __init__(self, parts: Parts, bots: Bots, conversations: Conversations, *, max_sessions: int) -> None:
        self._parts, self._bots, self._conversations, self._max = parts, bots, conversations, max_sessions
        self._clock = parts.engine.clock
        self._sessions: dict[str, Session] = {}
        self._owners: dict[str, tuple[str, str]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._away: dict[str, float] = {}
        self._connected: dict[str, tuple[float, float | None]] = {}
        """Of each session, for how many seconds sockets were attached before, and since when one is now."""
        self._one_of = lru_cache(maxsize=SHARED)(_same)
        """Equal bots are one object: its prompt and examples are in memory once for all of its visitors."""
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup
        self.draining = False

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._sweeper = self._group.create_task(self._sweep(), name="hub sweeper")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sweeper.cancel()
        for session in self._sessions.values():
            session.leave()
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=LEAVE)
        for task in self._tasks.values():
            task.cancel()
        await self._stack.aclose()

    @property
    def count(self) -> int:
        """How many conversations are open."""
        return len(self._sessions)

    async def open(self, principal: Principal, hello: wire.Hello) -> tuple[Session, dict[str, object]]:
        """A session for this hello, and its `ready`; `join` it when that has been sent. Raises ApiError."""
        if self.draining:
            raise Unavailable("The server is restarting. Please try again in a moment.", retry_after=1)
        if hello.proto != wire.VERSION:
            raise BadRequest(f"This server speaks protocol {wire.VERSION}, not {hello.proto}")
        bot = await self._bot(principal, hello.chatbot_id)
        if hello.resume and (session := self._resumable(principal, hello)):
            return session, await self._resume(session, hello.resume, hello.caps)
        if len(self._sessions) >= self._max:
            raise Unavailable("Too many people are talking right now. Please try again in a moment.", retry_after=2)
        return await self._new(principal, bot, hello)

    async def _bot(self, principal: Principal, chatbot_id: str) -> Bot:
        if principal.kind == "visitor" and principal.chatbot_id != chatbot_id:
            raise Forbidden("This token is for another chatbot.")
        bot = await self._bots.find(chatbot_id, draft=principal.kind == "account")
        if bot is None or bot.organization_id != principal.organization_id:
            raise NotFound("No such chatbot.")
        if bot.status in ("paused", "maintenance", "trashed"):
            raise ChatbotUnavailable(retry_after=60)
        return self._one_of(bot)

    async def join(self, session: Session, link: Link, token: str) -> None:
        """Send the session's events to `link` from now on. `token` is that of its `ready`: of two sockets that resume a
        session at once, the later one gets it."""
        if session.id not in self._sessions:
            await link.close("expired")
            return
        if not session.latest(token):
            await link.close("superseded")
            return
        self._away.pop(session.id, None)
        old = session.outgoing.attach(link)
        spent, since = self._connected.get(session.id, (0.0, None))
        self._connected[session.id] = spent, self._clock.monotonic() if since is None else since
        if old is not None:
            await old.close("superseded")

    async def _new(self, principal: Principal, bot: Bot, hello: wire.Hello) -> tuple[Session, dict[str, object]]:
        try:
            conversation = await self._conversation(principal, bot, hello)
        except UnknownConversation:
            raise NotFound("No such conversation.") from None
        except JournalUnavailable:
            raise Unavailable("Conversations cannot be kept right now.", retry_after=1) from None
        session = Session(self._parts.engine.ids.new("ses"), bot, conversation, hello, self._parts)
        self._sessions[session.id] = session
        self._owners[session.id] = (principal.user_id, principal.organization_id)
        ready = session.ready(TTL)
        self._away[session.id] = self._clock.monotonic()
        self._tasks[session.id] = self._group.create_task(self._live(session), name=f"session {session.id}")
        self._parts.metrics.sessions.set(len(self._sessions))
        return session, ready

    async def _conversation(self, principal: Principal, bot: Bot, hello: wire.Hello) -> Conversation:
        """The one that is asked for, or a new one. Who comes back to a session in which nothing was said yet finds no
        conversation, and begins one. Raises UnknownConversation and JournalUnavailable."""

        async def open(id: str | None) -> Conversation:
            return await self._conversations.open(
                bot,
                principal.user_id,
                bot.type,
                conversation_id=id,
                language=bot.language,
                visit=Visit(locale=hello.locale),
            )

        try:
            return await open(hello.conversation_id)
        except UnknownConversation:
            if hello.resume is None:
                raise
            return await open(None)

    def _resumable(self, principal: Principal, hello: wire.Hello) -> Session | None:
        assert hello.resume is not None
        session = self._sessions.get(hello.resume.sid)
        owner = (principal.user_id, principal.organization_id)
        if session is None or self._owners[session.id] != owner or not session.accepts(hello.resume.token):
            return None
        return session if session.bot.id == hello.chatbot_id else None

    async def _resume(self, session: Session, resume: wire.Resume, caps: wire.Caps) -> dict[str, object]:
        """The same session for another socket, perhaps of another page; the one before it, if it still stands, is told
        and closed."""
        session.suit(caps)
        old, recovered = session.outgoing.resume(resume.last_seq, resume.rid, resume.played)
        self._away[session.id] = self._clock.monotonic()
        if old is not None:
            await old.close("superseded")
        return session.ready(TTL, used=resume.token, recovered=recovered)

    async def _live(self, session: Session) -> None:
        try:
            await session.run()
            await self._note(session)
        except Exception:  # the last resort of a session: the others live on
            log.exception("session failed", sid=session.id)
            if session.outgoing.link:
                await session.outgoing.link.close("protocol")
        finally:
            self._sessions.pop(session.id, None)
            self._owners.pop(session.id, None)
            self._tasks.pop(session.id, None)
            self._away.pop(session.id, None)
            self._connected.pop(session.id, None)
            self._parts.metrics.sessions.set(len(self._sessions))

    async def _note(self, session: Session) -> None:
        """Write down for how long a client was connected to a voice session. One that cannot be written is not
        billed."""
        self._pause(session.id)
        spent, _ = self._connected.get(session.id, (0.0, None))
        if session.bot.type == "voice" and spent:
            await self._conversations.connected(session.conversation, milliseconds(spent))

    def _pause(self, sid: str) -> None:
        spent, since = self._connected.get(sid, (0.0, None))
        if since is not None:
            self._connected[sid] = spent + self._clock.monotonic() - since, None

    async def hang_up(self, conversation_id: str) -> None:
        """End the sessions of a conversation; returns when what they took is written down."""
        sessions = [s for s in self._sessions.values() if s.conversation.id == conversation_id]
        tasks = [self._tasks[session.id] for session in sessions]
        for session in sessions:
            session.leave()
        if tasks:
            await asyncio.wait(tasks, timeout=LEAVE)
        for session in sessions:
            if session.outgoing.link:
                await session.outgoing.link.close("superseded")

    def leave(self, session: Session, link: Link) -> None:
        """`link` is gone; the session waits `TTL` seconds for another one."""
        session.outgoing.lose(link)
        if session.outgoing.link is None:
            self._pause(session.id)
        if session.outgoing.link is None and session.id in self._sessions:
            self._away[session.id] = self._clock.monotonic()

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP)
            now = self._clock.monotonic()
            for sid, since in list(self._away.items()):
                if now - since >= TTL:
                    self._sessions[sid].leave()

    async def drain(self, seconds: float) -> None:
        """Refuse new sessions, tell the open ones, and let running replies end, at most `seconds`."""
        self.draining = True
        for n, session in enumerate(self._sessions.values()):
            session.outgoing.send(wire.Draining(retry_ms=RETRY_MS + SPREAD_MS * n // len(self._sessions)))
        await asyncio.gather(*(session.finish(seconds) for session in self._sessions.values()))


def _same(bot: Bot) -> Bot:
    return bot
