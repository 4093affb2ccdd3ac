"""Trials: the real processes start, speak, listen and answer, as in a conversation."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np
import soxr

from pipelines.frames import INPUT_RATE, OUTPUT_RATE
from pipelines.models.manifest import ManifestInvalid
from pipelines.models.store import ModelMissing, ModelStore, UnknownModel
from pipelines.ports import Clock
from pipelines.providers.base import ChatMessage, Llm, LlmOptions, ProviderError
from pipelines.registry import PackageMissing, Providers, ProviderSettings, build, language_model
from pipelines.workers.process import WorkerProcess, running
from server.doctor.findings import Finding, failed, ok, warning

SAID: Final = "What time do you open on Saturday?"
QUESTION: Final = (ChatMessage("user", "Say yes."),)
START_SECONDS: Final = 60.0
TRIAL_SECONDS: Final = 20.0
LOGS: Final = "machineavatars models verify; then read what it says: MA_LOG_LEVEL=debug machineavatars serve"


async def workers(open: Callable[[], ModelStore], settings: ProviderSettings, clock: Clock) -> list[Finding]:
    """Every process of a server, at once, as it starts them."""
    try:
        use = await asyncio.to_thread(build, open(), settings)
    except (ModelMissing, UnknownModel, PackageMissing, ManifestInvalid) as error:
        return [failed("processes", f"not tried: {error}", "mend the models first")]
    async with running(*use.workers):
        started = [await _started(worker) for worker in use.workers]
        heard = Heard(bytes(2 * INPUT_RATE))
        trials: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("voice", lambda: _spoken(use, settings.voice, heard, clock)),
            ("voice activity", lambda: _noticed(use, heard)),
            ("recogniser", lambda: _understood(use, heard, clock)),
        ]
        if use.llm.capabilities.local:
            trials.append(("language model", lambda: _first_token(use.llm, clock)))
        if any(finding.state == "failed" for finding in started):
            return started
        return [*started, *[await _tried(name, trial, LOGS) for name, trial in trials]]


async def endpoint(open: Callable[[], ModelStore], settings: ProviderSettings, clock: Clock) -> list[Finding]:
    """One token of the configured endpoint."""
    llm, _ = language_model(open(), settings)
    mend = "is it running, and are MA_LLM__BASE_URL, MA_LLM__MODEL and MA_LLM__API_KEY right?"
    finding = await _tried("LLM endpoint", lambda: _first_token(llm, clock), mend)
    return [replace(finding, seen=f"{settings.llm_base_url}: {finding.seen}")]


@dataclass(slots=True)
class Heard:
    """What the microphone gave: a second of silence until something was said."""

    pcm: bytes
    said: bool = False


async def _started(worker: WorkerProcess) -> Finding:
    name = f"process {worker.spec.kind}"
    try:
        async with asyncio.timeout(START_SECONDS):
            await worker.ready()
    except ProviderError as error:
        return failed(name, f"does not start: {error}", LOGS)
    except TimeoutError:
        return failed(name, f"is not ready after {START_SECONDS:.0f} s", LOGS)
    return ok(name, f"started, process {worker.pid}")


async def _tried(name: str, trial: Callable[[], Awaitable[str]], mend: str) -> Finding:
    try:
        async with asyncio.timeout(TRIAL_SECONDS):
            return ok(name, await trial())
    except Disappointed as error:
        return warning(name, str(error), mend)
    except ProviderError as error:
        return failed(name, str(error), mend)
    except TimeoutError:
        return failed(name, f"no answer within {TRIAL_SECONDS:.0f} s", mend)


class Disappointed(Exception):
    """It works, but not well; the message says what was expected."""


async def _spoken(use: Providers, voice: str, heard: Heard, clock: Clock) -> str:
    began = clock.monotonic()
    pcm = b"".join([chunk.pcm async for chunk in use.tts.speak(SAID, voice)])
    took, seconds = clock.monotonic() - began, len(pcm) / 2 / OUTPUT_RATE
    if not pcm:
        raise Disappointed(f"{voice} made no sound")
    audio = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    there = np.pad(soxr.resample(audio, OUTPUT_RATE, INPUT_RATE), INPUT_RATE // 5)
    heard.pcm, heard.said = (there * 32767).astype("<i2").tobytes(), True
    return f"{voice} said {seconds:.1f} s of speech in {took:.2f} s"


async def _noticed(use: Providers, heard: Heard) -> str:
    stream = await use.vad.open()
    try:
        speech = max(await stream.push(heard.pcm), default=0.0)
    finally:
        await stream.close()
    if heard.said and speech < 0.5:
        raise Disappointed(f"did not notice that something was said (at most {speech:.2f})")
    return f"tells speech from silence (at most {speech:.2f})" if heard.said else "answers"


async def _understood(use: Providers, heard: Heard, clock: Clock) -> str:
    began = clock.monotonic()
    transcript = await use.stt.transcribe(heard.pcm, use.stt.capabilities.languages[0])
    took = clock.monotonic() - began
    if heard.said and "saturday" not in transcript.text.lower() and "en" in use.stt.capabilities.languages:
        raise Disappointed(f'heard "{transcript.text}" instead of "{SAID}"')
    return f'heard "{transcript.text}" in {took:.2f} s'


async def _first_token(llm: Llm, clock: Clock) -> str:
    began = clock.monotonic()
    async with aclosing(cast(AsyncGenerator[str], llm.stream(QUESTION, LlmOptions(max_tokens=1)))) as pieces:
        async for _ in pieces:
            return f"{llm.capabilities.model} gave its first token after {clock.monotonic() - began:.2f} s"
    raise Disappointed(f"{llm.capabilities.model} answered nothing")
