"""Rules by which the recogniser doubts its own text."""

import pytest

from pipelines.workers.speech_to_text import hasty, loops, once


def test_a_text_that_goes_in_circles_is_seen() -> None:
    assert loops([1, 2, 3, 4, 2, 3, 4, 2, 3, 4])
    assert not loops([1, 2, 3, 4, 5, 6, 2, 3, 4])


def test_more_words_than_anybody_can_say_are_seen() -> None:
    assert hasty("What can you do for me? What can you do for me", 1.9)
    assert not hasty("What can you do for me?", 1.4)
    assert not hasty("No, no, no.", 0.6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("What can you do for me? What can you do for me", "What can you do for me?"),
        ("What can you do for me?", "What can you do for me?"),
        ("Yes", "Yes"),
        ("", ""),
    ],
)
def test_a_sentence_said_twice_is_kept_once(text: str, said: str) -> None:
    assert once(text) == said
