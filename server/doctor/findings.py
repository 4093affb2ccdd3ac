"""What a check found, and how checks are run: each for a limited time, each by itself, so that none spoils another."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

State = Literal["ok", "warning", "failed"]
WIDTH: Final = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: `mend` is a command or a sentence that helps, empty where nothing needs help."""

    name: str
    state: State
    seen: str
    mend: str = ""


def ok(name: str, seen: str) -> Finding:
    return Finding(name, "ok", seen)


def warning(name: str, seen: str, mend: str) -> Finding:
    return Finding(name, "warning", seen, mend)


def failed(name: str, seen: str, mend: str) -> Finding:
    return Finding(name, "failed", seen, mend)


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at, and the seconds that it may take."""

    name: str
    look: Callable[[], Awaitable[Sequence[Finding]]]
    seconds: float = 10.0


async def examine(checks: Iterable[Check]) -> AsyncIterator[Finding]:
    """What every check finds, in order, as soon as it is found."""
    for check in checks:
        for finding in await _look(check):
            yield finding


async def _look(check: Check) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(check.seconds):
            return await check.look()
    except TimeoutError:
        mend = "something hangs: look at the load of the machine and at its disks, then try again"
        return [failed(check.name, f"no answer within {check.seconds:.0f} s", mend)]
    except Exception as error:  # last resort: a check that breaks is that check's failure and no other's
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return [failed(check.name, reason, "this should not happen: please report it with this line")]


def line(finding: Finding) -> str:
    """For the terminal."""
    text = f"{finding.state:8} {finding.name:{WIDTH}} {finding.seen}"
    return f"{text}\n{'':8} {'':{WIDTH}} -> {finding.mend}" if finding.mend else text


def summary(findings: Sequence[Finding]) -> str:
    counted = {state: sum(finding.state == state for finding in findings) for state in ("ok", "warning", "failed")}
    end = "Something needs mending." if counted["failed"] else "Nothing is in the way."
    return f"{counted['ok']} ok, {counted['warning']} warnings, {counted['failed']} failed. {end}"


def document(findings: Sequence[Finding]) -> str:
    """For machines."""
    return json.dumps({"ok": healthy(findings), "findings": [asdict(finding) for finding in findings]}, indent=2)


def healthy(findings: Iterable[Finding]) -> bool:
    return all(finding.state != "failed" for finding in findings)
