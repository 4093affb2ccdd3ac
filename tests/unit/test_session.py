"""A conversation, from the client's side of the wire."""

import asyncio
from dataclasses import replace

import pytest

from pipelines.frames import OUTPUT_RATE
from pipelines.providers.base import ProviderError
from server import wire
from tests.support.fakes import (
    BOT,
    LoudnessVad,
    MemoryJournal,
    ScriptedLlm,
    ScriptedStt,
    ToneTts,
    silence,
    speech,
)
from tests.support.scene import Scene

TEXT_ONLY = wire.Caps.model_validate({"in": [], "out": [], "face": []})
DOWN = ProviderError("boom", retryable=True, public="It is down.")


async def typed(scene: Scene) -> None:
    scene.say("why?")
    await asyncio.sleep(30)


async def spoken(scene: Scene) -> None:
    await scene.speak(speech(1.0) + silence(1.0))
    await asyncio.sleep(30)


def test_a_typed_question_is_acknowledged_after_its_commit_and_answered() -> None:
    scene = Scene(journal=MemoryJournal(delay=0.5), caps=TEXT_ONLY).play(typed)
    assert scene.acks == [{"ok": True, "id": "c1", "message_id": "msg_u0"}]
    assert scene.at("txt") >= 0.5
    assert "".join(txt["d"] for txt in scene.of("txt")) == "Well, that is a fine question. Here is the answer."
    assert [(kept.role, kept.text) for kept in scene.journal.kept] == [
        ("user", "why?"),
        ("assistant", "Well, that is a fine question. Here is the answer."),
    ]
    assert scene.of("resp.end")[0]["status"] == "done"


def test_the_numbers_of_the_events_have_no_gap() -> None:
    scene = Scene().play(spoken)
    seqs = [payload["seq"] for _, name, payload in scene.events if name != "audio"]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_spoken_question_is_transcribed_and_answered_with_voice_and_face() -> None:
    scene = Scene(stt=ScriptedStt("what is your name")).play(spoken)
    assert scene.of("stt.final")[0]["text"] == "what is your name"
    names = scene.names()
    order = ["vad", "stt.final", "resp.start", "txt", "seg", "face", "audio", "resp.end"]
    assert [names.index(name) for name in order] == sorted(names.index(name) for name in order)
    states = [turn["state"] for turn in scene.of("turn")]
    assert states == ["hearing", "endpoint", "thinking", "speaking", "listening"]
    assert scene.journal.kept[0].text == "what is your name"


