"""Cutting replies into clauses."""

import pytest

from pipelines.core.clauses import ClauseSplitter


def cut(reply: str) -> list[str]:
    splitter = ClauseSplitter()
    return [text for text, _ in splitter.push(reply) + splitter.flush()]


def words_until_first(reply: str) -> int:
    """How many words of the reply must be complete before the first clause is out."""
    splitter = ClauseSplitter()
    for at, character in enumerate(reply):
        if splitter.push(character):
            return len(reply[: at + 1].split())
    return len(reply.split()) + 1


def test_the_first_clause_is_out_before_the_sentence_is() -> None:
    reply = "The quick brown fox jumps over the lazy dog because it wants to."
    assert cut(reply)[0] == "The quick brown fox jumps"
    assert words_until_first(reply) == 6


@pytest.mark.parametrize(
    ("reply", "first"),
    [
        ("I can help you with your order today if you like.", "I can help you"),
        ("Sure! I will look it up for you right away.", "Sure!"),
        ("Yes, of course. We open at nine.", "Yes, of course."),
        ("Thanks for asking, we are open until nine in the evening.", "Thanks for asking,"),
        ("You are welcome to visit our store in the city.", "You are welcome"),
        ("Hello there 3.5 million people live in this city.", "Hello there 3.5 million people"),
        ("Paris.", "Paris."),
    ],
)
def test_the_first_clause_ends_where_a_phrase_does(reply: str, first: str) -> None:
    assert cut(reply)[0] == first


@pytest.mark.parametrize(
    "reply",
    [
        "Our store has the best coffee in the whole wide town today.",
        "Please come to the new beautiful shop near our old station tomorrow.",
        "It is one of the most important questions of our time, I think.",
        "Travellers coming from the north should take the second exit.",
    ],
)
def test_the_first_clause_does_not_end_in_a_word_that_leans_on_the_next(reply: str) -> None:
    last = cut(reply)[0].split()[-1]
    assert last.lower() not in {"the", "a", "of", "to", "in", "our", "new", "from", "best", "most", "one", "second"}
    assert 3 <= len(cut(reply)[0].split()) <= 7


@pytest.mark.parametrize(
    "whole",
    [
        "Dr. Smith and Mrs. Jones came by.",
        "It costs $3.50 or 1,000.25 in all.",
        "Write to a.b@example.com. now please friend",
        "Use tools, e.g. hammers, i.e. simple ones.",
        "We meet at 5 p.m. on the corner.",
        "Go to https://example.com/a.b?c=d!e now.",
        "J. R. Smith wrote the entire book.",
        "1. First step of them all here",
    ],
)
def test_numbers_addresses_and_abbreviations_stay_whole(whole: str) -> None:
    text = f"Well then. {whole}"
    assert all(not clause.endswith(("Dr.", "Mrs.", "e.g.", "i.e.", "p.m.", "J.", "R.", "1.")) for clause in cut(text))
    assert whole.split()[2] in " ".join(cut(text)).split()
    assert max(cut(text), key=len).split()[0] == whole.split()[0]


def test_an_ambiguous_stop_waits_for_the_next_word() -> None:
    splitter = ClauseSplitter()
    assert splitter.push("Ok. We close at 5 p.m. ") == [("Ok.", 0)]
    assert splitter.push("T") == [("We close at 5 p.m.", 4)]


def test_an_ellipsis_before_a_small_letter_does_not_end_the_sentence() -> None:
    assert cut("Right. Well... maybe so. Fine.") == ["Right.", "Well... maybe so.", "Fine."]


def test_a_quotation_is_not_cut_inside() -> None:
    assert cut('Then she said "Hello there. How are you?" and left the room.')[:2] == [
        "Then she said",
        '"Hello there. How are you?" and left the room.',
    ]


def test_long_sentences_are_cut_at_commas_and_never_grow_beyond_twenty_words() -> None:
    reply = "Fine. " + "we went over the hill and through the wood, " * 6 + "and home."
    clauses = cut(reply)
    assert all(len(clause.split()) <= 20 for clause in clauses)
    assert all(clause.endswith(",") for clause in clauses[1:-1])
    endless = cut("Fine. " + "word " * 100)
    assert all(len(clause.split()) <= 20 for clause in endless)


def test_each_line_of_a_list_is_a_clause_of_its_own() -> None:
    assert cut("Here they are:\n- apples\n- pears and plums\n\nEnjoy!") == [
        "Here they are:",
        "- apples",
        "- pears and plums",
        "Enjoy!",
    ]


def test_chinese_and_japanese_sentences_end_without_white_space() -> None:
    assert cut("你好，我是你的助手。今天我能帮你什么忙吗？请告诉我！") == [
        "你好，我是你的助手。",
        "今天我能帮你什么忙吗？",
        "请告诉我！",
    ]
    assert cut("彼は「はい。」と言った。次へ。") == ["彼は「はい。」と言った。", "次へ。"]


def test_a_code_block_stays_in_one_piece() -> None:
    assert cut("Run it. ```sh\nls. -l\nmake it\n```\nDone now.") == [
        "Run it.",
        "```sh\nls. -l\nmake it\n```",
        "Done now.",
    ]


def test_one_endless_word_does_not_grow_without_bound() -> None:
    assert max(len(clause) for clause in cut("x" * 5_000)) <= 600


def test_after_a_flush_the_next_reply_begins_anew() -> None:
    splitter = ClauseSplitter()
    splitter.push("One two")
    splitter.flush()
    assert splitter.push("Sure. ") == [("Sure.", 0)]
