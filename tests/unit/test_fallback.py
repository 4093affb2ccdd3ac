"""One model of several: whom it asks, when it gives up, and that nobody hears two models in one answer."""

from collections.abc import Sequence
from contextlib import aclosing

import pytest

from pipelines.channel import Channel
from pipelines.core.template import Rendered
from pipelines.frames import Failed, Frame, Question, TextDelta, Written
from pipelines.ports import Chosen, NoGuard
from pipelines.providers.base import ChatMessage, Ending, LlmOptions, ProviderError
from pipelines.providers.fallback import Candidate, Fallback
from pipelines.stage import run
from pipelines.text import Think, apology
from server.core.breaker import Breaker
from tests.support.fakes import BOT, ScriptedLlm
from tests.support.virtual_time import VirtualClock
from tests.support.virtual_time import run as play

HELLO = [ChatMessage("user", "Hello?")]
DOWN = ProviderError("down", retryable=True, public="Down.")
BUSY = ProviderError("429", retryable=True, public="Busy.", retry_after=90.0)


class Chain:
    """Models with a breaker each, on one clock."""

    def __init__(self, *models: ScriptedLlm, pause: float = 30.0) -> None:
        self.clock = VirtualClock()
        self.models = models
        self.llm = Fallback([Candidate(m, Breaker(pause)) for m in models], clock=self.clock, timeout=5.0)

    async def answer(self) -> tuple[str, float]:
        """What is said, and after how many seconds it ended."""
        began = self.clock.monotonic()
        said = []
        async with aclosing(self.llm.stream(HELLO, LlmOptions())) as pieces:
            async for piece in pieces:
                said.append(piece if isinstance(piece, str) else "")
        return "".join(said), self.clock.monotonic() - began


@pytest.mark.parametrize(
    ("first", "took"),
    [
        (ScriptedLlm([], failure=DOWN), 0.0),
        (ScriptedLlm(first=6.0), 5.0),
        (ScriptedLlm([]), 0.0),
        (ScriptedLlm([" ", "\n"]), 0.0),
    ],
    ids=["fails", "is silent", "ends without a word", "says blanks"],
)
def test_the_next_model_is_asked_when_the_first_says_nothing(first: ScriptedLlm, took: float) -> None:
    chain = Chain(first, ScriptedLlm(["Second."]))
    assert play(chain.answer()) == ("Second.", took)
    assert (first.opened, first.closed) == (1, 1)


def test_after_its_first_word_a_model_that_fails_is_not_replaced() -> None:
    chain = Chain(ScriptedLlm(["I was"], failure=DOWN), ScriptedLlm(["Second."]))
    with pytest.raises(ProviderError) as failed:
        play(chain.answer())
    assert failed.value is DOWN
    assert chain.models[1].opened == 0


def test_when_all_fail_the_last_ones_reason_is_told() -> None:
    chain = Chain(ScriptedLlm([], failure=DOWN), ScriptedLlm([], failure=BUSY))
    with pytest.raises(ProviderError) as failed:
        play(chain.answer())
    assert failed.value is BUSY


@pytest.mark.parametrize(("failure", "pause"), [(DOWN, 30.0), (BUSY, 90.0)], ids=["unasked", "as it asked"])
def test_a_model_that_failed_is_left_alone_for_a_while(failure: ProviderError, pause: float) -> None:
    chain = Chain(ScriptedLlm([], failure=failure), ScriptedLlm(["Second."]))

    async def scene() -> list[int]:
        asked = []
        for wait in (0.0, pause - 1.0, 2.0):
            await chain.clock.sleep(wait)
            await chain.answer()
            asked.append(chain.models[0].opened)
        return asked

    assert play(scene()) == [1, 1, 2]


def test_a_model_that_answers_again_is_the_first_again() -> None:
    first = ScriptedLlm(["First."], failure=None)
    chain = Chain(first, ScriptedLlm(["Second."]), pause=10.0)

    async def scene() -> list[str]:
        first.words, words = [], first.words
        said = [(await chain.answer())[0]]
        first.words = words
        await chain.clock.sleep(11.0)
        said += [(await chain.answer())[0], (await chain.answer())[0]]
        return said

    assert play(scene()) == ["Second.", "First.", "First."]


