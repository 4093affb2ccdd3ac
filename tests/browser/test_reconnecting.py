"""What a visitor sees and hears of a network that drops and of a server that restarts: nothing twice, nothing lost."""

from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Locator, expect

from api.history.store import Journal
from pipelines.ports import JournalUnavailable
from tests.browser.chromium import chromium
from tests.browser.outages import NoiseTts, audible, line, murmur, shown
from tests.browser.visitor import Visitor, until
from tests.support.fakes import LoudnessVad, ScriptedLlm

pytestmark = [pytest.mark.browser]

PROBE = "document.querySelector('ma-widget').__probe()"
WORDS = [f"word{n} " for n in range(30)]
ANSWER = "".join(WORDS).strip()
WATCH = f"""(() => {{
  const look = () => {{
    if (!window.__lost && {PROBE}.phase !== "ready") window.__lost = performance.now();
    if (document.querySelector("ma-widget").shadowRoot.querySelector(".notice")) window.__said = performance.now();
    else requestAnimationFrame(look);
  }};
  look();
}})()"""
"""Notes when the connection is lost, and when the visitor is told."""
BLIP_MS = 1_000
"""A loss that lasts no longer is not worth a word."""
LOST = "Connection lost. Reconnecting…"
WAITING = "Not sent yet"
TAKEN = "This conversation continues in another tab."
ROUNDING = 1
"""The tap rounds a sample's amplitude to the next integer at most."""


async def test_an_answer_is_heard_once_and_whole_over_two_lost_connections(tmp_path: Path) -> None:
    tts = NoiseTts(ms=40, delay=0.0)
    async with line(tmp_path, llm=ScriptedLlm(WORDS), tts=tts) as to, chromium() as browser:
        visitor = await to.visit(browser, listening=True)
        await visitor.ask("Count, please.")
        await _heard(visitor, 1.0)
        await to.proxy.cut()
        await _heard(visitor, 3.0)
        to.proxy.stall()  # nothing says that the connection is dead
        await visitor.page.context.set_offline(True)
        await visitor.seen(f"{PROBE}.phase !== 'ready'", "that it has noticed")
        await to.lose()
        to.proxy.resume()
        to.proxy.accept()
        await visitor.page.context.set_offline(False)
        await visitor.ended(1)
        await visitor.silence()
        await visitor.listen(0.3)
        heard = audible((await visitor.sound()).samples)
        said = np.concatenate([np.frombuffer(pcm, "<i2") for pcm in tts.made])
        assert len(heard) == len(said)
        assert np.abs(heard - said).max() <= ROUNDING
        assert await shown(visitor) == await to.history(visitor) == [("user", "Count, please."), ("assistant", ANSWER)]
        assert visitor.sockets == 3


async def test_what_is_said_into_a_lost_connection_is_heard_once_and_whole(tmp_path: Path) -> None:
    seconds = 4.0
    async with line(tmp_path) as to, chromium(microphone=murmur(tmp_path / "murmur.wav", seconds)) as browser:
        visitor = await to.visit(browser)
        await visitor.press("Talk by voice")
        await visitor.event("vad", count=2)
        await to.proxy.cut()
        await visitor.seen(f"{PROBE}.phase !== 'ready'", "that it has noticed")
        await visitor.seen(f"{PROBE}.phase === 'ready'", "the connection")
        ear: LoudnessVad = to.server.house.providers.vad  # type: ignore[assignment]
        await until(lambda: _quiet(ear), "silence at the server's ear", 30)
        loud = np.abs(np.frombuffer(ear.heard, "<i2").reshape(-1, 160)).max(axis=1) > 256
        assert abs(loud.sum() / 100 - seconds) < 0.3


async def test_an_answer_without_sound_is_shown_once_and_whole_over_a_lost_connection(tmp_path: Path) -> None:
    async with line(tmp_path, llm=ScriptedLlm(WORDS, delay=0.1)) as to, chromium() as browser:
        visitor = await to.visit(browser, mute=True)
        await visitor.ask("Count, please.")
        await expect(visitor.log).to_contain_text("word4")
        await to.proxy.cut()
        await visitor.ended(1)
        assert visitor.of("seg") == []
        assert await shown(visitor) == await to.history(visitor) == [("user", "Count, please."), ("assistant", ANSWER)]


