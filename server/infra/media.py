"""Files behind signed links, sound and exports: kept in a folder for a day, opened by whoever has the link."""

import asyncio
import base64
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from api._kit.ports import AudioFormat, Clock, FileFormat, StoredFile

LIFETIME: Final = 24 * 3600
SWEEP: Final = 3600
CONTENT_TYPES: Final = {"mp3": "audio/mpeg", "opus": "audio/ogg", "wav": "audio/wav"}
_DOWNLOADS: Final = ("jsonl", "csv")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}\.(mp3|opus|wav|jsonl|csv)")


class MediaFolder:
    """Files of `folder`. A link is an id, an expiry and their HMAC-SHA256; the first key signs, all of them verify."""

    def __init__(self, folder: Path, keys: Sequence[bytes], *, clock: Clock) -> None:
        self._folder, self._keys, self._clock = folder, tuple(keys), clock
        self._swept = 0.0
        self._makers: dict[str, Callable[[], Awaitable[Path]]] = {}

    async def save(self, data: bytes, format: FileFormat) -> str:
        async def whole() -> AsyncIterator[bytes]:
            yield data

        return await self.save_all(whole(), format)

    async def save_all(self, pieces: AsyncIterator[bytes], format: FileFormat) -> str:
        media_id = f"{secrets.token_urlsafe(16)}.{format}"
        draft = await asyncio.to_thread(self._begin, media_id)
        try:
            async for piece in pieces:
                await asyncio.to_thread(_append, draft, piece)
            await asyncio.to_thread(draft.rename, self._folder / media_id)
        finally:
            await asyncio.to_thread(draft.unlink, missing_ok=True)
        return media_id

    async def renew(self, media_id: str) -> bool:
        now = self._clock.now()
        try:
            await asyncio.to_thread(os.utime, self._folder / media_id, (now, now))
        except FileNotFoundError:
            return False
        return True

    async def delete(self, media_id: str) -> None:
        if _ID.fullmatch(media_id):
            await asyncio.to_thread((self._folder / media_id).unlink, missing_ok=True)

    def offer(self, name: str, format: AudioFormat, make: Callable[[], Awaitable[Path]]) -> str:
        """The id of a file that is somewhere else and made when its link is first opened. What `make` raises is what
        `open` raises."""
        digest = base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode()
        media_id = f"{digest[:22]}.{format}"
        self._makers[media_id] = make
        return media_id

    def url(self, media_id: str) -> str:
        expires = int(self._clock.now()) + LIFETIME
        place = "download" if media_id.endswith(_DOWNLOADS) else "media"
        return f"/{place}/{media_id}?sig={expires}.{self._sign(self._keys[0], media_id, expires)}"

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
        if path.name.endswith(_DOWNLOADS):
            return StoredFile(path, "application/octet-stream", f"conversations{path.suffix}")
        return StoredFile(path, CONTENT_TYPES[path.suffix[1:]])

    def _sign(self, key: bytes, media_id: str, expires: int) -> str:
        return hmac.new(key, f"{media_id}:{expires}".encode(), hashlib.sha256).hexdigest()[:43]

    def _begin(self, media_id: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        draft = self._folder / f".{media_id}"
        draft.touch()
        return draft

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


def _append(path: Path, piece: bytes) -> None:
    with path.open("ab") as file:
        file.write(piece)
