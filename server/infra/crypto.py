"""Stored secrets: sealed with a key that is derived from MA_SECRET_KEY, and opened again where they are used."""

import base64
import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api._kit.ports import CannotOpen

FORM: Final = "v1"
NONCE: Final = 12


class AesVault:
    """AES-256-GCM (NIST SP 800-38D). The first key seals, all of them open.

    `context` says what the secret is and whose it is; it is authenticated, so that a sealed secret that is copied to
    another row does not open there.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_name(key): AESGCM(key) for key in keys}
        self._current = _name(keys[0])

    def seal(self, secret: bytes, context: str) -> str:
        """`v1.<name of the key>.<nonce and ciphertext in base64>`: about 4/3 of the secret and 60 characters."""
        nonce = os.urandom(NONCE)
        sealed = self._ciphers[self._current].encrypt(nonce, secret, context.encode())
        return f"{FORM}.{self._current}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, context: str) -> bytes:
        """Raises CannotOpen for what was sealed with a key that is gone, in another context, or not here."""
        try:
            form, name, data = sealed.split(".")
            raw = base64.urlsafe_b64decode(data)
            if form != FORM:
                raise ValueError(form)
            return self._ciphers[name].decrypt(raw[:NONCE], raw[NONCE:], context.encode())
        except (InvalidTag, KeyError, ValueError):
            raise CannotOpen from None


def _name(key: bytes) -> str:
    return hashlib.sha256(b"vault" + key).hexdigest()[:8]
