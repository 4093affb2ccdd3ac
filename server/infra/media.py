"""Sound files behind signed links: kept in a folder for a day, opened by whoever has the link."""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from api._kit.ports import AudioFormat, Clock, StoredFile

LIFETIME: Final = 24 * 3600
SWEEP: Final = 3600
CONTENT_TYPES: Final = {"mp3": "audio/mpeg", "opus": "audio/ogg", "wav": "audio/wav"}
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}\.(mp3|opus|wav)")


class MediaFolder:
    """Files of `folder`. A link is an id, an expiry and their HMAC-SHA256; the first key signs, all of them verify."""

    def __init__(self, folder: Path, keys: Sequence[bytes], *, clock: Clock) -> None:
        self._folder, self._keys, self._clock = folder, tuple(keys), clock
        self._swept = 0.0
        self._makers: dict[str, Callable[[], Awaitable[Path]]] = {}

    async def save(self, data: bytes, format: AudioFormat) -> str:
        media_id = f"{secrets.token_urlsafe(16)}.{format}"
        await asyncio.to_thread(self._write, media_id, data)
        return media_id

    def offer(self, name: str, format: AudioFormat, make: Callable[[], Awaitable[Path]]) -> str:
        """The id of a file that is somewhere else and made when its link is first opened. What `make` raises is what
        `open` raises."""
        digest = base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode()
        media_id = f"{digest[:22]}.{format}"
        self._makers[media_id] = make
        return media_id

    def url(self, media_id: str) -> str:
        expires = int(self._clock.now()) + LIFETIME
        return f"/media/{media_id}?sig={expires}.{self._sign(self._keys[0], media_id, expires)}"

    async def open(self, media_id: str, signature: str) -> StoredFile | None:
        expires, _, mac = signature.partition(".")
        if not _ID.fullmatch(media_id) or not expires.isdecimal() or len(expires) > 12:
            return None
        genuine = any(
            hmac.compare_digest(mac.encode(), self._sign(key, media_id, int(expires)).encode()) for key in self._keys
        )
        if not genuine or int(expires) < self._clock.now():
            return None
        make = self._makers.get(media_id)
        path = await make() if make else self._folder / media_id
        if not await asyncio.to_thread(path.is_file):
            return None
        return StoredFile(path, CONTENT_TYPES[path.suffix[1:]])

    def _sign(self, key: bytes, media_id: str, expires: int) -> str:
        return hmac.new(key, f"{media_id}:{expires}".encode(), hashlib.sha256).hexdigest()[:43]

    def _write(self, media_id: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        draft = self._folder / f".{media_id}"
        draft.write_bytes(data)
        draft.rename(self._folder / media_id)

    def _sweep(self) -> None:
        """Once an hour, remove the files that no link can open any more."""
        now = self._clock.now()
        if now - self._swept < SWEEP:
            return
        self._swept = now
        for path in self._folder.iterdir():
            try:
                if path.stat().st_mtime < now - LIFETIME - SWEEP:
                    path.unlink()
            except FileNotFoundError:
                continue
