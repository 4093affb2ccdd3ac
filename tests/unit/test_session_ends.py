"""How a session ends, and what a page that changes in mid-reply gets."""

import asyncio
from dataclasses import replace

from server import wire
from server.session import INBOX
from tests.support.fakes import MemoryJournal, ScriptedLlm, ToneTts
from tests.support.scene import Scene

TEXT_ONLY = wire.Caps.model_validate({"in": [], "out": [], "face": []})


async def left(scene: Scene) -> None:
    """The session is over by itself."""
    await asyncio.sleep(10)
    assert not scene.session._alive


def flood(scene: Scene) -> None:
    for _ in range(INBOX - scene.session._inbox.qsize()):
        scene.session.post(wire.Config())


def test_a_session_leaves_although_its_inbox_is_full() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.1)
        flood(scene)
        scene.session.leave()
        await left(scene)

    Scene().play(script)


def test_a_session_that_waits_for_room_in_its_own_inbox_can_be_left() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.1)

        async def waits(_: object) -> None:
            await asyncio.Event().wait()

        scene.session._handle = waits  # type: ignore[method-assign]
        scene.session.post(wire.Config())
        scene.session.leave()
        await left(scene)

    Scene().play(script)


def test_a_reply_that_ends_while_nobody_reads_the_inbox_does_not_hold_the_session() -> None:
    async def script(scene: Scene) -> None:
        life = asyncio.create_task(scene.session.run())
        scene.say("why?")
        await asyncio.sleep(0.9)
        scene.session.leave()
        await asyncio.sleep(0.01)
        flood(scene)
        async with asyncio.timeout(20):
            await life

    class Once(Scene):
        async def _played(self, script: object) -> None:
            await script(self)  # type: ignore[operator]

    Once(caps=TEXT_ONLY, journal=MemoryJournal(delay=0.6), llm=ScriptedLlm(["Well."], delay=0)).play(script)


def test_a_page_that_becomes_text_only_in_mid_reply_gets_no_more_sound_and_all_the_text() -> None:
    async def script(scene: Scene) -> None:
        scene.say("why?")
        await asyncio.sleep(1)
        assert scene.of("audio")
        scene.session.suit(TEXT_ONLY)
        scene.changed = scene.clock.monotonic()  # type: ignore[attr-defined]
        await asyncio.sleep(20)

    scene = Scene(llm=ScriptedLlm(["One. "] * 12, delay=0.1), tts=ToneTts(ms=900)).play(script)
    late = [n for at, n, _ in scene.events if at > scene.changed and n in ("audio", "seg", "face")]  # type: ignore[attr-defined]
    assert late == []
    end = scene.of("resp.end")[0]
    assert (end["status"], end["heard"]["text"]) == ("done", "One. " * 12)
    assert scene.journal.kept[-1].heard is None


def test_a_session_knows_that_its_conversation_is_kept() -> None:
    async def script(scene: Scene) -> None:
        assert not scene.session.conversation.kept
        scene.say("Hello")
        await asyncio.sleep(1)

    scene = Scene(caps=TEXT_ONLY).play(script)
    assert scene.session.conversation == replace(scene.session.conversation, id="conv_1", kept=True)
