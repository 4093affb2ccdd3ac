"""What others see of a conversation while it goes on."""

from server import wire
from server.live import shown_by


def test_events_say_what_is_shown() -> None:
    assert shown_by(wire.TurnState(id=1, state="hearing"), 5) == {"status": "listening"}
    assert shown_by(wire.Cue(rid=1, t=0, type="emotion", name="joy", amp=1.0, dur=0), 5) == {"emotion": "joy"}
    assert shown_by(wire.Face(rid=1, n=0, t0=24_000, keys=[]), 5) == {"viseme_clock_ms": 1000}
    assert shown_by(wire.Txt(rid=1, i=0, d="Hello"), 5) == {}


def test_an_answer_that_is_cut_is_interrupted() -> None:
    heard = wire.Heard(samples=12_000, chars=3, text="Hel")
    end = wire.RespEnd(rid=1, status="cut", heard=heard, usage=wire.Usage(audio_ms=500), message_id="msg_1")
    assert shown_by(end, 5) == {"status": "interrupted", "barge_in_at": 5, "playback_ms": 500}
