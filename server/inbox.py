"""What can happen to a session: the items of its one inbox, and what all sessions of a server share."""

from dataclasses import dataclass, field

from pydantic import BaseModel

from pipelines.core.endpoint import EndpointRules, Heard
from pipelines.engine import Engine
from pipelines.providers.base import Vad
from server.ear import Deaf
from server.hearing import Partial, Recognised
from server.live import Watch, nobody
from server.replies import Ack, Ended, Shown
from server.telemetry import Metrics


class SessionBusy(Exception):
    """The inbox is full: the client sends faster than a conversation can go."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every session of a server shares."""

    engine: Engine
    vad: Vad
    rules: EndpointRules
    metrics: Metrics
    watch: Watch = nobody
    answering: set[str] = field(default_factory=set)
    """Messages that some session is answering now."""


@dataclass(frozen=True, slots=True)
class Received:
    """A client event, and how to acknowledge it when it asked for that."""

    event: BaseModel
    ack: Ack | None = None


@dataclass(frozen=True, slots=True)
class Noticed:
    """What the ear noticed, with the utterance's audio up to then when it may be over."""

    heard: Heard
    pcm: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Leave:
    """The conversation is over: keep what there is to keep, and go."""


Item = Received | Noticed | Partial | Recognised | Shown | Ended | Deaf | Leave
