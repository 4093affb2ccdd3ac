"""Which chatbot answers a page: ordered rules, the first that matches wins. Pure."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

Device = Literal["desktop", "mobile", "tablet"]
Audience = Literal["new", "returning"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Hours of days of a place. `until` before `since` runs over midnight and belongs to the day on which it began."""

    days: tuple[Day, ...] = DAYS
    since: time = time.min
    until: time = time.max
    timezone: str = "UTC"

    def holds(self, now: datetime) -> bool:
        local = now.astimezone(ZoneInfo(self.timezone))
        today, yesterday, at = DAYS[local.weekday()], DAYS[local.weekday() - 1], local.time()
        if self.since <= self.until:
            return today in self.days and self.since <= at <= self.until
        return (today in self.days and at >= self.since) or (yesterday in self.days and at <= self.until)


@dataclass(frozen=True, slots=True)
class Match:
    """What a page view must be like; what is empty is not asked for. Each asks for one of its values."""

    url: tuple[str, ...] = ()
    locale: tuple[str, ...] = ()
    device: tuple[Device, ...] = ()
    audience: tuple[Audience, ...] = ()
    utm: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True)
class Share:
    chatbot_id: str
    weight: int


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    match: Match
    split: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Visit:
    """One view of a page. `visitor_id` is what the visitor is known by, also when seen for the first time."""

    page_url: str
    now: datetime
    visitor_id: str
    audience: Audience = "new"
    locale: str | None = None
    device: Device | None = None
    utm: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """`variant` counts a split's shares from `a`; without a rule it is the default chatbot that was chosen."""

    chatbot_id: str
    variant: str | None
    rule_id: str | None
    reason: str


def choose(rules: Sequence[Rule], default: str | None, visit: Visit, available: Callable[[str], bool]) -> Choice | None:
    """The first rule that matches and has a chatbot that is available, else the default, else nothing."""
    for rule in rules:
        reasons = matched(rule.match, visit)
        shares = [(n, share) for n, share in enumerate(rule.split) if share.weight and available(share.chatbot_id)]
        if reasons is None or not shares:
            continue
        n, share = _drawn(rule.id, visit.visitor_id, shares)
        why = ", ".join(reasons) or "every page"
        if len(rule.split) == 1:
            return Choice(share.chatbot_id, None, rule.id, f"rule matched: {why}")
        total = sum(each.weight for _, each in shares)
        return Choice(share.chatbot_id, _letters(n), rule.id, f"rule matched: {why}; drawn {share.weight} of {total}")
    if default is not None and available(default):
        return Choice(default, None, None, "no rule matched: the default chatbot")
    return None


def matched(match: Match, visit: Visit) -> list[str] | None:
    """Why the visit is like that; None when it is not."""
    reasons = []
    for name, wanted, fits in (
        ("url", match.url, lambda pattern: url_matches(pattern, visit.page_url)),
        ("locale", match.locale, lambda tag: speaks(tag, visit.locale)),
        ("device", match.device, lambda device: device == visit.device),
        ("audience", match.audience, lambda audience: audience == visit.audience),
    ):
        if not wanted:
            continue
        found = next((value for value in wanted if fits(value)), None)
        if found is None:
            return None
        reasons.append(f"{name} {found}")
    for key, values in match.utm.items():
        if visit.utm.get(key) not in values:
            return None
        reasons.append(f"utm_{key} {visit.utm[key]}")
    if match.schedule is not None:
        if not match.schedule.holds(visit.now):
            return None
        reasons.append("schedule")
    return reasons


def speaks(wanted: str, locale: str | None) -> bool:
    """A language (`de`) means all of its dialects."""
    given, tag = (locale or "").lower(), wanted.lower()
    return given == tag or given.startswith(f"{tag}-")


def url_matches(pattern: str, url: str) -> bool:
    """A pattern is a path (`/shop/*`), a host and a path, or a whole address; query and fragment do not count."""
    parts = urlsplit(url)
    path = parts.path or "/"
    if pattern.startswith("/"):
        return glob(pattern, path)
    whole = f"{parts.netloc.lower()}{path}"
    if "://" in pattern:
        whole = f"{parts.scheme.lower()}://{whole}"
    return glob(pattern, whole)


def glob(pattern: str, text: str) -> bool:
    """`*` stands for any run of characters, also an empty one. Takes time proportional to the lengths' product."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _drawn(rule_id: str, visitor_id: str, shares: Sequence[tuple[int, Share]]) -> tuple[int, Share]:
    """The same visitor draws the same share of a rule each time, as long as the shares are the same."""
    total = sum(share.weight for _, share in shares)
    digest = hashlib.sha256(f"{rule_id}\0{visitor_id}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") * total >> 64
    for n, share in shares:
        place -= share.weight
        if place < 0:
            return n, share
    raise AssertionError("a place below the total belongs to a share")


def _letters(n: int) -> str:
    return chr(ord("a") + n)
