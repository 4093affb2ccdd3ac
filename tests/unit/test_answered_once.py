"""A message that is sent again is answered when no answer to it is kept or being given, and never twice."""

import asyncio

from tests.support.fakes import Kept, MemoryJournal, ScriptedLlm
from tests.support.scene import Scene

ASKED = Kept("conv_1", "user", "Are you there?", "msg_u0", "c1")
ANSWER = Kept("conv_1", "assistant", "Yes.", "msg_a0")


async def ask_again(scene: Scene) -> None:
    scene.say("Are you there?")
    await asyncio.sleep(5)


def test_a_message_that_was_kept_just_before_a_crash_is_answered_when_it_comes_again() -> None:
    scene = Scene(journal=MemoryJournal([ASKED])).play(ask_again)
    assert [ack["message_id"] for ack in scene.acks] == ["msg_u0"]
    assert [end["status"] for end in scene.of("resp.end")] == ["done"]
    assert [kept.role for kept in scene.journal.kept] == ["user", "assistant"]


def test_the_model_reads_such_a_message_once() -> None:
    scene = Scene(journal=MemoryJournal([ASKED])).play(ask_again)
    assert [message.content for message in scene.llm.chats[-1]].count("Are you there?") == 1


def test_a_message_whose_answer_is_kept_is_acknowledged_and_not_answered_again() -> None:
    scene = Scene(journal=MemoryJournal([ASKED, ANSWER])).play(ask_again)
    assert [ack["message_id"] for ack in scene.acks] == ["msg_u0"]
    assert not scene.of("resp.start")


def test_a_message_that_another_session_is_answering_is_not_answered_here() -> None:
    async def script(scene: Scene) -> None:
        scene.parts.answering.add("msg_u0")
        await ask_again(scene)

    scene = Scene(journal=MemoryJournal([ASKED])).play(script)
    assert [ack["message_id"] for ack in scene.acks] == ["msg_u0"]
    assert not scene.of("resp.start")


def test_a_message_counts_as_being_answered_until_the_answer_is_kept() -> None:
    async def script(scene: Scene) -> None:
        scene.say("Are you there?")
        await asyncio.sleep(0.2)
        assert scene.parts.answering == {"msg_u0"}
        await asyncio.sleep(5)
        assert scene.parts.answering == set()

    Scene().play(script)


def test_an_answer_that_is_cut_counts_until_what_was_heard_is_kept() -> None:
    async def script(scene: Scene) -> None:
        scene.say("Are you there?")
        await asyncio.sleep(0.5)
        scene.say("Hello?", id="c2", interrupt=True)
        await asyncio.sleep(0.01)
        assert "msg_u0" in scene.parts.answering
        assert not [kept for kept in scene.journal.kept if kept.role == "assistant"]
        await asyncio.sleep(6)
        assert scene.parts.answering == set()

    Scene(plays=False).play(script)


def test_an_answer_that_was_given_up_before_it_was_shown_counts_no_more() -> None:
    async def script(scene: Scene) -> None:
        scene.say("Are you there?")
        await asyncio.sleep(0.1)
        assert scene.parts.answering == {"msg_u0"}
        scene.session.leave()
        await asyncio.sleep(0.1)
        assert scene.parts.answering == set()

    Scene(llm=ScriptedLlm(first=3.0)).play(script)
