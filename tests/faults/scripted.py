"""A server with scripted models, for the checks of delivery; and its mutants, each with one rule of delivery broken.

    python -m tests.faults.scripted [RULE ...] serve

The rules that break something are under `MUTANTS`; those under `STAGE` only set the scene. A chatbot answers “flood”
with two megabytes of text, and everything else with thirty words, one every 50 ms, that take two seconds to say.
"""

import asyncio
import os
import random
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from sqlalchemy import event

import server.compose
from api.history.store import Journal
from pipelines import text
from pipelines.models.store import ModelStore
from pipelines.ports import Conversation, Recorded
from pipelines.providers.base import ChatMessage, LlmOptions
from pipelines.registry import Providers, ProviderSettings, Voices
from server import engine, hub, replies, sockets
from server.__main__ import main
from server.core.stream import Out, Stream
from server.infra import db
from tests.support.fakes import VOICE, LoudnessVad, ScriptedLlm, ScriptedStt, ToneTts

WORDS = [f"word{n} " for n in range(30)]
BRIEF = 5
FLOOD = ["x" * 20_000] * 110


class Storyteller(ScriptedLlm):
    """Answers by the question, and remembers nothing of it."""

    async def stream(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncIterator[str]:
        flood = messages[-1].content.startswith("flood")
        for word in FLOOD if flood else WORDS:
            await asyncio.sleep(0.025 if flood else 0.05)
            yield word


def scripted(store: ModelStore, settings: ProviderSettings) -> Providers:
    stt, tts = ScriptedStt(), ToneTts(ms=10, delay=0.0)
    stt.heard, tts.spoken = deque(maxlen=1), deque(maxlen=1)  # type: ignore[assignment]
    return Providers(stt, Storyteller(), tts, LoudnessVad(remembers=False), Voices([VOICE], VOICE.id), ())


# --- the scene ---


def brisk() -> None:
    """As many events as a client likes, and answers at once."""
    lenient()
    WORDS[:] = ["Yes."]


def lenient() -> None:
    """As many events as a client likes, answers of any length, and of a conversation one answer at hand."""
    replies.REMEMBERED, text.LONGEST = 2, 10_000_000
    sockets.EVENTS_A_MINUTE = 1_000_000


def brief() -> None:
    """Sessions outlive their sockets by `BRIEF` seconds only."""
    hub.TTL, hub.SWEEP = BRIEF, 0.25  # type: ignore[misc]


def dawdling() -> None:
    """A handler takes up to 20 ms until it has looked at an event."""
    received = sockets.Sockets.received

    async def later(self: sockets.Sockets, sid: str, name: str, arguments: list[Any], ack: Any) -> None:
        if name == "say":
            await asyncio.sleep(random.uniform(0, 0.02))
        await received(self, sid, name, arguments, ack)

    sockets.Sockets.received = later  # type: ignore[method-assign]


def mortal() -> None:
    """The server dies in the moment in which “last words” are committed."""
    commit = Journal.user_message

    async def die(self: Journal, conversation: Conversation, text: str, **more: Any) -> Recorded:
        recorded = await commit(self, conversation, text, **more)
        if text == "last words":
            os._exit(1)
        return recorded

    Journal.user_message = die  # type: ignore[method-assign,assignment]


def cancelling() -> None:
    """Whatever keeps a message that begins with “cancel” is cancelled in the midst of it, at the first attempt: before
    the commit, or while the commit is under way."""
    commit, tried = Journal.user_message, set[str | None]()

    async def broken_off(
        self: Journal, conversation: Conversation, text: str, *, client_id: str | None = None, spoken: bool = False
    ) -> Recorded:
        if text.startswith("cancel") and client_id not in tried:
            tried.add(client_id)
            task = asyncio.current_task()
            assert task is not None
            if text.startswith("cancel before"):
                task.cancel()
                await asyncio.sleep(1)
            asyncio.get_running_loop().call_soon(task.cancel)
        return await commit(self, conversation, text, client_id=client_id, spoken=spoken)

    Journal.user_message = broken_off  # type: ignore[method-assign]


# --- the mistakes ---


def early() -> None:
    """A message is acknowledged when it comes, as a handler of the bare library does."""
    received = sockets.Sockets.received

    async def at_once(self: sockets.Sockets, sid: str, name: str, arguments: list[Any], ack: Any) -> None:
        if name == "say":
            await ack({"ok": True, "id": arguments[0]["id"], "message_id": "msg_early"})
        await received(self, sid, name, arguments, ack)

    sockets.Sockets.received = at_once  # type: ignore[method-assign]


def crowding() -> None:
    """Each event of a client is handled in a task of its own: the library's default."""
    made = sockets._Server.__init__

    def init(self: Any, **settings: Any) -> None:
        made(self, **{**settings, "async_handlers": True})

    sockets._Server.__init__ = init  # type: ignore[method-assign]


def forgetful() -> None:
    """An event is forgotten when it is sent, not when it is acknowledged."""
    take = Stream.take

    def forget(self: Stream) -> Out | None:
        out = take(self)
        if out is not None:
            self._kept.popleft()
            self._sent = self._flying = 0
            self._bytes -= out.size
        return out

    Stream.take = forget  # type: ignore[method-assign]


def trusting() -> None:
    """Whoever knows the id of a session gets it."""
    hub.Hub._resumable = lambda self, _principal, hello: self._sessions.get(hello.resume.sid)  # type: ignore


def repeating() -> None:
    """A message's own id is not looked at."""
    commit = Journal.user_message

    async def anew(
        self: Journal, conversation: Conversation, text: str, *, client_id: str | None = None, spoken: bool = False
    ) -> Recorded:
        return await commit(self, conversation, text, spoken=spoken)

    Journal.user_message = anew  # type: ignore[method-assign]


def volatile() -> None:
    """SQLite returns from a commit before it is on the disk."""
    prepare = db._prepare

    def lax(made: Any) -> None:
        prepare(made)
        event.listen(made, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL").close())

    db._prepare = lax


def boundless() -> None:
    """A client that does not read is sent more and more."""
    init = Stream.__init__

    def endless(self: Stream, **_: int) -> None:
        init(self, window=1 << 40, limit=1 << 40)

    Stream.__init__ = endless  # type: ignore[method-assign]
    engine.BACKLOG = 1 << 40
    sockets.PING_TIMEOUT = 3600


def fleeting() -> None:
    """A session ends with its socket."""
    hub.TTL, hub.SWEEP = 0, 0.05  # type: ignore[misc]


STAGE = (brisk, lenient, brief, dawdling, cancelling, mortal)
MUTANTS = (early, crowding, forgetful, trusting, repeating, volatile, boundless, fleeting)


if __name__ == "__main__":
    server.compose.build = scripted
    rules: dict[str, Callable[[], None]] = {rule.__name__: rule for rule in STAGE + MUTANTS}
    while sys.argv[1] in rules:
        rules[sys.argv.pop(1)]()
    sys.exit(main())
