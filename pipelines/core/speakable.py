"""What of a text is said aloud: markdown marks, emojis and addresses out, the words as they stand."""

import html
import re

_EMOJI = "\U0001f000-\U0001faff\U000e0020-\U000e007f☀-➿⬀-⯿⌀-⏿←-⇿■-◿︀-️⃣™ℹ⤴⤵〰〽㊗㊙"
_RULES: tuple[tuple[str, str], ...] = (
    ("fence", r"```.*?(?:```|\Z)"),
    ("image", r"!\[(?P<alt>[^\]\n]*)\]\([^)\s]*(?:\s[^)]*)?\)"),
    ("link", r"(?<!!)\[(?P<label>[^\]\n]+)\]\([^)\s]*(?:\s[^)]*)?\)"),
    ("note", r"\s?\[\^?\d{1,3}(?:\s*[,–-]\s*\d{1,3})*\]"),
    ("mail", r"<(?P<address>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>"),
    (
        "url",
        r"<?(?:(?:https?|ftp)://|(?=www\.\w))(?:[^\s/?#@>]+@)?(?:www\.)?(?P<host>[\w-]+(?:\.[\w-]+)*)(?::\d+)?(?:[/?#](?:[^\s<>\"”»]*[\w/=&-])?)?>?",
    ),
    ("tag", r"</?[a-zA-Z][a-zA-Z0-9-]*(?:\s[^<>\n]*)?/?>|<!--.*?-->"),
    ("entity", r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});"),
    ("rule", r"(?m:^[ \t]*(?:[-*_=][ \t]*){3,}$|^[ \t]*\|?[ \t:|-]*-{2,}[ \t:|-]*\|?[ \t]*$)"),
    ("lead", r"(?m:^[ \t]*(?:(?:\#{1,6}|>|[-*+•‣▪◦–])[ \t]+(?:\[[ xX]\][ \t]+)?)+)"),
    ("times", r"(?<=\d)[ \t]*[*×][ \t]*(?=\d)"),
    ("smile", r"(?<!\S)[:;=]['-]?[)(DPpO3/|*](?!\S)"),
    ("marks", r"\*+|~~|`+|(?<!\w)_+|_+(?!\w)|\\(?=[\W_])"),
    ("snake", r"(?<=\w)_+(?=\w)"),
    ("pipe", r"[ \t]*\|[ \t]*"),
    ("picture", rf"[{_EMOJI}]+"),
    (
        "hidden",
        r"[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\uffff]+",
    ),
    ("shout", r"(?P<once>[!?,;:。！？、])(?P=once)+|(?P<dots>\.\.\.)\.+"),
)
_PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _RULES), re.DOTALL)
_KEPT = {"image": "alt", "link": "label", "mail": "address"}
_SPACES = ("fence", "tag", "rule", "snake", "pipe", "picture", "smile")


def speakable(text: str) -> str:
    """`text` as it is said; empty when nothing in it can be said (a rule, an emoji, code)."""
    return spoken(text)[0]


def spoken(text: str) -> tuple[str, tuple[int, ...]]:
    """`speakable(text)`, and for each of its characters the place in `text` it comes from (never decreasing)."""
    characters: list[str] = []
    origins: list[int] = []

    def add(piece: str, start: int, step: int = 1) -> None:
        for offset, character in enumerate(piece):
            space = character.isspace()
            if space and (not characters or characters[-1] == " "):
                continue
            characters.append(" " if space else character)
            origins.append(start + offset * step)

    at = 0
    for match in _PATTERN.finditer(text):
        add(text[at : match.start()], at)
        at = match.end()
        name = next(name for name, _ in _RULES if match.group(name) is not None)
        start = match.start()
        if name == "url":
            add(match.group("host"), match.start("host"))
        elif name in _KEPT:
            for character, origin in zip(*spoken(match.group(_KEPT[name])), strict=True):
                add(character, match.start(_KEPT[name]) + origin)
        elif name == "entity":
            meant = html.unescape(match.group())
            add(" " if meant == match.group() else meant, start, 0)
        elif name == "times":
            add(" times ", start, 0)
        elif name == "shout":
            kept = "dots" if match.group("dots") else "once"
            add(match.group(kept), match.start(kept))
        elif name in _SPACES:
            add(" ", start)
    add(text[at:], at)
    return _tidy(characters, origins)


def _tidy(characters: list[str], origins: list[int]) -> tuple[str, tuple[int, ...]]:
    """No space at the ends or before a closing mark; nothing at all without a letter or digit."""
    if not any(character.isalnum() for character in characters):
        return "", ()
    kept = [
        (character, origin)
        for index, (character, origin) in enumerate(zip(characters, origins, strict=True))
        if character != " " or (0 < index < len(characters) - 1 and characters[index + 1] not in ",.;:!?…。，！？")
    ]
    return "".join(character for character, _ in kept), tuple(origin for _, origin in kept)
