"""A whole server on a free port of this machine, with scripted providers, for tests that come in by the front door."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.registry import Providers, Voices
from server.app import crowd, measured
from server.compose import House, house
from server.door import Door
from server.infra.clock import SystemClock
from server.infra.db import migrate
from server.settings import Settings
from server.shape import Shape
from tests.support.fakes import VOICE, LoudnessVad, ScriptedLlm, ScriptedStt, ToneTts


@dataclass(frozen=True, slots=True)
class Live:
    url: str
    house: House
    llm: ScriptedLlm
    stt: ScriptedStt
    tts: ToneTts


@asynccontextmanager
async def live(
    data: Path,
    *,
    llm: ScriptedLlm | None = None,
    stt: ScriptedStt | None = None,
    tts: ToneTts | None = None,
    form: Shape | None = None,
    **settings: object,
) -> AsyncIterator[Live]:
    """The demo chatbot `cb_demo` is there; its website is this server. In another `form` it serves some rows alone, or
    passes some on."""
    llm, stt, tts = llm or ScriptedLlm(), stt or ScriptedStt(), tts or ToneTts(ms=10, delay=0.0)
    providers = Providers(stt, llm, tts, LoudnessVad(), Voices([VOICE], VOICE.id), ())
    unlimited = {"anonymous": 1_000_000, "visitor": 1_000_000}
    chosen = Settings.model_validate(
        {"data_dir": data, "port": 0, "tts": {"voice": VOICE.id}, "limits": unlimited, **settings}
    )
    await migrate(chosen.database)
    form = form or Shape()
    proxies = form.trusted_proxies(chosen)
    async with house(chosen, providers, form) as built:
        measured(built.app, built.metrics, SystemClock(), trusted_proxies=proxies)
        door = Door(built.app, crowd(chosen, proxies), built.metrics.turned_away)
        port = await door.open("127.0.0.1", 0)
        built.vitals.ready = True
        try:
            yield Live(f"http://127.0.0.1:{port}", built, llm, stt, tts)
        finally:
            await built.sockets.close()
            await door.close()
