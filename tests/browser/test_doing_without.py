"""A browser without 3D and a visitor who refuses the microphone: both are told, and can write."""

import pytest
from playwright.async_api import expect

from tests.browser.chromium import chromium
from tests.browser.visitor import visit

pytestmark = [pytest.mark.browser, pytest.mark.models]


async def test_without_webgl_and_microphone_the_chat_says_so_and_goes_on_in_text(shared_server: str) -> None:
    async with chromium("--disable-3d-apis", allow=False) as browser:
        visitor = await visit(browser, shared_server)
        await expect(visitor.notice("This browser cannot show 3D. You can still write and talk.")).to_be_visible()
        await expect(visitor.page.locator("ma-widget canvas")).to_be_hidden()
        await visitor.press("Talk by voice")
        await expect(visitor.notice("The microphone is blocked.")).to_be_visible()
        await expect(visitor.page.get_by_role("button", name="Talk by voice")).to_have_attribute(
            "aria-pressed", "false"
        )
        await visitor.ask("Is it free?")
        rid = await visitor.answer()
        assert (await visitor.ended(rid))["status"] == "done"
        await expect(visitor.log.locator(".message.bot").last).to_have_text("".join(visitor.deltas(rid)).strip())
