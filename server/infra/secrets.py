"""The key of everything: given by settings, or made once and kept beside the SQLite database."""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

FILE: Final = "secret.key"
SHORTEST: Final = 32


class NoSecretKey(Exception):
    """MA_SECRET_KEY is missing or too short; the message says what to do."""


class Keyring:
    """The current key and, while it is being replaced, the one before. Every purpose gets a key of its own."""

    def __init__(self, *keys: bytes) -> None:
        self._keys = keys

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """32 bytes for each key, the current one's first."""
        return tuple(hmac.new(key, purpose.encode(), hashlib.sha256).digest() for key in self._keys)


def keyring(secret: str, *, data_dir: Path, local: bool) -> Keyring:
    """`secret` holds one key, or two with a comma between: the new one, then the old one.

    An empty one means a key in `data_dir`, made at the first start, if `local` says that nobody else needs it.
    """
    if secret:
        keys = [part.strip().encode() for part in secret.split(",")]
        if len(keys) > 2 or min(map(len, keys)) < SHORTEST:
            raise NoSecretKey(f"MA_SECRET_KEY is one or two keys (a comma between) of {SHORTEST} characters or more")
        return Keyring(*keys)
    if not local:
        raise NoSecretKey("MA_SECRET_KEY is required with a shared database: all processes must have the same key")
    return Keyring(_kept(data_dir / FILE))


def _kept(path: Path) -> bytes:
    """The key in the file; the first of several processes that start at once makes it for all of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(48)))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    key = path.read_bytes().strip()
    if len(key) < SHORTEST:
        raise NoSecretKey(f"{path} does not hold a key")
    return key
