"""A spoken question on the demo page: heard by the server, answered aloud, and the lips follow what sounds.

The page is drawn by the CPU here, so its window is small; pictures come seldom, but the mouth is set at every frame.
"""

from pathlib import Path

import numpy as np
import pytest

from pipelines.core.visemes import OCULUS_15, PP
from tests.browser.chromium import chromium
from tests.browser.listening import OPENING, lag, microphone, sent_mouth, transcript, wrong_words
from tests.browser.visitor import visit

QUESTION = "How do I put you on my website?"
REST = 0.01

pytestmark = [pytest.mark.browser, pytest.mark.models]


async def test_a_spoken_question_is_understood_answered_aloud_and_lip_synced(
    shared_server: str, tmp_path: Path
) -> None:
    async with chromium(microphone=await microphone(tmp_path / "question.wav", QUESTION)) as browser:
        visitor = await visit(browser, shared_server, listening=True)
        await visitor.avatar()
        await visitor.greeted()
        await visitor.press("Talk by voice")
        understood = (await visitor.event("stt.final"))["text"]
        rid = await visitor.answer()
        end = await visitor.ended(rid)
        await visitor.silence()
        await visitor.listen(0.8)
        frames = await visitor.frames()
        heard = await visitor.sound()
        await visitor.log.locator(".message.user", has_text=understood).wait_for()

    assert wrong_words(QUESTION, understood) <= 2, understood
    assert end["status"] == "done"

    at = np.array([frame["at"] for frame in frames])
    mouth = np.array([frame["weights"] for frame in frames])
    sample = np.array([frame["t"] for frame in frames])
    speech = np.flatnonzero([frame["playing"] and frame["rid"] == rid for frame in frames])
    assert len(speech) > 20, "too few frames were seen while it spoke"
    first, last = at[speech[0]], at[speech[-1]]

    # What the loudspeaker gave is what the captions said, and that is the answer.
    answer = "".join(visitor.deltas(rid)).strip()
    captions = " ".join(dict.fromkeys(frame["caption"] for frame in frames if frame["rid"] == rid and frame["caption"]))
    assert wrong_words(answer, captions) == 0, captions
    repeated = await transcript(heard.between(first - 0.3, last + 0.3), heard.rate)
    assert wrong_words(captions, repeated) <= max(3, 0.3 * len(captions.split())), repeated

    # The mouth.
    open_ = mouth @ OPENING
    moving = np.abs(mouth[:, 1:]).max(axis=1)

    assert moving[(at > first - 1) & (at < first - 0.05)].max(initial=0) <= REST, "it moved before it spoke"
    assert moving[at > last + 0.3].max(initial=0) <= REST, "it moved after it spoke"
    assert (at > last + 0.3).any()
    assert len({round(float(value), 2) for value in open_[speech]}) > 10, "it hardly moved"

    sent = sent_mouth([face for face in visitor.of("face") if face["rid"] == rid], sample[speech])
    wrong = np.abs(sent - mouth[speech]).max(axis=1)
    assert np.median(wrong) < 0.02
    assert np.percentile(wrong, 90) < 0.1

    shut = sent[:, PP] >= 0.9
    assert shut.any(), f"no frame met one of the closures of {OCULUS_15[PP]}"
    # The mouth leads the sound by up to 20 ms: a frame at the edge of a closure may already show the next shape.
    assert np.percentile(mouth[speech][shut, PP], 25) > 0.8, "the lips were open at p, b or m"

    behind, likeness = lag(heard, at[speech], open_[speech])
    assert likeness > 0.3
    assert abs(behind) <= 0.12, f"the mouth is {behind * 1000:.0f} ms behind the sound"
