"""However a reply arrives, its clauses are the same, at their places, and nothing is lost."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.clauses import ClauseSplitter
from pipelines.core.speakable import spoken

WORDS = "the a of and because that I you we can help with this Hello "
STOPS = "Dr. Mr. e.g. 3.5 $1,000.50 https://a.b/c.d?e=f x@y.org no. No. etc. p.m. Well... wait… why? yes! end. "
MARKS = 'comma, semi; colon: "quoted it" \'tis (paren close) **bold** `code.`'
OTHERS = [
    "\n",
    "\n\n",
    " - ",
    "1. ",
    "你好。",
    "「はい。」",
    "，",
    "！",
    "😀",
    "```\nx. y\n```",
    '"',
    "(",
    "[a](b.c)",
    "\t",
    " ",
]
PIECES = st.sampled_from([*(WORDS + STOPS + MARKS).split(), *OTHERS])
REPLIES = st.one_of(
    st.lists(PIECES, max_size=60).map(" ".join),
    st.lists(PIECES, max_size=60).map("".join),
    st.text(max_size=200),
)


def split(reply: str, cuts: list[int]) -> list[tuple[str, int]]:
    splitter = ClauseSplitter()
    places = [0, *sorted(cut % (len(reply) + 1) for cut in cuts), len(reply)]
    clauses = [clause for a, b in pairwise(places) for clause in splitter.push(reply[a:b])]
    return clauses + splitter.flush()


@given(REPLIES, st.lists(st.integers(0, 10_000), max_size=12))
def test_clauses_stand_in_the_reply_in_order_with_only_white_space_between(reply: str, cuts: list[int]) -> None:
    end = 0
    for text, c0 in split(reply, cuts):
        assert text == text.strip() != ""
        assert reply[c0 : c0 + len(text)] == text
        assert reply[end:c0].strip() == ""
        end = c0 + len(text)
    assert reply[end:].strip() == ""


@given(REPLIES, st.lists(st.integers(0, 10_000), max_size=12))
def test_how_a_reply_is_cut_does_not_depend_on_its_deltas(reply: str, cuts: list[int]) -> None:
    assert split(reply, cuts) == split(reply, [])


@given(REPLIES)
def test_a_clause_never_begins_or_ends_inside_a_latin_word(reply: str) -> None:
    for text, c0 in split(reply, []):
        assert not re.fullmatch(r"[A-Za-z0-9]{2}", reply[max(0, c0 - 1) : c0 + 1]) or c0 == 0
        assert not re.fullmatch(r"[A-Za-z0-9]{2}", reply[c0 + len(text) - 1 : c0 + len(text) + 1])


@given(REPLIES)
def test_what_is_spoken_comes_from_the_text_in_order_and_is_tidy(text: str) -> None:
    said, origins = spoken(text)
    assert len(said) == len(origins)
    assert list(origins) == sorted(origins)
    assert all(0 <= origin < len(text) for origin in origins)
    assert said == said.strip()
    assert "  " not in said
    assert not said or any(character.isalnum() for character in said)
