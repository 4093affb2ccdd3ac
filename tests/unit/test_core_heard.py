"""What was heard of a reply."""

from pipelines.core.heard import Heard, Segment, heard
from pipelines.frames import SpeechChunk, Word

REPLY = "Hello, world! It is late."
FIRST = Segment(0, 1000, "Hello, world!", 0, (Word(0, 400, 0, 5), Word(450, 900, 7, 12)))
SECOND = Segment(
    1000, 1200, "It is late.", 14, (Word(1000, 1200, 14, 16), Word(1200, 1500, 17, 19), Word(1500, 2100, 20, 24))
)


def test_nothing_played_is_nothing_heard() -> None:
    assert heard([FIRST, SECOND], 0) == Heard(0, 0, "")
    assert heard([], 500) == Heard(0, 0, "")


def test_a_word_counts_only_when_its_last_sample_was_played() -> None:
    assert heard([FIRST], 399) == Heard(399, 0, "")
    assert heard([FIRST], 400) == Heard(400, 6, "Hello,")
    assert heard([FIRST], 899).text == "Hello,"


def test_the_heard_text_spans_segments() -> None:
    assert heard([FIRST, SECOND], 1500) == Heard(1500, 19, "Hello, world! It is")
    assert REPLY[:19] == "Hello, world! It is"


def test_a_segment_played_to_its_end_was_heard_whole() -> None:
    assert heard([FIRST, SECOND], 2200) == Heard(2200, 25, REPLY)


def test_no_more_samples_are_heard_than_there_are() -> None:
    assert heard([FIRST, SECOND], 99_999) == Heard(2200, 25, REPLY)


def test_the_order_of_the_segments_does_not_matter() -> None:
    assert heard([SECOND, FIRST], 1500) == heard([FIRST, SECOND], 1500)


def test_without_words_a_segment_is_taken_as_spoken_evenly_and_cut_at_a_word() -> None:
    segment = Segment(0, 1100, "one two three", 0)
    assert heard([segment], 500).text == "one"
    assert heard([segment], 650).text == "one two"
    assert heard([segment], 1099).text == "one two"
    assert heard([segment], 1100).text == "one two three"


def test_a_chunk_becomes_a_segment_on_the_clock_and_in_the_text_of_the_response() -> None:
    chunk = SpeechChunk(1, 1, 1000, b"\0\0" * 1200, words=(Word(0, 200, 0, 2),), text="It is late.", c0=14)
    assert Segment.of(chunk) == Segment(1000, 1200, "It is late.", 14, (Word(1000, 1200, 14, 16),))


def test_a_word_without_a_space_after_it_ends_where_the_next_letter_begins() -> None:
    segment = Segment(0, 1000, "今日は。晴れ", 0, (Word(0, 400, 0, 3), Word(500, 1000, 4, 6)))
    assert heard([segment], 450).text == "今日は。"
    bare = Segment(0, 1000, "abcdef", 0, (Word(0, 400, 0, 3),))
    assert heard([bare], 450).text == "abc"
