"""What others see of a conversation while it goes on."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.frames import OUTPUT_RATE
from pipelines.ports import Conversation
from server import wire
from server.live import shown_by, watching
from tests.support.scene import Scene
from tests.support.virtual_time import VirtualClock


def test_events_say_what_is_shown() -> None:
    assert shown_by(wire.TurnState(id=1, state="hearing"), 5) == {"status": "listening"}
    assert shown_by(wire.Cue(rid=1, t=0, type="emotion", name="joy", amp=1.0, dur=0), 5) == {"emotion": "joy"}
    assert shown_by(wire.Face(rid=1, n=0, t0=24_000, keys=[]), 5) == {"viseme_clock_ms": 1000}
    assert shown_by(wire.Txt(rid=1, i=0, d="Hello"), 5) == {}


def test_an_answer_that_is_cut_is_interrupted() -> None:
    heard = wire.Heard(samples=12_000, chars=3, text="Hel")
    end = wire.RespEnd(rid=1, status="cut", heard=heard, usage=wire.Usage(audio_ms=500), message_id="msg_1")
    assert shown_by(end, 5) == {"status": "interrupted", "barge_in_at": 5, "playback_ms": 500}


@dataclass
class Shown:
    """Takes down what is shown."""

    statuses: list[str] = field(default_factory=list)
    bodies: dict[str, str] = field(default_factory=dict)

    def show(self, conversation: Conversation, shown: Mapping[str, Any]) -> None:
        assert conversation.id == "conv_1"
        if status := shown.get("status"):
            self.statuses.append(status)
        self.bodies |= {name: value for name, value in shown.items() if name != "status"}

    async def find(self, conversation_id: str) -> None:
        raise NotImplementedError


async def typed(scene: Scene) -> None:
    scene.say("why?")
    await asyncio.sleep(30)


def test_a_session_shows_what_its_client_is_told() -> None:
    shown = Shown()
    scene = Scene(watch=watching(shown, VirtualClock())).play(typed)
    assert shown.statuses == ["thinking", "speaking", "idle"]
    assert shown.bodies["playback_ms"] == scene.of("resp.end")[0]["usage"]["audio_ms"]
    assert shown.bodies["viseme_clock_ms"] == scene.of("face")[-1]["t0"] * 1000 // OUTPUT_RATE


def test_a_session_that_lost_its_client_is_still_shown() -> None:
    async def away(scene: Scene) -> None:
        scene.session.outgoing.lose(scene)
        await typed(scene)

    shown = Shown()
    scene = Scene(watch=watching(shown, VirtualClock())).play(away)
    assert scene.of("resp.start") == []
    assert shown.statuses[:2] == ["thinking", "speaking"]
