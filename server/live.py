"""What a conversation shows, read off the events that its client is sent."""

from collections.abc import Callable
from typing import Any, Final

from api._kit.ports import LiveStates
from api._kit.values import milliseconds
from pipelines.frames import OUTPUT_RATE
from pipelines.ports import Clock, Conversation
from server import wire

Watch = Callable[[Conversation, wire.ServerEvent], None]
_STATUS: Final = {
    "listening": "idle",
    "hearing": "listening",
    "endpoint": "listening",
    "thinking": "thinking",
    "speaking": "speaking",
    "paused": "idle",
}
_BODY: Final = frozenset({"emotion", "gesture", "gaze"})


def nobody(conversation: Conversation, event: wire.ServerEvent) -> None:
    """Watches nothing."""


def watching(live: LiveStates, clock: Clock) -> Watch:
    """Shows to others what a client is told."""

    def watch(conversation: Conversation, event: wire.ServerEvent) -> None:
        if shown := shown_by(event, milliseconds(clock.now())):
            live.show(conversation, shown)

    return watch


def shown_by(event: wire.ServerEvent, now: int) -> dict[str, Any]:
    """What changes with the event, at `now` in milliseconds; empty for most of them."""
    match event:
        case wire.TurnState():
            return {"status": _STATUS[event.state]}
        case wire.Vad(state="start" | "end"):
            return {"vad": event.state == "start"}
        case wire.Cue() if event.type in _BODY:
            return {event.type: event.name}
        case wire.Face():
            return {"viseme_clock_ms": event.t0 * 1000 // OUTPUT_RATE}
        case wire.RespEnd(status="cut"):
            heard = event.heard.samples * 1000 // OUTPUT_RATE
            return {"status": "interrupted", "barge_in_at": now, "playback_ms": heard}
        case wire.RespEnd():
            return {"playback_ms": event.heard.samples * 1000 // OUTPUT_RATE}
        case _:
            return {}
