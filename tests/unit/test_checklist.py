"""The steps by which a chatbot is set up: done, to do, skipped or wrong."""

from dataclasses import replace

import pytest

from api._kit.checklist import STEPS, Draft, Installed, broken, checklist, current, missing, percent
from api.state.presentation import changes, merge, written

DRAFT = Draft("cb_1", "Bea", "3d", "draft", "en-US", None, "ava", "joe", {}, {}, (), None, 0)
HERE = Installed({"ava"}, {"joe"})


def status(draft: Draft, skipped: tuple[str, ...] = ()) -> dict[str, str]:
    return {step.name: step.status for step in checklist(draft, HERE, skipped)}


def test_a_new_chatbot_has_a_type_an_avatar_and_a_voice() -> None:
    assert [step for step, is_ in status(DRAFT).items() if is_ == "done"] == ["type", "avatar", "voice"]
    steps = checklist(DRAFT, HERE)
    assert (current(steps), missing(steps)) == ("purpose", ["purpose", "prompt"])


def test_a_step_that_is_done_after_it_was_skipped_is_done() -> None:
    known = replace(DRAFT, settings={"examples": [{"question": "?", "answer": "!"}]})
    assert [status(draft, ("knowledge",))["knowledge"] for draft in (DRAFT, known)] == ["skipped", "done"]


def test_what_is_gone_is_a_problem_of_its_step_and_the_rest_stays() -> None:
    draft = replace(DRAFT, avatar_id="gone", purpose="Help")
    assert (status(draft)["avatar"], status(draft)["purpose"]) == ("problem", "done")
    assert broken(draft, HERE) == ["avatar"]
    assert "avatar" not in status(replace(draft, type="text"))


def test_a_published_chatbot_that_no_website_may_show_is_not_deployed() -> None:
    live = replace(DRAFT, status="active", published_version=1)
    shown = replace(live, allowed_origins=("https://shop.example",))
    assert [status(draft)["deploy"] for draft in (live, shown)] == ["problem", "done"]


@pytest.mark.parametrize("type", ["3d", "text", "voice"])
def test_everything_done_is_all_of_the_way(type: str) -> None:
    done = replace(
        DRAFT,
        type=type,  # type: ignore[arg-type]
        status="active",
        purpose="Help",
        settings={"prompt": "You help.", "theme": {"color": "#000000"}},
        published_version=1,
        allowed_origins=("https://shop.example",),
    )
    steps = checklist(done, HERE, ("knowledge",))
    assert (percent(steps), current(steps), len(steps)) == (100, None, len(STEPS[done.type]))


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_patches_are_merged_as_the_standard_shows(target: object, patch: object, merged: object) -> None:
    assert merge(target, patch) == merged  # type: ignore[arg-type]


def test_a_presentation_is_kept_where_it_belongs() -> None:
    values, part = changes(DRAFT, {"avatar_id": "eve", "camera": {"framing": "face"}})
    assert (values, part) == ({"avatar_id": "eve"}, {"camera": {"framing": "face"}})
    text = replace(DRAFT, type="text", settings={"theme": {"color": "#000000"}}, parts={"presentation": part})
    values, _ = changes(text, {"theme": {"radius": 4}, "starters": ["Hello"]})
    assert values["settings"]["theme"] == {"color": "#000000", "mode": "auto", "position": "right", "radius": 4}
    assert values["settings"]["suggestions"] == ["Hello"]
    assert written(text)["theme"] == {"color": "#000000"}
