"""The bubble on somebody else's page, under the content security policy that `embed` hands out."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.async_api import expect

from tests.browser.chromium import chromium
from tests.browser.visitor import Visitor, visit
from tests.browser.websites import embedded, website

pytestmark = [pytest.mark.browser, pytest.mark.models]


async def test_the_bubble_opens_a_textured_avatar_and_a_chat_under_the_handed_out_policy(shared_server: str) -> None:
    async with website() as site, chromium() as browser:
        code = await embedded(shared_server, "ada@example.com", site.origin)
        site.body, site.headers = code["html"], code["csp"]
        visitor = await visit(browser, site.origin, width=520, height=720)
        await visitor.page.get_by_role("button", name="Shop assistant").click()
        await expect(visitor.page.get_by_role("dialog")).to_be_visible()
        await visitor.avatar()
        drawn = await _canvas(visitor)
        await visitor.look("document.querySelector('ma-widget').shadowRoot.querySelector('canvas').style.opacity = '0'")
        bare = await _canvas(visitor)
        await visitor.ask("Hello, who are you?")
        rid = await visitor.answer()
        await visitor.ended(rid)
        await expect(visitor.log.locator(".message.bot").last).to_have_text("".join(visitor.deltas(rid)).strip())
        assert await visitor.look("__violations") == []
        assert [line for line in visitor.console if line.startswith("error")] == []
    assert _skin(drawn) > 0.08
    assert _skin(bare) < 0.01
    assert _colours(drawn) > 4 * _colours(bare)
    assert _colours(drawn) > 300


async def test_a_page_of_another_origin_gets_no_chat_and_is_told_why(shared_server: str) -> None:
    async with website() as allowed, website() as other, chromium() as browser:
        code = await embedded(shared_server, "grace@example.com", allowed.origin)
        other.body, other.headers = code["html"], code["csp"]
        visitor = await visit(browser, other.origin)
        await visitor.said("MachineAvatars: the chat did not start")
        [told] = [line for line in visitor.console if "MachineAvatars" in line]
        assert f"is {other.origin} among the chatbot's allowed origins?" in told
        await expect(visitor.page.locator("ma-widget")).to_have_count(0)


async def _canvas(visitor: Visitor) -> NDArray[np.int_]:
    """The middle of the avatar's place as it is seen, [height, width, 3]."""
    box = await visitor.page.locator("ma-widget canvas").bounding_box()
    assert box
    clip = {
        "x": box["x"] + box["width"] / 4,
        "y": box["y"] + box["height"] / 6,
        "width": box["width"] / 2,
        "height": box["height"] * 2 / 3,
    }
    png = await visitor.page.screenshot(clip=clip)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def _skin(picture: NDArray[np.int_]) -> float:
    """The share of pixels with the hue of skin: red over green over blue, each by a step."""
    r, g, b = picture[..., 0], picture[..., 1], picture[..., 2]
    return float(np.mean((r > 70) & (r > g + 12) & (g > b + 5) & (r > b + 30)))


def _colours(picture: NDArray[np.int_]) -> int:
    """How many colours there are, in steps of 8."""
    return len(np.unique((picture // 8).reshape(-1, 3), axis=0))
