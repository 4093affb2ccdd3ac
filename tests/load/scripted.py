"""A server whose models are scripted: what is left is the cost of the server itself.

    python -m tests.load.scripted serve

`MA_LOAD_DELAYS=recogniser,model,voice` are the seconds after which each of them answers; 0,0,0 by default.
"""

import os
import sys
from collections import deque

import server.compose
from pipelines.models.store import ModelStore
from pipelines.registry import Providers, ProviderSettings, Voices
from server.__main__ import main
from tests.support.fakes import VOICE, LoudnessVad, ScriptedLlm, ScriptedStt, ToneTts


def scripted(store: ModelStore, settings: ProviderSettings) -> Providers:
    """The fakes of the tests, which remember nothing of what they were asked."""
    hears, thinks, speaks = map(float, os.environ.get("MA_LOAD_DELAYS", "0,0,0").split(","))
    llm, stt, tts = ScriptedLlm(first=thinks), ScriptedStt(delay=hears), ToneTts(ms=60, delay=speaks)
    llm.chats, llm.warmed = deque(maxlen=1), deque(maxlen=1)  # type: ignore[assignment]
    stt.heard, tts.spoken = deque(maxlen=1), deque(maxlen=1)  # type: ignore[assignment]
    return Providers(stt, llm, tts, LoudnessVad(remembers=False), Voices([VOICE], VOICE.id), ())


if __name__ == "__main__":
    server.compose.build = scripted
    sys.exit(main())
