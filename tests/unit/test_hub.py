"""How long the hub keeps a session whose socket is gone, and what it gives to the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from api._kit.auth import Principal
from pipelines.ports import Bot
from pipelines.providers.base import Vad
from server import wire
from server.hub import SWEEP, TTL, Hub
from server.session import SETTLE, Session
from tests.support.fakes import BOT, LoudnessVad, ScriptedLlm, silence
from tests.support.scene import Scene
from tests.support.virtual_time import run

VISITOR = Principal("visitor", "user_1", BOT.organization_id, "tok_1", 2_000_000_000, chatbot_id=BOT.id)
STORY = ["And then they went on. "] * 40


class OneBot:
    def __init__(self, bot: Bot = BOT) -> None:
        self.bot = bot

    async def find(self, chatbot_id: str, *, draft: bool = False) -> Bot:
        return self.bot


def caps(*out: str) -> wire.Caps:
    return wire.Caps.model_validate({"out": out, "face": ["oculus15"]})


def hello(*out: str, session: Session | None = None, token: str = "") -> wire.Hello:
    resume = wire.Resume(sid=session.id, token=token, last_seq=session.outgoing.last_seq) if session else None
    return wire.Hello(chatbot_id=BOT.id, caps=caps(*out), resume=resume)


def in_hub(script: Callable[[Hub, Scene], Awaitable[None]], *, vad: Vad | None = None) -> None:
    async def main() -> None:
        scene = Scene(llm=ScriptedLlm(STORY), vad=vad or LoudnessVad(), plays=False)  # type: ignore[arg-type]
        async with Hub(scene.parts, OneBot(), scene.journal, max_sessions=1) as hub:  # type: ignore[arg-type]
            await script(hub, scene)

    run(main())


def test_whatever_waits_for_a_client_that_stays_away_is_dropped_with_its_session() -> None:
    async def script(hub: Hub, scene: Scene) -> None:
        session, ready = await hub.open(VISITOR, hello("pcm16"))
        await hub.join(session, scene, str(ready["token"]))
        session.post(wire.Say(id="c1", text="Tell me a story"))
        await asyncio.sleep(1)
        hub.leave(session, scene)
        await asyncio.sleep(TTL - 1)
        assert hub.count == 1
        await asyncio.sleep(1 + SWEEP + SETTLE)
        assert hub.count == 0

    in_hub(script)


def test_a_socket_that_said_hello_and_never_joined_does_not_keep_a_session() -> None:
    async def script(hub: Hub, scene: Scene) -> None:
        await hub.open(VISITOR, hello("pcm16"))
        await asyncio.sleep(TTL + SWEEP + SETTLE)
        assert hub.count == 0

    in_hub(script)


def test_who_comes_back_with_another_page_gets_what_that_page_can_use() -> None:
    async def script(hub: Hub, scene: Scene) -> None:
        session, first = await hub.open(VISITOR, hello())
        assert first["out"]["format"] == "none"  # type: ignore[index]
        again, ready = await hub.open(VISITOR, hello("pcm16", session=session, token=str(first["token"])))
        assert again is session
        assert ready["out"]["format"] == "pcm16"  # type: ignore[index]
        assert ready["face"]["set"] == "oculus15"  # type: ignore[index]
        await hub.join(session, scene, str(ready["token"]))
        session.post(wire.Say(id="c1", text="Hello"))
        await asyncio.sleep(1)
        assert scene.of("audio")
        assert scene.of("face")

    in_hub(script)


def test_frames_that_still_wait_for_the_detector_need_not_be_sent_again() -> None:
    async def script(hub: Hub, scene: Scene) -> None:
        session, ready = await hub.open(VISITOR, hello("pcm16"))
        await hub.join(session, scene, str(ready["token"]))
        scene.session = session
        await scene.speak(silence(1.0))
        resumed = await hub.open(VISITOR, hello("pcm16", session=session, token=str(ready["token"])))
        assert resumed[1]["mic_next"] == 16_000

    in_hub(script, vad=LoudnessVad(delay=0.1))


def test_a_microphone_at_another_rate_is_counted_at_the_servers() -> None:
    async def script(hub: Hub, scene: Scene) -> None:
        session, ready = await hub.open(VISITOR, hello("pcm16"))
        await hub.join(session, scene, str(ready["token"]))
        scene.session = session
        await scene.speak(bytes(2 * 48_000), rate=48_000)
        resumed = await hub.open(VISITOR, hello("pcm16", session=session, token=str(ready["token"])))
        assert resumed[1]["mic_next"] == 16_000

    in_hub(script)


def test_what_is_said_after_the_end_begins_another_conversation() -> None:
    async def script(hub: Hub, scene: Scene) -> None:
        session, ready = await hub.open(VISITOR, hello())
        await hub.join(session, scene, str(ready["token"]))
        session.post(wire.Say(id="c1", text="Hello"))
        await asyncio.sleep(5)
        before = session.conversation.id
        scene.journal.ended.add(before)
        session.post(wire.Say(id="c2", text="Hello again"))
        await asyncio.sleep(5)
        talks = [(kept.conversation_id == before, kept.role) for kept in scene.journal.kept]
        assert talks == [(True, "user"), (True, "assistant"), (False, "user"), (False, "assistant")]
        assert session.conversation.id == scene.journal.kept[-1].conversation_id

    in_hub(script)


def test_a_call_takes_as_long_as_sockets_are_attached_to_it() -> None:
    async def main() -> None:
        scene = Scene(llm=ScriptedLlm(STORY), vad=LoudnessVad(), plays=False)
        voice = replace(BOT, type="voice")
        async with Hub(scene.parts, OneBot(voice), scene.journal, max_sessions=1) as hub:  # type: ignore[arg-type]
            session, ready = await hub.open(VISITOR, hello("pcm16"))
            await asyncio.sleep(3)
            await hub.join(session, scene, str(ready["token"]))
            await asyncio.sleep(10)
            hub.leave(session, scene)
            await asyncio.sleep(60)
            session, ready = await hub.open(VISITOR, hello("pcm16", session=session, token=str(ready["token"])))
            await hub.join(session, scene, str(ready["token"]))
            await asyncio.sleep(5)
            await hub.hang_up("conv_other")
            assert hub.count == 1
            await hub.hang_up(session.conversation.id)
            assert hub.count == 0
        assert scene.journal.connected_ms == 15_000

    run(main())
