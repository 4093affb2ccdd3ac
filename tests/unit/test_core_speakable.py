"""What of a text is said aloud."""

import pytest

from pipelines.core.speakable import speakable, spoken


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("**Hello** _there_! 😀 See [our site](https://x.y/z).", "Hello there! See our site."),
        ("## A title", "A title"),
        ("- apples & *pears*", "apples & pears"),
        ("- [x] done", "done"),
        ("Visit https://www.example.com/a/b?c=d. Or mail a.b@c.com now.", "Visit example.com. Or mail a.b@c.com now."),
        ("see www.foo.org/bar, please", "see foo.org, please"),
        ("<https://user:pw@foo.bar:8080/x>", "foo.bar"),
        ("Use snake_case and `code()`.", "Use snake case and code()."),
        ("4 * 5 is 20", "4 times 5 is 20"),
        ("| a | b |", "a b"),
        ("|---|---|", ""),
        ("---", ""),
        ("👩‍👩‍👧 ❤️", ""),
        ("Great!!! :) wow", "Great! wow"),
        ("```py\nx = 1\n```", ""),
        ("It costs 3.5 &amp; more [1][2].", "It costs 3.5 & more."),
        ("<b>bold</b> but 1 < 2", "bold but 1 < 2"),
        ('Don\'t say "no" (yet).', 'Don\'t say "no" (yet).'),
        ("你好，世界！", "你好，世界！"),
        ("zero\u200bwidth", "zerowidth"),
        ("![a cat](cat.png) sleeps", "a cat sleeps"),
    ],
)
def test_marks_are_left_out_and_words_are_kept(written: str, said: str) -> None:
    assert speakable(written) == said


def test_every_spoken_character_knows_where_it_came_from() -> None:
    text = "**See** [our site](https://x.y/z), [docs](http://a.b)!"
    said, origins = spoken(text)
    assert said == "See our site, docs!"
    assert "".join(text[origin] for origin in origins) == said
