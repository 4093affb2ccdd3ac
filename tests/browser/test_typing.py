"""A typed question on the demo page."""

import pytest
from playwright.async_api import expect

from tests.browser.chromium import chromium
from tests.browser.visitor import visit

QUESTION = "Tell me about the colours of a rainbow."
"""Nothing the owner has written an answer to: the model makes one up."""

pytestmark = [pytest.mark.browser, pytest.mark.models]


async def test_a_typed_question_is_answered_word_by_word_in_the_log(shared_server: str) -> None:
    async with chromium() as browser:
        visitor = await visit(browser, shared_server)
        await visitor.ask(QUESTION)
        rid = await visitor.answer()
        end = await visitor.ended(rid)
        deltas = visitor.deltas(rid)
        answer = "".join(deltas).strip()
        assert end["status"] == "done"
        assert len(deltas) > 3
        assert len(answer.split()) >= 3
        await expect(visitor.log.locator(".message.user")).to_have_text(QUESTION)
        await expect(visitor.log.locator(".message.bot").last).to_have_text(answer)
        assert [line for line in visitor.console if line.startswith("error")] == []
