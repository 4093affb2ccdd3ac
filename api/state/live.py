"""What conversations show right now, in this process: fed by the sockets and by what is recorded, kept for a day."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from api._kit.events import Announcer, Event
from api._kit.ports import Clock, Live
from api._kit.store import Database
from api._kit.values import milliseconds
from api.state import store
from pipelines.ports import Conversation

KEPT_MS: Final = 24 * 3_600_000
MOST: Final = 50_000
"""Conversations that are remembered; the one that was quiet the longest goes first."""


class LiveStates:
    """Other processes do not see what is shown here; when this one ends, it is forgotten.

    Nothing that happens here waits or fails, for conversations go on whether or not somebody looks at them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[str, Live] = OrderedDict()

    def show(self, conversation: Conversation, shown: Mapping[str, Any]) -> None:
        """The conversation shows this from now on; the rest stays."""
        if conversation.id not in self._known:
            owner = (conversation.organization_id, conversation.chatbot_id, conversation.user_id)
            self._known[conversation.id] = Live(conversation.id, *owner, seq=0, shown={}, updated_at=self._now())
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        self._tell(conversation.id, shown)

    async def find(self, conversation_id: str) -> Live | None:
        """What the conversation shows, if it did anything in the last 24 hours."""
        live = self._known.get(conversation_id)
        if live is not None and live.updated_at + KEPT_MS <= self._now():
            del self._known[conversation_id]
            return None
        return live

    def listen(self, announcer: Announcer) -> None:
        """Take note of conversations that nobody holds a socket of."""
        announcer.on("conversation.started", self._started)
        announcer.on("message.created", self._said)
        announcer.on("conversation.ended", lambda event: self._tell(event.data["conversation_id"], {"status": "ended"}))

    def _started(self, event: Event) -> None:
        data = event.data
        talk = Conversation(data["conversation_id"], event.organization_id, data["chatbot_id"], data["user_id"], "text")
        self.show(talk, {})

    def _said(self, event: Event) -> None:
        status = "thinking" if event.data["role"] == "user" else "idle"
        self._tell(event.data["conversation_id"], {"status": status})

    def _tell(self, conversation_id: str, shown: Mapping[str, Any]) -> None:
        live = self._known.get(conversation_id)
        if live is None or live.shown.get("status") == "ended":
            return
        after = {**live.shown, **shown}
        if after == live.shown:
            return
        self._known[conversation_id] = replace(live, seq=live.seq + 1, shown=after, updated_at=self._now())
        self._known.move_to_end(conversation_id)

    def _now(self) -> int:
        return milliseconds(self._clock.now())


def keeping(database: Database, live: LiveStates) -> Callable[[Event], Awaitable[None]]:
    """A consumer of `conversation.ended`: keeps what the conversation showed last, if it was shown in this process.
    Where another process showed it and the event comes here, nothing is kept, and nothing wrong."""

    async def keep(event: Event) -> None:
        data = event.data
        last = await live.find(data["conversation_id"])
        if last is None:
            return
        values = {
            "chatbot_id": data["chatbot_id"],
            "user_id": data["user_id"],
            "seq": last.seq,
            "shown": {**last.shown, "status": "ended"},
            "updated_at": last.updated_at,
        }
        async with database.uow(event.organization_id) as tx:
            await store.keep_session(tx, data["conversation_id"], values)
            await tx.commit()

    return keep
