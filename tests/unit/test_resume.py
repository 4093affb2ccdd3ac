"""A session whose socket comes back: what it is sent then, and which token lets it in."""

import asyncio

from pipelines.frames import OUTPUT_RATE
from server import wire
from server.engine import BACKLOG, Backlog
from tests.support.fakes import ScriptedLlm
from tests.support.scene import Scene

STORY = ["One two three four five six seven. "] * 3


def seen(scene: Scene) -> int:
    return max(payload["seq"] for _, name, payload in scene.events if name != "audio")


def test_sound_goes_on_from_what_was_played_after_a_minute_away_in_mid_sentence() -> None:
    back = 0

    async def script(scene: Scene) -> None:
        nonlocal back
        scene.say("tell me")
        await asyncio.sleep(1)
        scene.session.post(wire.Play(rid=1, played=12_000, state="tick"))
        await asyncio.sleep(0)
        scene.session.outgoing.lose(scene)
        await asyncio.sleep(60)
        back = len(scene.events)
        _, recovered = scene.session.outgoing.resume(seen(scene), 1, 12_000)
        assert recovered
        scene.session.outgoing.attach(scene)
        while not scene.of("resp.end"):
            await asyncio.sleep(0.2)
            media = scene.of("audio")[-1]
            end = media.t + len(media.payload) // 2
            state = "done" if wire.Flag.LAST in media.flags else "tick"
            scene.session.post(wire.Play(rid=1, played=end, state=state))

    scene = Scene(llm=ScriptedLlm(STORY), plays=False).play(script)
    again = [media for _, name, media in scene.events[back:] if name == "audio"]
    assert again[0].t <= 12_000 < again[0].t + len(again[0].payload) // 2
    assert wire.Flag.RESENT in again[0].flags
    ends = [media.t + len(media.payload) // 2 for media in again]
    assert [media.t for media in again[1:]] == ends[:-1]
    assert wire.Flag.RESENT not in again[-1].flags
    assert scene.of("resp.end")[0]["status"] == "done"
    assert scene.of("resp.end")[0]["heard"]["samples"] == ends[-1]


def test_an_answer_whose_last_words_were_on_their_way_waits_for_the_client_to_come_back() -> None:
    async def script(scene: Scene) -> None:
        scene.say("tell me")
        await asyncio.sleep(0.5)
        scene.session.post(wire.Play(rid=1, played=1_000, state="tick"))
        await asyncio.sleep(0)
        scene.session.outgoing.lose(scene)
        await asyncio.sleep(60)
        assert not scene.of("resp.end")
        scene.session.outgoing.resume(seen(scene), 1, 1_000)
        scene.session.outgoing.attach(scene)
        await asyncio.sleep(0.2)
        assert wire.Flag.LAST in scene.of("audio")[-1].flags
        scene.session.post(wire.Play(rid=1, played=OUTPUT_RATE, state="done"))
        await asyncio.sleep(1)

    scene = Scene(llm=ScriptedLlm(["Hello there."]), plays=False).play(script)
    assert scene.of("resp.end")[0]["status"] == "done"


def test_half_a_second_of_what_was_played_is_kept_for_a_client_that_lost_its_place() -> None:
    async def script(scene: Scene) -> None:
        scene.say("tell me")
        await asyncio.sleep(1.2)
        scene.session.post(wire.Play(rid=1, played=24_000, state="tick"))
        await asyncio.sleep(0)
        scene.session.outgoing.resume(seen(scene), 1, 14_000)
        scene.session.outgoing.attach(scene)
        start = len(scene.events)
        await asyncio.sleep(0.1)
        first = next(media for _, name, media in scene.events[start:] if name == "audio")
        assert first.t <= 14_000 < first.t + len(first.payload) // 2

    Scene(llm=ScriptedLlm(STORY), plays=False).play(script)


def test_a_token_is_good_until_the_client_has_used_the_next_one_however_often_that_one_is_lost() -> None:
    async def script(scene: Scene) -> None:
        session = scene.session
        first = str(session.ready(120)["token"])
        session.ready(120, used=first)
        latest = str(session.ready(120, used=first)["token"])
        assert session.accepts(first)
        assert session.accepts(latest)
        session.post(wire.Ping(c=1))
        assert not session.accepts(first)
        assert session.accepts(latest)

    Scene().play(script)


def test_the_first_event_ends_the_old_token_even_before_it_is_handled() -> None:
    async def script(scene: Scene) -> None:
        scene.session.post(wire.Config())
        first = str(scene.session.ready(120)["token"])
        latest = str(scene.session.ready(120, used=first)["token"])
        await asyncio.sleep(1)
        assert scene.session.accepts(first)
        assert scene.session.latest(latest)

    Scene().play(script)


class Packet:
    def __init__(self, data: bytes) -> None:
        self.data = data


async def test_a_socket_is_full_until_its_peer_has_read_and_then_says_so() -> None:
    told: list[None] = []
    backlog = Backlog()
    backlog.put_nowait(Packet(bytes(BACKLOG - 1)))
    assert not backlog.crowded(lambda: told.append(None))
    backlog.put_nowait(Packet(bytes(10)))
    assert backlog.crowded(lambda: told.append(None))
    backlog.get_nowait()
    assert len(told) == 1
    assert not backlog.crowded(lambda: told.append(None))
    backlog.put_nowait(None)


def test_what_a_full_socket_does_not_take_waits_and_is_sent_when_it_does() -> None:
    async def script(scene: Scene) -> None:
        tells = []
        scene.full = lambda tell: tells.append(tell) or True  # type: ignore[method-assign,func-returns-value]
        scene.say("tell me")
        await asyncio.sleep(1)
        assert scene.events == []
        scene.full = lambda tell: False  # type: ignore[method-assign]
        tells[-1]()
        await asyncio.sleep(0)
        assert scene.of("resp.start")

    Scene(plays=False).play(script)
