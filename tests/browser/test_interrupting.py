"""An answer that is being heard stops at a button and at the next question."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from playwright.async_api import expect

from tests.browser.chromium import chromium
from tests.browser.visitor import Visitor, visit
from tests.browser.websites import kept

QUESTION = "What can you do?"
SILENT_WITHIN = 0.3
AUDIBLE = 0.01

pytestmark = [pytest.mark.browser, pytest.mark.models]


async def test_the_stop_button_silences_the_answer_and_rests_the_mouth(shared_server: str) -> None:
    async with chromium() as browser:
        visitor = await _speaking(await visit(browser, shared_server, listening=True))
        await visitor.seen("__tap.note('click')", "the note")
        await visitor.press("Stop")
        end = await visitor.ended(await visitor.answer())
        await visitor.silence()
        await visitor.listen(1.5)
        noted = await visitor.look("__tap.noted")
        heard = await visitor.sound()
        frames = await visitor.frames()
        assert end["status"] == "cut"
        assert np.abs(heard.between(noted - 0.3, noted)).max() > AUDIBLE
        assert np.abs(heard.between(noted + SILENT_WITHIN, noted + 1.5)).max() < AUDIBLE
        after = [frame["weights"][1:] for frame in frames if frame["at"] > noted + SILENT_WITHIN + 0.1]
        assert after
        assert np.max(after) < 0.01
        await visitor.log.get_by_text("interrupted").wait_for()
        await _kept_as_heard(shared_server, visitor, end)


async def test_the_next_question_silences_the_answer_before_its_own(shared_server: str) -> None:
    async with chromium() as browser:
        visitor = await _speaking(await visit(browser, shared_server, listening=True))
        first = await visitor.answer()
        await visitor.seen("__tap.note('keydown')", "the note")
        await visitor.page.get_by_role("textbox").fill("Name three kinds of trees.")
        await visitor.page.keyboard.press("Enter")
        second = await visitor.answer(count=2)
        await visitor.seen(f"__tap.frames.some((frame) => frame.rid === {second} && frame.playing)", "the next answer")
        noted = await visitor.look("__tap.noted")
        heard = await visitor.sound()
        frames = await visitor.frames()
        seen = next(n for n, frame in enumerate(frames) if frame["rid"] == second and frame["playing"])
        begun = frames[seen - 2]["at"]  # the frame after that one was still drawn before it began
        [end] = [end for end in visitor.of("resp.end") if end["rid"] == first]
        assert end["status"] == "cut"
        assert np.abs(heard.between(noted - 0.3, noted)).max() > AUDIBLE
        silent = min(begun - 0.1, noted + SILENT_WITHIN + 0.5)  # on a slow machine frames tell late what began
        assert np.abs(heard.between(noted + SILENT_WITHIN, silent)).max(initial=0) < AUDIBLE
        drawn = [  # with the time at which drawing it can have begun
            (before["at"], frame) for before, frame in pairwise(frames) if before["at"] > noted + SILENT_WITHIN
        ]
        assert not any(frame["rid"] == first and frame["playing"] for _, frame in drawn)
        between = [
            frame["weights"][1:]
            for at, frame in drawn
            if at > noted + SILENT_WITHIN + 0.1 and frame["at"] < begun - 0.3
        ]
        assert np.max(between, initial=0) < 0.01
        await _kept_as_heard(shared_server, visitor, end)


async def _kept_as_heard(server: str, visitor: Visitor, end: dict[str, Any]) -> None:
    """Of the answer that was cut, the history has what was heard and no more; the log shows where it was cut."""
    text, heard = "".join(visitor.deltas(end["rid"])).strip(), end["heard"]["text"]
    [answer] = [message for message in await kept(server, visitor) if message["id"] == end["message_id"]]
    assert answer["interrupted"]
    assert answer["content"] == heard
    assert text.startswith(heard)
    assert 0 < len(heard) < len(text)
    unheard = visitor.log.locator(".message.bot", has_text="interrupted").locator(".unheard")
    await expect(unheard).to_have_text(text.removeprefix(heard).strip())


async def _speaking(visitor: Visitor) -> Visitor:
    """Has asked, and hears the answer."""
    await visitor.avatar()
    await visitor.greeted()
    await visitor.ask(QUESTION)
    await visitor.seen("__tap.loudest > 0.05", "a loud answer")
    return visitor
