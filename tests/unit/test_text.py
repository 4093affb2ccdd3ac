"""The text pipeline: how long a model is waited for, and what is said in its stead."""

from collections.abc import AsyncIterator, Sequence

import pytest

from pipelines.channel import Channel
from pipelines.core.template import Rendered
from pipelines.engine import Engine
from pipelines.frames import Failed, Frame, Question, TextDelta, Written
from pipelines.ports import Chosen, NoGuard, OneModel
from pipelines.providers.base import LONGEST, TOO_SLOW, ChatMessage, LlmOptions, ProviderError
from pipelines.registry import Voices
from pipelines.stage import run
from pipelines.text import WHOLE, Think, apology
from tests.support.fakes import (
    BOT,
    VOICE,
    CountingIds,
    MemoryJournal,
    NoKnowledge,
    ScriptedLlm,
    ScriptedStt,
    ToneTts,
)
from tests.support.virtual_time import VirtualClock
from tests.support.virtual_time import run as play


def answered(llm: ScriptedLlm) -> list[Frame]:
    """The frames of one answer of `llm`."""
    out: Channel[Frame] = Channel(100)
    play(
        run(
            [Think(Chosen(llm, LlmOptions()), NoGuard(), BOT, Rendered(BOT.prompt, ""), (), spoken=False)],
            Question(0, "why?", ()),
            out,
        )
    )

    async def collected() -> list[Frame]:
        return [frame async for frame in out]

    return list(play(collected()))


@pytest.mark.parametrize(
    ("llm", "said"),
    [
        (ScriptedLlm(first=6.0), apology("en")),
        (ScriptedLlm(["I ", "was"], delay=4.0), "I was"),
        (ScriptedLlm(["I ", "was"], delay=11.0), apology("en")),
    ],
    ids=["no first text in 5 s", "slow but alive", "both"],
)
def test_a_model_is_waited_for_until_its_first_text(llm: ScriptedLlm, said: str) -> None:
    frames = answered(llm)
    assert "".join(frame.text for frame in frames if isinstance(frame, TextDelta)) == said
    assert [frame.message for frame in frames if isinstance(frame, Failed)] == ([] if said == "I was" else [TOO_SLOW])
    assert (llm.opened, llm.closed) == (1, 1)


class Stalling(ScriptedLlm):
    async def stream(self, messages: Sequence[ChatMessage], options: LlmOptions) -> AsyncIterator[str]:
        async for word in super().stream(messages, options):
            yield word
            self.delay = 11.0


def test_a_model_that_stalls_in_mid_answer_is_given_up_after_what_it_said() -> None:
    frames = answered(Stalling(["I ", "was"]))
    assert [frame.text for frame in frames if isinstance(frame, TextDelta)] == ["I "]
    assert [frame.message for frame in frames if isinstance(frame, Failed)] == [TOO_SLOW]


def test_a_model_that_never_ends_is_cut_off() -> None:
    llm = ScriptedLlm(["x" * 1000] * 90)
    frames = answered(llm)
    assert len("".join(frame.text for frame in frames if isinstance(frame, TextDelta))) == LONGEST
    assert [frame.finish_reason for frame in frames if isinstance(frame, Written)] == ["length"]
    assert (llm.opened, llm.closed) == (1, 1)


def test_a_model_that_drips_text_is_given_up_after_what_it_said() -> None:
    llm = ScriptedLlm(["x"] * 90, delay=4.0)
    frames = answered(llm)
    assert len([frame for frame in frames if isinstance(frame, TextDelta)]) == WHOLE / 4 - 1
    assert [frame.message for frame in frames if isinstance(frame, Failed)] == [TOO_SLOW]
    assert (llm.opened, llm.closed) == (1, 1)


@pytest.mark.parametrize(("language", "word"), [("de-AT", "Entschuldigung"), ("fr_CA", "Désolé"), ("pl-PL", "Sorry")])
def test_an_apology_is_in_the_bots_language_or_in_english(language: str, word: str) -> None:
    assert apology(language).startswith(word)


class Unready(ScriptedLlm):
    async def warm(self, messages: Sequence[ChatMessage]) -> None:
        await VirtualClock().sleep(3600)


class Broken(ScriptedLlm):
    async def warm(self, messages: Sequence[ChatMessage]) -> None:
        raise ProviderError("down", retryable=True, public="Down.")


@pytest.mark.parametrize(("llm", "took"), [(Unready(), 5.0), (Broken(), 0.0)], ids=["unready", "broken"])
def test_warming_a_model_that_cannot_be_warmed_ends_quietly(llm: ScriptedLlm, took: float) -> None:
    clock = VirtualClock()
    engine = Engine(
        OneModel(llm),
        ScriptedStt(),
        ToneTts(),
        NoKnowledge(),
        NoGuard(),
        MemoryJournal(),
        clock,
        CountingIds(),
        Voices([VOICE], VOICE.id),
    )

    async def warmed() -> float:
        await engine.warm(BOT, (), voiced=False)
        return clock.monotonic()

    assert play(warmed()) == took