def test_the_last_hope_is_asked_although_everything_has_just_failed() -> None:
    first = ScriptedLlm([], failure=DOWN)
    chain = Chain(first, ScriptedLlm([], failure=DOWN))

    async def scene() -> str:
        with pytest.raises(ProviderError):
            await chain.answer()
        first.words, first.failure = ["Back."], None
        return (await chain.answer())[0]

    assert play(scene()) == "Back."


def test_while_the_first_answers_the_others_are_not_held_back_by_it() -> None:
    first, second = ScriptedLlm([], failure=DOWN), ScriptedLlm([], failure=DOWN)
    chain = Chain(first, second, pause=10.0)

    async def scene() -> str:
        with pytest.raises(ProviderError):
            await chain.answer()
        await chain.clock.sleep(11.0)
        first.words, first.failure = ["First."], None
        assert (await chain.answer())[0] == "First."
        first.words, first.failure = [], DOWN
        second.words, second.failure = ["Second."], None
        return (await chain.answer())[0]

    assert play(scene()) == "Second."


def test_a_model_whose_answer_is_stopped_midway_has_answered() -> None:
    first = ScriptedLlm([], failure=DOWN)
    chain = Chain(first, ScriptedLlm(["Second."]), pause=10.0)

    async def scene() -> str:
        await chain.answer()
        first.words, first.failure = ["First."], None
        await chain.clock.sleep(11.0)
        async with aclosing(chain.llm.stream(HELLO, LlmOptions())) as pieces:
            await anext(pieces)
        return (await chain.answer())[0]

    assert play(scene()) == "First."


def test_who_stops_listening_closes_the_model() -> None:
    model = ScriptedLlm(delay=1.0)
    chain = Chain(model, ScriptedLlm())

    async def scene() -> None:
        async with aclosing(chain.llm.stream(HELLO, LlmOptions())) as pieces:
            await anext(pieces)

    play(scene())
    assert (model.opened, model.closed) == (1, 1)


class Counting(ScriptedLlm):
    async def stream(self, messages: Sequence[ChatMessage], options: LlmOptions):  # type: ignore[no-untyped-def]
        async for word in super().stream(messages, options):
            yield word
        yield Ending("counting", "length", 7, 3)


def thought(chosen: Chosen) -> list[Frame]:
    out: Channel[Frame] = Channel(100)
    think = Think(chosen, NoGuard(), BOT, Rendered("Be kind.", "[page.title]: Prices"), (), spoken=False)
    play(run([think], Question(0, "why?", ()), out))

    async def collected() -> list[Frame]:
        return [frame async for frame in out]

    return list(play(collected()))


def test_a_turn_waits_for_every_model_in_turn_and_then_apologises() -> None:
    chain = Chain(ScriptedLlm(first=6.0), ScriptedLlm(first=6.0))
    frames = thought(Chosen(chain.llm, LlmOptions(), patience=10.0))
    assert "".join(frame.text for frame in frames if isinstance(frame, TextDelta)) == apology("en")
    assert len([frame for frame in frames if isinstance(frame, Failed)]) == 1
    assert [model.opened for model in chain.models] == [1, 1]


def test_a_reply_that_was_cut_off_by_its_length_says_so() -> None:
    frames = thought(Chosen(Counting(["Well."]), LlmOptions()))
    assert [frame for frame in frames if isinstance(frame, Written)] == [Written(0, "counting", "length", 7, 3)]


def test_what_is_said_of_the_visit_is_told_with_the_question_and_not_in_the_system_role() -> None:
    model = ScriptedLlm(["Well."])
    thought(Chosen(model, LlmOptions()))
    system, question = model.chats[0]
    assert "Prices" not in system.content
    assert question.content == "[page.title]: Prices\n\nwhy?"
