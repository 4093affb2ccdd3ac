"""Checks of what the server keeps and reads: the database, Redis, the models."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pipelines.models.manifest import ManifestInvalid
from pipelines.models.store import Check as ModelCheck
from pipelines.models.store import ModelStore, UnknownModel
from pipelines.registry import PackageMissing, ProviderSettings, needed
from server.doctor.findings import Finding, failed, ok, warning
from server.infra.inspection import Unreachable, file_of, inspect, ping_redis, shown

DURABLE: Final = {
    "sqlite": "remove what sets PRAGMA synchronous below FULL for this file",
    "postgresql": "ALTER DATABASE ... SET synchronous_commit = on",
}


async def database(url: str) -> list[Finding]:
    name, path = "database", None
    try:
        path = file_of(url)
        if path is not None and not await asyncio.to_thread(Path(path).exists):
            return [ok(name, f"will be made at the first start: {path}")]
        found = await inspect(url)
    except Unreachable as error:
        mend = "is PostgreSQL running, and is MA_DATABASE_URL right? Try: pg_isready -d URL"
        if path:
            mend = f"put a backup of {path} in its place, or move it away to begin anew"
        return [failed(name, f"{shown(url)} does not answer: {error}", mend)]
    findings = [ok(name, f"{shown(url)} answers")]
    kind = "sqlite" if path else "postgresql"
    if found.doubt:
        findings.append(failed("durability", f"a commit may be lost: {found.doubt}", DURABLE[kind]))
    else:
        findings.append(ok("durability", "a commit is on the disk when it returns"))
    if found.current:
        findings.append(ok("schema", f"is the newest, {found.head}"))
    elif not found.known:
        seen = f"is {found.revision}, which this program does not know: the database is newer"
        findings.append(failed("schema", seen, "install the newest version: git pull && make install"))
    else:
        seen = f"is {found.revision or 'empty'}, and should be {found.head}"
        findings.append(failed("schema", seen, "machineavatars migrate (serve does it too)"))
    return findings


async def redis(url: str) -> list[Finding]:
    try:
        version = await ping_redis(url)
    except Unreachable as error:
        mend = "is Redis running, alone and no cluster, and is MA_REDIS_URL right? Try: redis-cli -u URL ping"
        return [failed("Redis", f"{shown(url)} cannot be used: {error}", mend)]
    return [ok("Redis", f"{shown(url)} answers, version {version}")]


async def models(open: Callable[[], ModelStore], settings: ProviderSettings) -> list[Finding]:
    """Every byte of what this configuration needs and of what else is here."""
    try:
        store = open()
        wanted = needed(store, settings)
    except ManifestInvalid as error:
        return [failed("models", str(error), "mend the file that is named, or remove it")]
    except UnknownModel as error:
        mend = "choose one of these with MA_STT__MODEL, MA_TTS__VOICE or MA_LLM__MODEL"
        return [failed("models", str(error), mend)]
    except PackageMissing as error:
        return [failed("models", str(error), "pip install 'piper-tts[alignment]', or choose another MA_TTS__VOICE")]
    rest = [entry.name for entry in store.entries() if entry.name not in wanted and store.present(entry.name)]
    checks = await asyncio.to_thread(store.verify, [*wanted, *rest])
    absent = [e.name for e in store.entries() if e.default and e.name not in wanted and not store.present(e.name)]
    return [*(_model(check, store) for check in checks), *_wished(absent)]


def _model(check: ModelCheck, store: ModelStore) -> Finding:
    name, pull = f"model {check.name}", f"machineavatars models pull {check.name}"
    match check.state:
        case "ok":
            entry = store.entry(check.name)
            return ok(name, f"{entry.size / 1e6:.0f} MB, checksum right: {entry.purpose}")
        case "absent":
            return failed(name, check.detail, pull)
        case "damaged":
            return failed(name, f"is damaged: {check.detail}", pull)


def _wished(absent: Sequence[str]) -> list[Finding]:
    if not absent:
        return []
    return [warning("other models", f"{', '.join(absent)} not here", "machineavatars models pull")]