def test_segments_lie_end_to_end_and_their_length_is_that_of_the_audio() -> None:
    scene = Scene().play(typed)
    at = 0
    for seg in scene.of("seg"):
        assert seg["t0"] == at
        at += seg["len"]
    audio = scene.of("audio")
    assert sum(len(media.payload) // 2 for media in audio) == at
    assert audio[0].flags & wire.Flag.FIRST
    assert audio[-1].flags & wire.Flag.LAST
    assert [media.t for media in audio] == sorted(media.t for media in audio)


def test_the_face_of_a_segment_comes_before_its_audio() -> None:
    scene = Scene().play(typed)
    shown = 0
    for _, name, payload in scene.events:
        if name == "face":
            shown = payload["t0"] + 1
        if name == "audio" and payload.payload:
            assert shown > 0
            assert payload.t + 1 >= shown - 1


def test_the_first_audio_comes_with_the_first_clause_not_with_the_whole_reply() -> None:
    words = [f"word{n} " for n in range(40)]
    scene = Scene(llm=ScriptedLlm(words, delay=0.05)).play(typed)
    assert scene.at("audio") < 0.05 * 10 + 0.1 + 0.05


def test_never_more_than_two_seconds_of_unheard_audio_are_sent() -> None:
    scene = Scene(llm=ScriptedLlm(["A long sentence that goes on and on without an end in sight. "] * 8)).play(typed)
    first = scene.at("audio")
    for at, name, media in scene.events:
        if name == "audio":
            assert (media.t + len(media.payload) // 2) / OUTPUT_RATE <= at - first + 2.0 + 0.11


def test_the_user_who_speaks_over_the_answer_stops_it_at_once() -> None:
    async def script(scene: Scene) -> None:
        scene.say("tell me everything")
        await asyncio.sleep(1.5)
        await scene.speak(speech(0.6) + silence(0.8))
        await asyncio.sleep(30)

    scene = Scene(llm=ScriptedLlm(["One two three four five six seven. "] * 5)).play(script)
    cut = scene.at("cut")
    assert scene.of("cut")[0] == {**scene.of("cut")[0], "rid": 1, "reason": "voice"}
    assert 1.5 < cut <= 1.5 + 0.25
    assert all(at <= cut for at, name, media in scene.events if name == "audio" and media.rid == 1)
    assert [kept.role for kept in scene.journal.kept] == ["user", "assistant", "user", "assistant"]


def test_history_keeps_what_was_heard_of_an_interrupted_answer() -> None:
    async def script(scene: Scene) -> None:
        scene.say("tell me everything")
        await asyncio.sleep(1.5)
        scene.session.post(wire.Stop())
        scene.session.post(wire.Play(rid=1, played=OUTPUT_RATE // 2, state="stop"))
        await asyncio.sleep(1)

    llm = ScriptedLlm(["One two three four five six seven. "] * 3)
    scene = Scene(llm=llm, tts=ToneTts(ms=50), plays=False).play(script)
    end = scene.of("resp.end")[0]
    assert end["status"] == "cut"
    assert end["heard"]["text"] == "One two"
    assert scene.journal.kept[1].heard == "One two"
    assert scene.journal.kept[1].finish_reason == "cancelled"


def test_a_new_message_supersedes_the_answer_and_the_model_sees_only_what_was_heard() -> None:
    async def script(scene: Scene) -> None:
        scene.say("first")
        await asyncio.sleep(1.0)
        scene.say("second", id="c2")
        await asyncio.sleep(0.05)
        scene.session.post(wire.Play(rid=1, played=0, state="stop"))
        await asyncio.sleep(30)

    scene = Scene(plays=False).play(script)
    assert [cut["reason"] for cut in scene.of("cut")] == ["typing"]
    assert [message.content for message in scene.llm.chats[1][1:]] == ["first", "second"]
    assert scene.llm.closed == 2


def test_a_message_that_does_not_interrupt_waits_for_the_answer_to_end() -> None:
    async def script(scene: Scene) -> None:
        scene.say("first")
        await asyncio.sleep(0.5)
        scene.say("second", id="c2", interrupt=False)
        await asyncio.sleep(60)

    scene = Scene().play(script)
    assert scene.of("cut") == []
    assert [end["rid"] for end in scene.of("resp.end")] == [1, 2]


def test_a_message_that_waits_and_is_sent_again_is_answered_once_and_acknowledged_to_both() -> None:
    async def script(scene: Scene) -> None:
        scene.say("first")
        await asyncio.sleep(0.5)
        for _ in range(2):
            scene.say("second", id="c2", interrupt=False)
        await asyncio.sleep(60)

    scene = Scene().play(script)
    assert [ack["id"] for ack in scene.acks] == ["c1", "c2", "c2"]
    assert [end["rid"] for end in scene.of("resp.end")] == [1, 2]


def test_a_message_that_waits_is_answered_when_the_answer_before_it_is_stopped() -> None:
    async def script(scene: Scene) -> None:
        scene.say("first")
        await asyncio.sleep(0.5)
        scene.say("second", id="c2", interrupt=False)
        scene.session.post(wire.Stop())
        await asyncio.sleep(60)

    scene = Scene().play(script)
    assert [end["status"] for end in scene.of("resp.end")] == ["cut", "done"]
    assert scene.acks[-1]["id"] == "c2"


def test_a_message_whose_keeping_was_broken_off_is_new_when_it_comes_again() -> None:
    async def script(scene: Scene) -> None:
        scene.say("why?")
        await asyncio.sleep(0.1)
        next(task for task in asyncio.all_tasks() if task.get_name() == "record").cancel()
        await asyncio.sleep(1)
        assert scene.acks == []
        scene.say("why?")
        await asyncio.sleep(30)

    scene = Scene(journal=MemoryJournal(delay=0.5)).play(script)
    assert [ack["id"] for ack in scene.acks] == ["c1"]
    assert [end["status"] for end in scene.of("resp.end")] == ["done"]


def test_the_same_message_twice_is_answered_once_with_the_same_acknowledgement() -> None:
    async def script(scene: Scene) -> None:
        scene.say("why?")
        await asyncio.sleep(1)
        scene.say("why?")
        await asyncio.sleep(30)

    scene = Scene().play(script)
    assert scene.acks[0] == scene.acks[1]
    assert len(scene.of("resp.start")) == 1


def test_a_message_that_cannot_be_kept_is_not_acknowledged_and_not_answered() -> None:
    scene = Scene(journal=MemoryJournal(broken=True)).play(typed)
    assert scene.acks == []
    assert scene.of("resp.start") == []
    assert scene.of("err")[0]["code"] == "SERVICE_UNAVAILABLE"
    assert scene.of("err")[0]["ref"] == "c1"
    assert scene.of("turn")[-1]["state"] == "listening"


def test_noise_without_words_is_said_to_be_so_and_nothing_is_answered() -> None:
    scene = Scene(stt=ScriptedStt("")).play(spoken)
    assert scene.of("warn")[0]["code"] == "NO_SPEECH"
    assert scene.of("resp.start") == []
    assert scene.of("turn")[-1]["state"] == "listening"


def test_silence_makes_no_turn() -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(silence(3.0))

    assert Scene().play(script).names() == []


def test_a_short_pause_inside_the_sentence_does_not_end_the_turn() -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(speech(0.6) + silence(0.13) + speech(0.6) + silence(0.6))
        await asyncio.sleep(10)

    scene = Scene().play(script)
    assert len(scene.of("stt.final")) == 1
    assert max(len(pcm) for pcm in scene.stt.heard) >= len(speech(1.3))


def test_the_transcript_is_begun_at_the_pause_so_that_it_is_ready_at_the_end_of_the_turn() -> None:
    scene = Scene(stt=ScriptedStt(delay=0.1)).play(spoken)
    end = next(at for at, name, payload in scene.events if name == "vad" and payload["state"] == "end")
    assert scene.at("stt.final") - end < 0.01


def test_partial_transcripts_are_shown_while_the_user_speaks() -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(speech(2.6) + silence(0.6))
        await asyncio.sleep(10)

    scene = Scene(stt=ScriptedStt("I want", "I want to know", "I want to know the time")).play(script)
    parts = scene.of("stt.part")
    assert [part["text"] for part in parts[:2]] == ["I want", "I want to know"]
    assert parts[1]["stable"] == len("I want")


def test_a_broken_model_apologises_says_so_and_the_next_turn_works() -> None:
    async def script(scene: Scene) -> None:
        scene.say("why?")
        await asyncio.sleep(30)
        scene.llm.failure, scene.llm.words = None, ["Because."]
        scene.say("why?", id="c2")
        await asyncio.sleep(30)

    scene = Scene(llm=ScriptedLlm([], failure=DOWN)).play(script)
    assert scene.of("txt")[0]["d"].startswith("Sorry")
    assert scene.of("err")[0] == {**scene.of("err")[0], "code": "UPSTREAM_ERROR", "rid": 1}
    assert [end["status"] for end in scene.of("resp.end")] == ["error", "done"]


def test_a_model_that_says_nothing_for_five_seconds_is_given_up() -> None:
    scene = Scene(llm=ScriptedLlm(first=60.0), caps=TEXT_ONLY).play(typed)
    assert 5.0 <= scene.at("txt") < 5.1
    assert scene.llm.closed == 1


def test_a_broken_voice_leaves_the_text() -> None:
    scene = Scene(tts=ToneTts(failure=DOWN)).play(typed)
    assert scene.of("audio") == []
    assert "".join(txt["d"] for txt in scene.of("txt")).endswith("the answer.")
    assert scene.of("state")[0]["tts"] == "unavailable"
    assert scene.of("resp.end")[0]["status"] == "done"


def test_a_broken_recogniser_ends_the_turn_with_an_error() -> None:
    scene = Scene(stt=ScriptedStt(failure=DOWN)).play(spoken)
    assert scene.of("err")[0]["message"] == "It is down."
    assert scene.of("turn")[-1]["state"] == "listening"


def test_a_broken_voice_detector_is_told_once_and_typing_still_works() -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(speech(0.5))
        scene.say("why?")
        await asyncio.sleep(30)

    scene = Scene(vad=LoudnessVad(failure=DOWN)).play(script)
    assert len(scene.of("err")) == 1
    assert scene.of("resp.end")[0]["status"] == "done"


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
def test_any_usual_microphone_rate_is_heard(rate: int) -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(b"\x10\x10" * rate + bytes(2 * rate), rate=rate)
        await asyncio.sleep(30)

    scene = Scene().play(script)
    assert scene.of("stt.final")
    assert abs(len(scene.stt.heard[-1]) / 2 / 16_000 - 1.1) < 0.4


def test_an_unsupported_rate_is_refused_with_its_name() -> None:
    async def script(scene: Scene) -> None:
        with pytest.raises(ValueError, match="2000"):
            scene.session.media(wire.Media(wire.Kind.MIC_PCM16, 0, 0, 2_000, 0, bytes(64)))

    Scene().play(script)


def test_a_greeting_is_spoken_when_asked_for_and_not_journalled() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(30)

    scene = Scene(bot=replace(BOT, greeting="Hello, I am Ava."), greet=True).play(script)
    assert scene.of("resp.start")[0]["kind"] == "greeting"
    assert scene.of("seg")[0]["text"].startswith("Hello")
    assert scene.journal.kept == []


def test_a_language_that_no_model_speaks_is_warned_of() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.1)

    scene = Scene(bot=replace(BOT, language="sw-KE")).play(script)
    assert {warn["code"] for warn in scene.of("warn")} == {"LANGUAGE_NOT_SPOKEN"}


def test_a_client_that_never_acknowledges_is_cut_at_its_budget() -> None:
    async def script(scene: Scene) -> None:
        async def deaf(name: str, payload: object) -> None:
            scene.events.append((0.0, name, payload))

        scene.emit = deaf  # type: ignore[method-assign]
        for n in range(60):
            scene.say("x" * 100, id=f"c{n}")
            await asyncio.sleep(1)

    scene = Scene(llm=ScriptedLlm(["y" * 100_000]), caps=TEXT_ONLY)
    scene.play(script)
    assert scene.closed == ["slow"]


def test_two_hundred_interruptions_leave_nothing_behind() -> None:
    async def script(scene: Scene) -> None:
        for n in range(200):
            scene.say("q", id=f"c{n}")
            await asyncio.sleep(0.011 * (n % 70))
            scene.session.post(wire.Play(rid=n + 1, played=0, state="stop"))
        await asyncio.sleep(60)

    scene = Scene(llm=ScriptedLlm(delay=0.05), plays=False)
    scene.play(script)
    rids = [media.rid for media in scene.of("audio")]
    assert rids == sorted(rids)
    assert scene.llm.opened == scene.llm.closed > 190
    assert scene.tts.opened == scene.tts.closed
    assert len(scene.acks) == 200


def test_no_event_names_a_reply_after_it_has_ended() -> None:
    async def script(scene: Scene) -> None:
        for n in range(20):
            scene.say("q", id=f"c{n}")
            await asyncio.sleep(0.3)
        await asyncio.sleep(30)

    scene = Scene(llm=ScriptedLlm(delay=0.03)).play(script)
    ended: set[int] = set()
    for _, name, payload in scene.events:
        rid = payload.rid if name == "audio" else payload.get("rid")
        assert rid not in ended
        if name == "resp.end":
            ended.add(rid)


def test_a_long_clause_does_not_stop_the_conversation() -> None:
    sentence = "This one is a sentence of many words that takes its time until it comes to the end of it"
    llm = ScriptedLlm(["Yes. ", f"{sentence}. ", f"{sentence}. "])
    scene = Scene(llm=llm, tts=ToneTts(ms=90)).play(typed)
    assert max(seg["len"] for seg in scene.of("seg")) > 5.5 * OUTPUT_RATE
    assert scene.of("resp.end")[0]["status"] == "done"


def test_typing_while_a_finished_reply_is_being_kept_keeps_it_once_and_whole() -> None:
    async def script(scene: Scene) -> None:
        scene.say("first")
        await asyncio.sleep(0.3)
        assert scene.of("lat")
        assert not scene.of("resp.end")
        scene.say("second", id="c2")
        await asyncio.sleep(10)

    scene = Scene(caps=TEXT_ONLY, journal=MemoryJournal(delay=0.2)).play(script)
    assert [kept.role for kept in scene.journal.kept] == ["user", "assistant", "user", "assistant"]
    assert [kept.finish_reason for kept in scene.journal.kept if kept.role == "assistant"] == ["stop", "stop"]
    assert [message.content for message in scene.llm.chats[1][-2:]] == [scene.journal.kept[1].text, "second"]


def test_leaving_in_mid_answer_keeps_what_was_heard() -> None:
    async def script(scene: Scene) -> None:
        scene.say("tell me")
        await asyncio.sleep(2.0)
        scene.session.leave()
        await asyncio.sleep(3)

    scene = Scene(llm=ScriptedLlm(["One two three four five six seven. "] * 4)).play(script)
    assert scene.journal.kept[-1].role == "assistant"
    assert scene.journal.kept[-1].finish_reason == "cancelled"
    assert scene.journal.kept[-1].heard


def test_a_microphone_that_goes_away_in_mid_word_ends_the_utterance() -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(speech(1.0))
        await asyncio.sleep(30)

    scene = Scene(stt=ScriptedStt("hello")).play(script)
    assert scene.of("stt.final")[0]["text"] == "hello"
    assert len(scene.stt.heard) < 6
    assert scene.of("turn")[-1]["state"] == "listening"


def test_a_detector_that_fails_in_mid_word_gives_the_floor_back_and_tells_when_it_works_again() -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(speech(0.4))
        scene.vad.failure = DOWN
        await scene.speak(speech(0.4))
        await asyncio.sleep(1)
        assert scene.of("turn")[-1]["state"] == "listening"
        scene.vad.failure = None
        await scene.speak(silence(0.5) + speech(0.5) + silence(0.6))
        await asyncio.sleep(20)

    scene = Scene().play(script)
    assert [state["stt"] for state in scene.of("state")] == ["unavailable", "ok"]
    assert scene.of("resp.end")


def test_somebody_who_does_not_stop_talking_is_answered_at_the_cap() -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(speech(33.0))
        await asyncio.sleep(1)

    scene = Scene(stt=ScriptedStt("on and on")).play(script)
    assert scene.of("warn")[0]["code"] == "UTTERANCE_CAPPED"
    assert 30.0 <= scene.at("stt.final") < 30.5
    assert max(len(pcm) for pcm in scene.stt.heard) <= 2 * 16_000 * 31


def test_a_part_that_works_again_is_said_to_be_well() -> None:
    async def script(scene: Scene) -> None:
        scene.say("why?")
        await asyncio.sleep(30)
        scene.llm.failure, scene.llm.words = None, ["Because."]
        scene.say("why?", id="c2")
        await asyncio.sleep(30)

    scene = Scene(llm=ScriptedLlm([], failure=DOWN)).play(script)
    assert [state["llm"] for state in scene.of("state")] == ["unavailable", "ok"]


def test_a_message_sent_again_before_its_commit_is_acknowledged_twice_and_answered_once() -> None:
    async def script(scene: Scene) -> None:
        scene.say("why?")
        await asyncio.sleep(0.1)
        scene.say("why?")
        await asyncio.sleep(30)

    scene = Scene(journal=MemoryJournal(delay=0.5)).play(script)
    assert len(scene.acks) == 2
    assert scene.acks[0] == scene.acks[1]
    assert [end["status"] for end in scene.of("resp.end")] == ["done"]


def test_a_refused_message_is_not_in_what_the_model_reads() -> None:
    async def script(scene: Scene) -> None:
        scene.journal.broken = True
        scene.say("first")
        await asyncio.sleep(1)
        scene.journal.broken = False
        scene.say("first", id="c2")
        await asyncio.sleep(20)

    scene = Scene().play(script)
    assert [message.content for message in scene.llm.chats[-1] if message.role == "user"] == ["first"]


def test_a_confirmed_barge_does_not_throw_away_the_words_that_made_it() -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(speech(0.3))
        scene.session.post(wire.Barge(state="confirmed", mic_t=0))
        await scene.speak(speech(0.5) + silence(0.6))
        await asyncio.sleep(20)

    scene = Scene().play(script)
    assert len(scene.of("stt.final")) == 1
    assert len(scene.stt.heard[-1]) > len(speech(0.7))


def test_a_listener_that_stands_still_does_not_hold_the_floor_for_ever() -> None:
    async def script(scene: Scene) -> None:
        scene.say("tell me everything")
        await asyncio.sleep(1)
        scene.session.post(wire.Play(rid=1, played=0, state="start"))
        await asyncio.sleep(120)

    scene = Scene(llm=ScriptedLlm(["One two three four five six seven. "] * 6), plays=False).play(script)
    assert scene.of("resp.end")
    assert scene.of("turn")[-1]["state"] == "listening"


def test_a_slow_client_that_comes_back_is_not_cut_again() -> None:
    async def script(scene: Scene) -> None:
        async def deaf(name: str, payload: object) -> None:
            scene.events.append((0.0, name, payload))

        scene.emit, hearing = deaf, scene.emit  # type: ignore[method-assign]
        for n in range(120):
            scene.say("x", id=f"c{n}")
            await asyncio.sleep(1)
        assert scene.closed == ["slow"]
        scene.emit = hearing  # type: ignore[method-assign]
        _, recovered = scene.session.outgoing.resume(3, 0, 0)
        scene.session.outgoing.attach(scene)
        assert recovered is False
        scene.say("are you there?", id="back")
        await asyncio.sleep(5)

    scene = Scene(llm=ScriptedLlm(["y" * 100_000]), caps=TEXT_ONLY).play(script)
    assert scene.closed == ["slow"]
    assert scene.acks[-1]["id"] == "back"
    assert scene.of("resp.end")[-1]["status"] == "done"
