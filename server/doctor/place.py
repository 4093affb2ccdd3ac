"""Checks of the place: the machine, the settings, the data directory, the port, and what is built."""

import errno
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from avatars.library import AvatarLibrary
from avatars.spec import AvatarError
from server.doctor.findings import Finding, failed, ok, warning
from server.gateway import Files
from server.infra.mail import at_home
from server.infra.secrets import FILE, SHORTEST, NoSecretKey, keyring
from server.settings import Settings

OLDEST_PYTHON: Final = (3, 11)
DISK_NEEDED: Final = 200_000_000
"""Bytes free below which the database may soon be unable to grow."""
DISK_WISHED: Final = 2_000_000_000
"""Bytes free below which models and recordings may soon not fit."""
_SECONDS: Final = aiohttp.ClientTimeout(total=2)


def machine(version: Sequence[int] = tuple(sys.version_info[:3])) -> list[Finding]:
    name = f"{'.'.join(map(str, version[:3]))} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if tuple(version[:2]) < OLDEST_PYTHON:
        needed = ".".join(map(str, OLDEST_PYTHON))
        return [failed("Python", name, f"install Python {needed} or newer, then: make clean install PYTHON=python3")]
    if platform.system() not in ("Linux", "Darwin"):
        return [
            warning("Python", name, "it is tested on Linux and macOS; use the container elsewhere: docker compose up")
        ]
    return [ok("Python", name)]


def names(unknown: Sequence[str]) -> list[Finding]:
    """`unknown` are variables that look like settings and are none."""
    if unknown:
        mend = "settings are listed in README.md; groups take two underscores, as in MA_LLM__MODEL"
        return [warning("settings", f"read, but nothing knows {', '.join(unknown)}", mend)]
    return [ok("settings", "read")]


def secrets(settings: Settings) -> list[Finding]:
    """Looks only: the key of a new server is made when it starts."""
    name, given = "secret key", settings.secret_key.get_secret_value()
    local = settings.database.startswith("sqlite")
    path = settings.data_dir / FILE
    new = 'MA_SECRET_KEY="$(openssl rand -base64 48)"'
    if given or not local:
        try:
            keyring(given, data_dir=settings.data_dir, local=False)
        except NoSecretKey as error:
            return [failed(name, str(error), new)]
        return [ok(name, "given by MA_SECRET_KEY")]
    if not path.exists():
        return [ok(name, f"will be made at the first start: {path}")]
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return [failed(name, f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}")]
    if len(path.read_bytes().strip()) < SHORTEST:
        mend = f"put the key back from a backup, or remove it (everyone must sign in again): rm {path}"
        return [failed(name, f"{path} does not hold a key", mend)]
    return [ok(name, f"{path} (mode {mode:04o})")]


def mails(settings: Settings) -> list[Finding]:
    name, host = "mails", settings.smtp.host
    if host:
        return [ok(name, f"through {host}:{settings.smtp.port}")]
    if at_home(settings.database, settings.origin):
        return [ok(name, "written to the log, links and all")]
    return [warning(name, "not sent: no mail server is set", "MA_SMTP__HOST=smtp.example.com")]


def data_directory(settings: Settings) -> list[Finding]:
    """Writes a file and takes it away again."""
    name, folder = "data directory", settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"written")
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        mend = f"sudo chown -R $(id -un) {folder}, or choose another place with MA_DATA_DIR"
        return [failed(name, f"{folder} cannot be written: {error.strerror or error}", mend)]
    seen = f"{folder} can be written, {free / 1e9:.1f} GB free"
    mend = f"make room: du -xh -d1 {folder} | sort -h"
    if free < DISK_NEEDED:
        return [failed(name, f"{seen}; {DISK_NEEDED / 1e9:.1f} GB are needed", mend)]
    if free < DISK_WISHED:
        return [warning(name, f"{seen}; {DISK_WISHED / 1e9:.0f} GB are better", mend)]
    return [ok(name, seen)]


async def port(settings: Settings) -> list[Finding]:
    name, address = "port", f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            return [ok(name, f"{address} is free")]
        except OSError as error:
            taken, reason = error.errno == errno.EADDRINUSE, error.strerror or str(error)
    if not taken:
        return [failed(name, f"{address}: {reason}", "choose another with MA_PORT, or another address with MA_HOST")]
    holder = holder_of(settings.port)
    if await _ours(settings):
        return [ok(name, f"{address} is held by this server, which is running already{holder and f' ({holder})'}")]
    seen = f"{address} is taken by {holder or 'another program'}"
    return [failed(name, seen, f"stop it, or choose another port: MA_PORT={_free(settings.host, family)}")]


def holder_of(number: int) -> str:
    """Who listens on a port of this machine; empty where the system does not say (other people's processes, macOS)."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for row in path.read_text().splitlines()[1:] if path.exists() else []:
            field = row.split()
            if int(field[1].rpartition(":")[2], 16) == number and field[3] == "0A":
                sockets.add(f"socket:[{field[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(file) in sockets for file in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name}: {command[:80]}"
        except OSError:
            continue
    return ""


def _free(host: str, family: socket.AddressFamily) -> int:
    with socket.socket(family) as other:
        other.bind((host, 0))
        return int(other.getsockname()[1])


async def _ours(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    try:
        async with (
            aiohttp.ClientSession(timeout=_SECONDS) as client,
            client.get(f"http://{host}:{settings.port}/health") as response,
        ):
            health = await response.json()
            return isinstance(health, dict) and {"services", "uptime_s"} <= health.keys()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return False


def built(files: Files) -> list[Finding]:
    return [_widget(files), *_avatars(files)]


def _widget(files: Files) -> Finding:
    build = files.build()
    if build is None:
        return failed("widget", f"not built: {files.widget} has no manifest.json and widget.js", "make widget")
    if not (files.widget / build.path.removeprefix("/")).parent.is_dir():
        return failed("widget", f"not whole: {build.path} is not in {files.widget}", "make widget")
    return ok("widget", f"built, {build.path}")


def _avatars(files: Files) -> list[Finding]:
    try:
        library = AvatarLibrary.scan(dist=files.avatars).list()
    except AvatarError as error:
        return [failed("avatars", str(error), "mend the file that is named; avatars/README.md has every field")]
    missing = [avatar.id for avatar in library if not avatar.built]
    plain = [avatar.id for avatar in library if not avatar.thumbnail.is_file()]
    if missing:
        return [failed("avatars", f"not built: {', '.join(missing)}", "make avatars")]
    if plain:
        return [ok("avatars", f"{len(library)} built; `make thumbnails` draws {', '.join(plain)}, if you wish")]
    return [ok("avatars", f"{len(library)} built, with pictures")]
