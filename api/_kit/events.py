"""Domain events: what happened, as values that are written with the change that they report."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

ANY: Final = "*"
"""Every event, whatever its name."""


@dataclass(frozen=True, slots=True)
class Event:
    """`name` is a noun and a past participle, such as `chatbot.created`; `data` is JSON.

    `id` is the same at every delivery. Events with one `key` are delivered in their order. `created_at` is in
    milliseconds since the epoch.
    """

    name: str
    organization_id: str
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    key: str = ""
    created_at: int = 0


def ordering_key(data: Mapping[str, Any]) -> str | None:
    """What an event is about: its conversation, else its chatbot, else its user."""
    return next((str(data[name]) for name in ("conversation_id", "chatbot_id", "user_id") if data.get(name)), None)


Listener = Callable[[Event], None]


class Announcer:
    """Tells the listeners of this process about events after their transaction has been committed.

    A listener does not wait and does not fail: it takes note, and leaves work to a task of its own. What must survive
    a crash is no listener's work but a durable consumer's (`server/infra/outbox.py`).
    """

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def on(self, name: str, listener: Listener) -> None:
        """`name` is an event's or `ANY`."""
        self._listeners.setdefault(name, []).append(listener)

    def announce(self, event: Event) -> None:
        for name in (event.name, ANY):
            for listener in self._listeners.get(name, ()):
                listener(event)


class Subscriptions:
    """Which durable consumers are told of which events; every process that writes must know the same ones."""

    def __init__(self) -> None:
        self._wanted: dict[str, frozenset[str]] = {}

    @property
    def consumers(self) -> Collection[str]:
        return self._wanted.keys()

    def add(self, consumer: str, names: Collection[str]) -> None:
        """`names` may hold `ANY`. Raises ValueError when there is a consumer of this name."""
        if consumer in self._wanted:
            raise ValueError(f"there is a consumer {consumer} already")
        self._wanted[consumer] = frozenset(names)

    def of(self, name: str) -> Sequence[str]:
        """The consumers of events with this name."""
        return [consumer for consumer, names in self._wanted.items() if name in names or ANY in names]
