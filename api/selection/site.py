"""A site's rules and the question which chatbot answers a page, as they are sent and answered."""

from collections.abc import Mapping
from datetime import time
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from api._kit.alternatives import exactly_one
from api._kit.values import Identifier, Input, LanguageTag, Output
from api.selection import rules

Pattern = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"\S")]
UtmKey = Literal["source", "medium", "campaign", "term", "content"]
UtmValue = Annotated[str, StringConstraints(max_length=200)]
MOST_RULES = 100
_ZONES: Final = frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError("a time zone is named as in Europe/Berlin")
    return name


def _readable(url: str) -> str:
    try:
        urlsplit(url)
    except ValueError:
        raise ValueError("this is no address of a page") from None
    return url


class Schedule(Input):
    """Hours of days. `until` before `since` runs over midnight."""

    days: list[rules.Day] = Field(default_factory=lambda: list(rules.DAYS), min_length=1, max_length=7)
    since: str = Field("00:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    until: str = Field("23:59", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="This minute included")
    timezone: Annotated[str, Field(max_length=64, examples=["Europe/Berlin"]), AfterValidator(_zone)] = "UTC"


class Match(Input):
    """What a page view must be like. Of each list one value must fit; an empty match fits every page."""

    url: list[Pattern] = Field(
        default_factory=list, max_length=50, description="`*` is any text", examples=[["/pricing*"]]
    )
    locale: list[LanguageTag] = Field(default_factory=list, max_length=30)
    device: list[rules.Device] = Field(default_factory=list, max_length=3)
    audience: list[rules.Audience] = Field(
        default_factory=list, max_length=2, description="`returning`: the page knows the visitor's id"
    )
    utm: dict[UtmKey, list[UtmValue]] = Field(default_factory=dict, examples=[{"source": ["newsletter"]}])
    schedule: Schedule | None = None


class Share(Input):
    chatbot_id: Identifier
    weight: int = Field(ge=0, le=1000)


class Rule(Input):
    """One chatbot, or a split of several by weight. A visitor who comes back gets the same one of a split."""

    model_config = ConfigDict(json_schema_extra=exactly_one(chatbot_id="string", split="array"))
    id: Identifier | None = Field(None, description="Made when there is none; keep it, for splits depend on it")
    match: Match = Field(default_factory=Match)
    chatbot_id: Identifier | None = None
    split: list[Share] | None = Field(None, min_length=2, max_length=10)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.chatbot_id is None) == (self.split is None):
            raise ValueError("a rule has either chatbot_id or split")
        if self.split is not None and not any(share.weight for share in self.split):
            raise ValueError("a split needs a weight above 0")
        return self

    def kept(self) -> dict[str, Any]:
        """As it is stored: what is not said is left out."""
        return self.model_dump(mode="json", exclude_defaults=True)


def pure(kept: Mapping[str, Any]) -> rules.Rule:
    """A stored rule; it was checked when it was set."""
    asked = kept.get("match", {})
    url, locale, device, audience = (tuple(asked.get(name, ())) for name in ("url", "locale", "device", "audience"))
    utm = {key: tuple(values) for key, values in asked.get("utm", {}).items()}
    hours = asked.get("schedule")
    match = rules.Match(url, locale, device, audience, utm, None if hours is None else _hours(hours))
    shares = kept.get("split") or [{"chatbot_id": kept["chatbot_id"], "weight": 1}]
    return rules.Rule(kept["id"], match, tuple(rules.Share(**share) for share in shares))


def _hours(kept: Mapping[str, Any]) -> rules.Schedule:
    since, until = time.fromisoformat(kept.get("since", "00:00")), f"{kept.get('until', '23:59')}:59.999999"
    days, zone = tuple(kept.get("days", rules.DAYS)), kept.get("timezone", "UTC")
    return rules.Schedule(days, since, time.fromisoformat(until), zone)


class NewRules(Input):
    rules: list[Rule] = Field(max_length=MOST_RULES)
    default_chatbot_id: Identifier | None = Field(None, description="Who answers where no rule matches")


class Rules(Output):
    """`version` counts the changes."""

    version: int
    site_key: str
    rules: list[Rule]
    default_chatbot_id: str | None


class PageView(Input):
    site_key: Identifier
    page_url: Annotated[
        str,
        Field(min_length=1, max_length=2048, pattern=r"^https?://", examples=["https://shop.example/cart"]),
        AfterValidator(_readable),
    ]
    locale: LanguageTag | None = None
    device: rules.Device | None = None
    utm: dict[UtmKey, UtmValue] = Field(default_factory=dict)
    visitor_id: Identifier | None = Field(None, description="What `resolve` named the visitor before")


class Resolved(Output):
    chatbot_id: str
    variant: str | None = Field(description="Which share of a split: a, b, ...")
    rule_id: str | None
    reason: str
    config_url: str
    visitor_id: str = Field(description="To be sent with the next page view: it keeps the visitor with one chatbot")
