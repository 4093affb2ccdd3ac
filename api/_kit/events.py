"""Domain events: what happened, as values that are written with the change that they report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """`name` is a noun and a past participle, such as `chatbot.created`; `data` is JSON."""

    name: str
    organization_id: str
    data: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


class Announcer:
    """Tells the listeners of this process about events after their transaction has been committed.

    A listener does not wait and does not fail: it takes note, and leaves work to a task of its own.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def on(self, name: str, listener: Listener) -> None:
        self._listeners.setdefault(name, []).append(listener)

    def announce(self, event: Event) -> None:
        for listener in self._listeners.get(event.name, ()):
            listener(event)