async def test_messages_written_in_an_outage_wait_visibly_and_are_sent_once(tmp_path: Path) -> None:
    async with line(tmp_path, llm=ScriptedLlm(["Yes."])) as to, chromium() as browser:
        visitor = await to.visit(browser)
        await visitor.ask("Are you there?")
        await visitor.ended(1)
        await visitor.look(WATCH)
        await to.lose()
        await expect(visitor.notice(LOST)).to_be_visible()
        await expect(visitor.panel.locator(".banner[role=status]")).to_contain_text(LOST)
        await visitor.seen("window.__said", "the notice")
        assert await visitor.look("__said - __lost") > BLIP_MS
        await expect(visitor.panel.locator(".state")).to_have_text("Connecting…")
        for text in ("First", "Second"):
            await visitor.ask(text)
            await expect(_message(visitor, text).get_by_text(WAITING)).to_be_visible()
        await visitor.press("Try now")  # in vain
        await expect(visitor.notice(LOST)).to_be_visible()
        to.proxy.accept()
        await visitor.look("dispatchEvent(new Event('online'))")
        await expect(visitor.panel.get_by_text(WAITING)).to_have_count(0)
        await expect(visitor.notice(LOST)).to_have_count(0)
        await expect(visitor.log.locator("[data-pending]")).to_have_count(0)
        await expect(visitor.log.locator(".message.bot")).to_have_count(2)
        await visitor.seen(f"{PROBE}.state === 'idle'", "the end of the answer")
        kept = await to.history(visitor)
        assert kept == await shown(visitor)
        assert [text for role, text in kept if role == "user"] == ["Are you there?", "First", "Second"]


async def test_a_message_that_the_server_could_not_keep_is_sent_again_at_a_press(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise JournalUnavailable

    async with line(tmp_path, llm=ScriptedLlm(["Yes."])) as to, chromium() as browser:
        visitor = await to.visit(browser)
        with monkeypatch.context() as broke:
            broke.setattr(Journal, "user_message", broken)
            await visitor.ask("Can you keep this?")
            await expect(_message(visitor, "Can you keep this?").get_by_text("Not sent.")).to_be_visible()
        await visitor.press("Send again")
        await expect(visitor.log.locator(".message.bot")).to_have_count(1)
        await visitor.seen(f"{PROBE}.state === 'idle'", "the end of the answer")
        assert await shown(visitor) == await to.history(visitor)
        assert await shown(visitor) == [("user", "Can you keep this?"), ("assistant", "Yes.")]


async def test_a_second_tab_takes_the_conversation_over_and_the_first_takes_it_back(tmp_path: Path) -> None:
    async with line(tmp_path, llm=ScriptedLlm(["Yes."])) as to, chromium() as browser:
        first = await to.visit(browser)
        await first.ask("From the first tab")
        await first.ended(1)
        second = await to.visit(browser, beside=first)
        await second.page.get_by_role("textbox").click()
        await expect(first.notice(TAKEN)).to_be_visible()
        await expect(first.panel.locator(".state")).to_have_text("Not connected")
        await expect(_message(second, "From the first tab")).to_have_count(1)
        await second.ask("From the second tab")
        await expect(second.log.locator(".message.bot")).to_have_count(2)
        await second.seen(f"{PROBE}.state === 'idle'", "the end of the answer")
        await first.press("Use it here")
        await expect(second.notice(TAKEN)).to_be_visible()
        await expect(first.notice(TAKEN)).to_have_count(0)
        await expect(_message(first, "From the second tab")).to_have_count(1)
        await first.ask("And from the first again")
        await expect(first.log.locator(".message.bot")).to_have_count(3)
        await first.seen(f"{PROBE}.state === 'idle'", "the end of the answer")
        kept = await to.history(first)
        assert kept == await shown(first)
        assert [text for role, text in kept if role == "user"] == [
            "From the first tab",
            "From the second tab",
            "And from the first again",
        ]


async def test_after_a_restart_of_the_server_the_conversation_goes_on_from_its_history(tmp_path: Path) -> None:
    async with line(tmp_path, llm=ScriptedLlm(WORDS, delay=0.1)) as to, chromium() as browser:
        visitor = await to.visit(browser)
        await visitor.ask("Before")
        await expect(visitor.log).to_contain_text("word4")
        await to.restart(llm=ScriptedLlm(["Here again."]))
        await visitor.seen(f"{PROBE}.phase === 'ready' && {PROBE}.seq < 3", "another session")
        await expect(visitor.notice(LOST)).to_have_count(0)
        [draining] = visitor.of("draining")
        assert draining["retry_ms"] > 0
        await expect(visitor.log.get_by_text("interrupted")).to_have_count(1)
        await visitor.ask("After")
        await expect(visitor.log).to_contain_text("Here again.")
        await visitor.seen(f"{PROBE}.state === 'idle'", "the end of the answer")
        kept = await to.history(visitor)
        assert await shown(visitor) == kept
        assert [role for role, _ in kept] == ["user", "assistant", "user", "assistant"]
        assert kept[1][1] == ANSWER[: len(kept[1][1])] != ANSWER


def _message(visitor: Visitor, text: str) -> Locator:
    return visitor.log.locator(".message", has_text=text)


async def _heard(visitor: Visitor, seconds: float) -> None:
    await visitor.seen(f"{PROBE}.clock.t > {seconds * 24000}", f"{seconds} s heard")


async def _quiet(ear: LoudnessVad) -> bool:
    """The last second was."""
    last = np.frombuffer(ear.heard[-32000:], "<i2")
    return len(last) == 16_000 and bool(np.abs(last).max() <= 256) and len(ear.heard) > 4 * 32_000
