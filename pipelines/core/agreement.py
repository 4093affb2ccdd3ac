"""Which part of a growing transcript will not change: LocalAgreement of two hypotheses (Liu et al., 2020)."""


def stable_prefix(before: str, now: str) -> int:
    """How many characters of `now`, up to a word's end, the two latest hypotheses agree on."""
    agreed = 0
    for old, new in zip(_words(before), _words(now), strict=False):
        if old[0].strip(".,!?;:").lower() != new[0].strip(".,!?;:").lower():
            break
        agreed = new[1]
    return agreed


def _words(text: str) -> list[tuple[str, int]]:
    """Each word and where it ends."""
    words, at = [], 0
    for word in text.split():
        at = text.index(word, at) + len(word)
        words.append((word, at))
    return words
