"""A question that the owner has answered is known again; another one is not."""

from dataclasses import replace

import pytest

from pipelines.known_answers import KnownAnswers
from pipelines.providers.base import ChatMessage
from server.demo import EXAMPLES
from tests.support.fakes import BOT

TALK = [
    ChatMessage(role, text) for pair in EXAMPLES.items() for role, text in zip(("user", "assistant"), pair, strict=True)
]  # type: ignore[arg-type]
AVA = replace(BOT, examples=tuple(TALK))


async def answer(question: str) -> str | None:
    found = await KnownAnswers().search(AVA, question, 4)
    return found[0].text if found else None


@pytest.mark.parametrize(
    ("question", "known"),
    [
        ("is it free", "Is it free?"),
        ("Is this free?", "Is it free?"),
        ("What can you do for me?", "What can you do?"),
        ("what's your name?", "What is your name?"),
        ("Hello", "Hello!"),
        ("Do you need a cloud?", "Do you need the cloud?"),
        ("How can I put you on my website?", "How do I put you on my website?"),
        ("Thanks, thank you, bye!", "Thank you, bye."),
        ("Can I use better language models?", "Can I use a better language model?"),
    ],
)
async def test_the_same_question_in_other_words_gets_the_owners_answer(question: str, known: str) -> None:
    assert await answer(question) == EXAMPLES[known]


@pytest.mark.parametrize(
    "question",
    [
        "Is it free of sugar and fat?",
        "What is the capital of France?",
        "Who won the election?",
        "",
        "?!",
        "What?",
        "Can you?",
    ],
)
async def test_another_question_is_left_to_the_model(question: str) -> None:
    assert await answer(question) is None


async def test_a_bot_without_examples_knows_nothing() -> None:
    assert await KnownAnswers().search(BOT, "Is it free?", 4) == ()
