"""What a new password must be: ten characters, and none of those that everyone tries first; what is kept of secrets."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

from api._kit.errors import InvalidFormat, Problem

SHORTEST: Final = 10
LONGEST: Final = 256


def check_strength(password: str, field: str) -> None:
    """Raises InvalidFormat for a password that is in the list; its length is the model's business."""
    if password.casefold() in _common() or len(set(password)) < 4:
        problem = f"{field} is one of the passwords that everyone tries first."
        raise InvalidFormat(problem, fields=[Problem(field, "INVALID_FORMAT", problem)])


def fingerprint(secret: str) -> str:
    """What is kept of a secret that has enough randomness of its own."""
    return hashlib.sha256(secret.encode()).hexdigest()


@cache
def _common() -> frozenset[str]:
    return frozenset((files("api._kit") / "common_passwords.txt").read_text().split())
